"""What a ranker has learned, as flat arrays that the compiled kernels read: one class a form, whatever the
numbers mean. Learns nothing.

A new source of the mix is one of these forms with other arrays in it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from model.data.sequences import Cases, Sequences
from model.kernels import because, cosines, neighbours, sums
from model.kernels.compiled import flat

Floats = NDArray[np.float32]
SMALL_CATALOGUE = 4_000  # items; a table of all their products has 64 MB, and a prefix reads a few rows of it
NO_NUMBERS: Floats = np.zeros(0, dtype=np.float32)


def decayed_rows(prefixes: Sequences, decay: float, table: Floats) -> Floats:
    """Add up the rows of the prefixes' items, older clicks weighing less.

    Parameters
    ----------
    prefixes : Sequences
    decay : float
        Weight of a click, per click after it.
    table : ndarray float32, shape (items, columns)

    Returns
    -------
    ndarray float32, shape (sessions, columns)

    Examples
    --------
    >>> decayed_rows(Sequences.of([[0, 1]]), 0.5, np.eye(3, dtype=np.float32)).tolist()
    [[0.5, 1.0, 0.0]]
    """
    found = np.empty((len(prefixes), table.shape[1]), dtype=np.float32)
    sums.decayed_rows(prefixes.items, prefixes.offsets, decay, table, found)
    return found


@dataclass(frozen=True)
class Clicked:
    """Where the clicks that reasons name are written.

    Attributes
    ----------
    chosen : ndarray bool, shape (cases, k)
        Recommendations whose click is asked for.
    best : ndarray int32, shape (cases, k)
        Recommended items.
    items : ndarray int32, shape (cases, k)
        Clicked items, written where one is found.
    """

    chosen: NDArray[np.bool_]
    best: NDArray[np.int32]
    items: NDArray[np.int32]


class Table(ABC):
    """Votes of one source for every item, and the click that speaks most for one."""

    @abstractmethod
    def votes(self, cases: Cases, values: Floats, scale: Floats) -> None:
        """Write votes.

        Parameters
        ----------
        cases : Cases
        values : ndarray float32, out, shape (cases, items)
            Not negative.
        scale : ndarray float32, out, shape (cases,)
            What a row is multiplied by to become probabilities; 0 where the source knows nothing.
        """

    def name_clicks(self, cases: Cases, clicked: Clicked) -> None:  # noqa: B027 - most sources name none
        """Write the clicks that speak most for recommendations; none where the source does not read clicks
        one by one.
        """

    def unscaled(self, cases: Cases, items: int) -> Floats:
        """Return the votes of a catalogue of ``items`` without their scale, float32, shape (cases, items)."""
        values = np.empty((len(cases), items), dtype=np.float32)
        self.votes(cases, values, np.empty(len(cases), dtype=np.float32))
        return values


@dataclass(frozen=True)
class Rows:
    """A sparse matrix as kernels read it (CSR, columns ascending).

    Attributes
    ----------
    data : ndarray float32, shape (entries,)
    columns : ndarray int32, shape (entries,)
    bounds : ndarray int64, shape (rows + 1,)
    """

    data: Floats
    columns: NDArray[np.int32]
    bounds: NDArray[np.int64]

    @classmethod
    def of(cls, matrix: sparse.csr_matrix) -> Rows:
        """Take a matrix's entries, sorted."""
        if not matrix.has_canonical_format:
            matrix = matrix.copy()
            matrix.sum_duplicates()
        return cls(
            flat(matrix.data, np.float32), flat(matrix.indices, np.int32), flat(matrix.indptr, np.int64)
        )

    @property
    def arrays(self) -> tuple[Any, Any, Any]:
        """In the order of the kernels' arguments."""
        return self.data, self.columns, self.bounds


