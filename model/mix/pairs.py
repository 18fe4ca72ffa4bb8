"""Parts of item-item weights: EASE and a regression of the next click for some thousand items, and damped
cosines, sparse, for any number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Self

import numpy as np
from scipy import sparse

from model.data.catalogue import Catalogue
from model.data.splits import Dataset
from model.evaluate.choose import choose, climb
from model.mix.part import Arrays, Part
from model.rankers.ease import Ease
from model.rankers.item_knn import ItemKnn
from model.rankers.markov import DecayedMarkov
from model.rankers.slit import slit
from model.rankers.tables import Table

REGULARISERS = (50.0, 150.0, 500.0, 1500.0)
SLIT: dict[str, tuple[Any, ...]] = {
    "regulariser": (1000.0, 300.0, 100.0, 3000.0, 10000.0),
    "query_decay": (0.9, 0.7),
    "ridge_power": (0.5, 0.0),
}
DECAYS = (0.8, 0.6, 0.9, 0.97)  # of older clicks
COSINES: dict[str, tuple[Any, ...]] = {
    "query_decay": DECAYS,
    "long_sessions": (0.5, 0.0, 1.0),
    "shrink": (5.0, 1.0, 20.0),
    "neighbours": (200, 50),
}


@dataclass(frozen=True)
class Items(Part):
    """EASE (Steck, 2019)."""

    ranker: Ease

    @classmethod
    def fit(cls, dataset: Dataset) -> Self:
        """Solve, with the regulariser and the decay of older clicks that rank best on validation."""
        ranker = choose(dataset, [partial(_ease, regulariser) for regulariser in REGULARISERS])[0]
        return cls(choose(dataset, [partial(_decayed, ranker, decay) for decay in DECAYS])[0])

    def refit(self, dataset: Dataset) -> Self:
        """Solve again with the same settings."""
        return type(self)(_decayed(_ease(self.ranker.regulariser, dataset), self.ranker.query_decay, dataset))

    @property
    def table(self) -> Table:
        """See Part.table."""
        return self.ranker.table

    @property
    def size(self) -> int:
        """See Part.size."""
        return len(self.ranker.weights)

    def arrays(self) -> Arrays:
        """Return the weights and the settings."""
        return {
            "weights": self.ranker.weights,
            "settings": np.array([self.ranker.query_decay, self.ranker.regulariser]),
        }

    @classmethod
    def of(cls, arrays: Arrays, catalogue: Catalogue) -> Self:
        """Rebuild; items that joined the catalogue later have no weights."""
        more = len(catalogue) - len(arrays["weights"])
        decay, regulariser = arrays["settings"].tolist()
        return cls(Ease(np.pad(arrays["weights"], ((0, more), (0, more))), decay, regulariser))


@dataclass(frozen=True)
class Sequels(Items):
    """The next click as a linear function of the clicks before it (SLIT); read as EASE is.

    Attributes
    ----------
    settings : dict
        How it was solved; empty where it was loaded.
    """

    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(cls, dataset: Dataset) -> Self:
        """Solve, with the settings that rank best on validation."""
        return cls(*climb(dataset, SLIT, slit))

    def refit(self, dataset: Dataset) -> Self:
        """Solve again with the same settings."""
        return type(self)(slit(dataset, **self.settings), self.settings)


@dataclass(frozen=True)
class Cosines(Part):
    """Item neighbours: damped cosines of items that were clicked in the same sessions (Sarwar et al., 2001),
    in sparse form.

    Attributes
    ----------
    ranker : DecayedMarkov
        Its ``transitions`` are the cosines; reading them is the same sum.
    settings : dict
        How the cosines were made.
    """

    ranker: DecayedMarkov
    settings: dict[str, Any]

    @classmethod
    def fit(cls, dataset: Dataset) -> Cosines:
        """Compute, with the settings that rank best on validation."""
        found, settings = climb(dataset, COSINES, _cosines)
        return cls(found, settings)

    def refit(self, dataset: Dataset) -> Cosines:
        """Compute again with the same settings."""
        return Cosines(_cosines(dataset, **self.settings), self.settings)

    @cached_property
    def table(self) -> Table:
        """See Part.table."""
        return self.ranker.table()

    @property
    def size(self) -> int:
        """See Part.size."""
        return int(self.ranker.transitions.shape[0])

    def arrays(self) -> Arrays:
        """Return the matrix and the decay."""
        matrix = self.ranker.transitions
        return {
            "data": matrix.data,
            "indices": matrix.indices,
            "indptr": matrix.indptr,
            "decay": np.array([self.ranker.query_decay]),
        }

    @classmethod
    def of(cls, arrays: Arrays, catalogue: Catalogue) -> Cosines:
        """Rebuild; items that joined the catalogue later have no cosines."""
        known, items = len(arrays["indptr"]) - 1, len(catalogue)
        matrix = sparse.csr_matrix(
            (arrays["data"], arrays["indices"], arrays["indptr"]), shape=(known, known)
        )
        matrix.resize((items, items))
        return cls(DecayedMarkov(matrix, float(arrays["decay"][0])), {})


def _ease(regulariser: float, dataset: Dataset) -> Ease:
    return Ease.fit(dataset, regulariser=regulariser)


def _decayed(ranker: Ease, decay: float, _: Dataset) -> Ease:
    return Ease(ranker.weights, decay, ranker.regulariser)


def _cosines(dataset: Dataset, **settings: Any) -> DecayedMarkov:
    found = ItemKnn.fit(dataset, **settings)
    return DecayedMarkov(found.similarity, found.query_decay, "item kNN")
