"""Parts that read titles: dense vectors, words, and the inferred intents."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Self

import numpy as np
from scipy import sparse

from model.data.catalogue import Catalogue
from model.data.splits import Dataset
from model.evaluate.choose import choose
from model.kernels.compiled import flat
from model.mix.part import Arrays, Part
from model.rankers.tables import Table
from model.rankers.text_tables import ViewTable
from model.rankers.title_knn import REDUCED, SHARPNESS, TitleKnn, WordKnn, reduced, tfidf

DECAYS = (0.6, 0.8, 0.95)


@dataclass(frozen=True)
class Titles(Part):
    """See the module."""

    ranker: TitleKnn

    @classmethod
    def fit(cls, dataset: Dataset) -> Titles:
        """Choose the decay on validation; there is nothing else to learn."""
        vectors = reduced(_vectors(dataset.catalogue), REDUCED)
        return cls(choose(dataset, [partial(_titles, vectors, decay) for decay in DECAYS])[0])

    def refit(self, dataset: Dataset) -> Titles:
        """Return the same part: clicks taught it nothing."""
        return self

    @property
    def table(self) -> Table:
        """See Part.table."""
        return self.ranker.table

    @property
    def size(self) -> int:
        """See Part.size."""
        return len(self.ranker.vectors)

    def arrays(self) -> Arrays:
        """Return the decay; the vectors are the catalogue's."""
        return {"decay": np.array([self.ranker.decay])}

    @classmethod
    def of(cls, arrays: Arrays, catalogue: Catalogue) -> Titles:
        """Rebuild from the catalogue, items that joined later included."""
        return cls(TitleKnn(reduced(_vectors(catalogue), REDUCED), float(arrays["decay"][0])))


@dataclass(frozen=True)
class Words(Part):
    """See the module; the words of the titles alone, because words of a category drown those of the title.

    Attributes
    ----------
    ranker : WordKnn
    """

    ranker: WordKnn

    @classmethod
    def fit(cls, dataset: Dataset) -> Words:
        """Choose the decay on validation; there is nothing else to learn."""
        words = tfidf(cls.texts(dataset.catalogue))
        return cls(choose(dataset, [partial(_words, words, decay) for decay in DECAYS])[0])

    @classmethod
    def texts(cls, catalogue: Catalogue) -> list[str]:
        """Return what is read of each item."""
        return catalogue.titles

    def refit(self, dataset: Dataset) -> Self:
        """Return the same part: clicks taught it nothing."""
        return self

    @property
    def table(self) -> Table:
        """See Part.table."""
        return self.ranker.table

    @property
    def size(self) -> int:
        """See Part.size."""
        return int(self.ranker.vectors.shape[0])

    def arrays(self) -> Arrays:
        """Return the decay; the words are the catalogue's."""
        return {"decay": np.array([self.ranker.decay])}

    @classmethod
    def of(cls, arrays: Arrays, catalogue: Catalogue) -> Words:
        """Rebuild from the catalogue, items that joined later included."""
        return cls(WordKnn(tfidf(cls.texts(catalogue)), float(arrays["decay"][0])))


@dataclass(frozen=True)
class Kinds(Words):
    """The same with the words of the categories."""

    @classmethod
    def texts(cls, catalogue: Catalogue) -> list[str]:
        """Return what is read of each item."""
        return catalogue.categories


@dataclass(frozen=True)
class Intents(Part):
    """See the module; the intents' vectors live in the centred title space, so titles are centred and not
    reduced.

    Attributes
    ----------
    vectors : ndarray float32, shape (items, dim)
        Unit rows.
    short_share : float
        Weight of the short view; the long view has the rest.
    """

    vectors: np.ndarray
    short_share: float = 0.5

    @classmethod
    def fit(cls, dataset: Dataset) -> Intents:
        """Centre the titles; the views weigh alike."""
        return cls(reduced(_vectors(dataset.catalogue)))

    def refit(self, dataset: Dataset) -> Intents:
        """Return the same part: clicks taught it nothing."""
        return self

    @cached_property
    def table(self) -> Table:
        """See Part.table: sharpened cosines with both intents; a case without intents gets no votes."""
        return ViewTable(flat(self.vectors, np.float32), self.short_share, SHARPNESS)

    @property
    def size(self) -> int:
        """See Part.size."""
        return len(self.vectors)

    def arrays(self) -> Arrays:
        """Return the views' weight; the vectors are the catalogue's."""
        return {"short_share": np.array([self.short_share])}

    @classmethod
    def of(cls, arrays: Arrays, catalogue: Catalogue) -> Intents:
        """Rebuild from the catalogue, items that joined later included."""
        return cls(reduced(_vectors(catalogue)), float(arrays["short_share"][0]))


def _vectors(catalogue: Catalogue) -> np.ndarray:
    if catalogue.vectors is None:
        raise ValueError(
            "this part of the hybrid score needs text vectors; give items.* with titles, or leave it out "
            "of `parts`"
        )
    return catalogue.vectors


def _titles(vectors: np.ndarray, decay: float, _: Dataset) -> TitleKnn:
    return TitleKnn(vectors, decay)


def _words(vectors: sparse.csr_matrix, decay: float, _: Dataset) -> WordKnn:
    return WordKnn(vectors, decay)