@dataclass(frozen=True)
class SparseTable(Table):
    """Item-item weights with many zeros: transitions, neighbours of items.

    Attributes
    ----------
    rows : Rows
    decay : float
        Weight of a click, per click after it.
    counted : ndarray bool, shape (items,)
        Items that reasons may name and name a click for.
    """

    rows: Rows
    decay: float
    counted: NDArray[np.bool_]

    def votes(self, cases: Cases, values: Floats, scale: Floats) -> None:
        """See Table.votes."""
        prefixes = cases.prefixes
        sums.sparse_votes(prefixes.items, prefixes.offsets, self.decay, *self.rows.arrays, values, scale)

    def name_clicks(self, cases: Cases, clicked: Clicked) -> None:
        """See Table.name_clicks."""
        because.sparse_clicks(
            cases.prefixes.items,
            cases.prefixes.offsets,
            self.decay,
            *self.rows.arrays,
            self.counted,
            clicked.chosen,
            clicked.best,
            clicked.items,
        )


@dataclass(frozen=True)
class DenseTable(Table):
    """Item-item weights without zeros, float32, shape (items, items): EASE."""

    weights: Floats
    decay: float

    def votes(self, cases: Cases, values: Floats, scale: Floats) -> None:
        """See Table.votes."""
        prefixes = cases.prefixes
        sums.dense_votes(prefixes.items, prefixes.offsets, self.decay, self.weights, values, scale)

    def name_clicks(self, cases: Cases, clicked: Clicked) -> None:
        """See Table.name_clicks."""
        prefixes = cases.prefixes
        because.dense_clicks(
            prefixes.items,
            prefixes.offsets,
            self.decay,
            self.weights,
            clicked.chosen,
            clicked.best,
            clicked.items,
        )


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

    @cached_property
    def named(self) -> Floats:
        """1 for items with a text; empty where all have one."""
        found = np.abs(self.vectors).sum(axis=1) > 0
        return NO_NUMBERS if found.all() else found.astype(np.float32)

    @cached_property
    def products(self) -> Floats | None:
        """Cosines of all pairs of items of a small catalogue, float32, shape (items, items)."""
        return (
            flat(self.vectors @ self.vectors.T, np.float32) if len(self.vectors) <= SMALL_CATALOGUE else None
        )

    def votes(self, cases: Cases, values: Floats, scale: Floats) -> None:
        """See Table.votes."""
        read = cases.prefixes.items, cases.prefixes.offsets, self.decay, self.vectors
        written = np.float32(self.sharpness), self.named, values, scale
        if self.products is None:
            cosines.vector_votes(*read, *written)
        else:
            cosines.product_votes(*read, self.products, *written)

    def name_clicks(self, cases: Cases, clicked: Clicked) -> None:
        """See Table.name_clicks."""
        prefixes = cases.prefixes
        because.vector_clicks(
            prefixes.items,
            prefixes.offsets,
            self.decay,
            self.vectors,
            clicked.chosen,
            clicked.best,
            clicked.items,
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
    def rows(self) -> Rows:
        """Words of every item."""
        return Rows.of(self.vectors)

    @cached_property
    def by_word(self) -> Rows:
        """Items of every word."""
        return Rows.of(self.vectors.T.tocsr())

    @cached_property
    def products(self) -> Floats | None:
        """Cosines of all pairs of items of a small catalogue, float32, shape (items, items)."""
        small = self.vectors.shape[0] <= SMALL_CATALOGUE
        return flat((self.vectors @ self.vectors.T).toarray(), np.float32) if small else None

    def votes(self, cases: Cases, values: Floats, scale: Floats) -> None:
        """See Table.votes."""
        read = cases.prefixes.items, cases.prefixes.offsets, self.decay
        sharpness = np.float32(self.sharpness)
        if self.products is None:
            cosines.word_votes(*read, *self.rows.arrays, *self.by_word.arrays, sharpness, values, scale)
        else:
            no_vectors = np.zeros((len(self.products), 0), dtype=np.float32)
            cosines.product_votes(*read, no_vectors, self.products, sharpness, NO_NUMBERS, values, scale)

    def name_clicks(self, cases: Cases, clicked: Clicked) -> None:
        """See Table.name_clicks."""
        because.word_clicks(
            cases.prefixes.items,
            cases.prefixes.offsets,
            self.decay,
            *self.rows.arrays,
            clicked.chosen,
            clicked.best,
            clicked.items,
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

    @cached_property
    def named(self) -> Floats:
        """1 for items with a text; empty where all have one."""
        found = np.abs(self.vectors).sum(axis=1) > 0
        return NO_NUMBERS if found.all() else found.astype(np.float32)

    def votes(self, cases: Cases, values: Floats, scale: Floats) -> None:
        """See Table.votes; a case without intents gets none."""
        if cases.long is None and cases.short is None:
            values[:], scale[:] = 0.0, 0.0
            return
        shape = (len(cases), self.vectors.shape[1])
        long, short = (
            np.zeros(shape, dtype=np.float32) if view is None else flat(view, np.float32)
            for view in (cases.long, cases.short)
        )
        cosines.view_votes(
            long,
            short,
            np.float32(self.short_share),
            self.vectors,
            np.float32(self.sharpness),
            self.named,
            values,
            scale,
        )


@dataclass(frozen=True)
class ConstantTable(Table):
    """The same shares for every session: popularity; float32, shape (items,)."""

    counts: Floats

    def votes(self, cases: Cases, values: Floats, scale: Floats) -> None:
        """See Table.votes."""
        sums.constant_votes(self.counts, max(float(self.counts.sum()), 1.0), values, scale)


@dataclass(frozen=True)
class RepeatTable(Table):
    """Rates at which a session's own items come back; arrays as `model.kernels.sums.repeat_votes` names
    them.
    """

    rates: Floats
    moods: Floats
    lengths: NDArray[np.float64]
    borders: NDArray[np.float64]

    def votes(self, cases: Cases, values: Floats, scale: Floats) -> None:
        """See Table.votes."""
        prefixes = cases.prefixes
        sums.repeat_votes(
            prefixes.items,
            prefixes.offsets,
            self.rates,
            self.moods,
            self.lengths,
            self.borders,
            values,
            scale,
        )


@dataclass(frozen=True)
class NeighbourTable(Table):
    """Training sessions, found by their items; see `model.kernels.neighbours`.

    Attributes
    ----------
    index : tuple of ndarray
        Bounds int64 (items + 1,), sessions int32, weights float64, places of last clicks int64.
    knn : tuple of ndarray
        Weights by age float64; ends of the sessions int64, microseconds; their items int32 and offsets int64;
        rarity of items float64; weights by distance from the match float64 (odd length, 0 in the middle).
    linear : bool
        V-SKNN's votes, which decay with the match's age once more.
    settings : ndarray float64, shape (2,)
        Microseconds of STAN's l2 (may be infinite), sessions that vote.
    newest : int
        Time of the newest click, for prefixes without times.
    """

    index: tuple[Any, ...]
    knn: tuple[Any, ...]
    linear: bool
    settings: NDArray[np.float64]
    newest: int

    def votes(self, cases: Cases, values: Floats, scale: Floats) -> None:
        """See Table.votes."""
        neighbours.neighbour_votes(*self._read(cases), values, scale)

    def name_clicks(self, cases: Cases, clicked: Clicked) -> None:
        """See Table.name_clicks."""
        neighbours.neighbour_clicks(*self._read(cases), clicked.chosen, clicked.best, clicked.items)

    def _read(self, cases: Cases) -> tuple[Any, ...]:
        prefixes = cases.prefixes
        # A live prefix without times is one of now: the time of the newest session.
        moments = np.where(prefixes.last_times > 0, prefixes.last_times, self.newest)
        return prefixes.items, prefixes.offsets, moments, self.index, self.knn, self.linear, self.settings
