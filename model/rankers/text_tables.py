"""What texts say of items, as flat arrays that the compiled kernels read: vectors, words, and vectors that
are compared with intents. Learns nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from model.kernels import sources
from model.kernels.compiled import flat
from model.rankers.tables import SMALL_CATALOGUE, Floats, Record, Rows, Table


def named(vectors: Floats) -> Floats | None:
    """Return 1 for items with a text and 0 for others, float32; none where all have one."""
    found = np.abs(vectors).sum(axis=1) > 0
    return None if found.all() else flat(found, np.float32)


@dataclass(frozen=True)
class VectorTable(Table):
    """Unit vectors of items: votes are ``exp(sharpness * cosine)`` with the decayed mean of the clicks'.

    Attributes
    ----------
    vectors : ndarray float32, shape (items, dim)
        Zero rows are items without a text; they get no vote.
    decay : float
    sharpness : float
    """

    vectors: Floats
    decay: float
    sharpness: float

    @property
    def multiplies(self) -> bool:
        """Whether the catalogue is too large for `products`."""
        return self.products is None

    @cached_property
    def products(self) -> Floats | None:
        """Cosines of all pairs of items of a small catalogue, float32, shape (items, items)."""
        return (
            flat(self.vectors @ self.vectors.T, np.float32) if len(self.vectors) <= SMALL_CATALOGUE else None
        )

    def fits(self, items: int) -> bool:
        """See Table.fits."""
        return len(self.vectors) == items

    @cached_property
    def record(self) -> Record:
        """See Table.record."""
        return Record.of(
            sources.VECTORS,
            self.vectors,
            self.vectors.shape[1],
            named(self.vectors),
            self.products,
            numbers=(self.decay, self.sharpness),
        )


@dataclass(frozen=True)
class WordTable(Table):
    """The same with sparse vectors of words.

    Attributes
    ----------
    vectors : csr_matrix float32, shape (items, words)
    decay : float
    sharpness : float
    """

    vectors: sparse.csr_matrix
    decay: float
    sharpness: float

    @cached_property
    def products(self) -> Floats | None:
        """Cosines of all pairs of items of a small catalogue, float32, shape (items, items)."""
        small = self.vectors.shape[0] <= SMALL_CATALOGUE
        return flat((self.vectors @ self.vectors.T).toarray(), np.float32) if small else None

    def fits(self, items: int) -> bool:
        """See Table.fits."""
        return int(self.vectors.shape[0]) == items

    @cached_property
    def record(self) -> Record:
        """See Table.record."""
        rows, by_word = Rows.of(self.vectors), Rows.of(self.vectors.T.tocsr())
        return Record.of(
            sources.WORDS,
            *rows.arrays,
            len(rows.data),
            *by_word.arrays,
            self.vectors.shape[1],
            self.products,
            numbers=(self.decay, self.sharpness),
        )


@dataclass(frozen=True)
class ViewTable(Table):
    """Unit vectors of items, compared with both intents.

    Attributes
    ----------
    vectors : ndarray float32, shape (items, dim)
    short_share : float
        Weight of the short view; the long one has the rest.
    sharpness : float
    """

    vectors: Floats
    short_share: float
    sharpness: float

    @property
    def multiplies(self) -> bool:
        """See Table.multiplies."""
        return True

    def fits(self, items: int) -> bool:
        """See Table.fits."""
        return len(self.vectors) == items

    @cached_property
    def record(self) -> Record:
        """See Table.record; a case without intents gets no votes."""
        return Record.of(
            sources.VIEWS,
            self.vectors,
            self.vectors.shape[1],
            named(self.vectors),
            numbers=(self.short_share, self.sharpness),
        )
