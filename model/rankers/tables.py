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

from model.kernels import sources
from model.kernels.compiled import flat

Floats = NDArray[np.float32]
SMALL_CATALOGUE = 4_000  # items; a table of all their products has 64 MB, and a prefix reads a few rows of it
# share of entries: below, adding them one by one takes less time than whole rows in lanes
DENSE_ENOUGH = 0.1


@dataclass(frozen=True)
class Record:
    """A source as the kernels read it.

    Attributes
    ----------
    where : ndarray int64, shape (WIDTH,)
        A row of the plan of `model.kernels.sources`: addresses and sizes.
    numbers : ndarray float64, shape (NUMBERS,)
    arrays : tuple of ndarray
        What stands at the addresses; held, so that it stays there.
    """

    where: NDArray[np.int64]
    numbers: NDArray[np.float64]
    arrays: tuple[NDArray[Any], ...]

    @classmethod
    def of(cls, kind: int, *fields: NDArray[Any] | int | None, numbers: tuple[float, ...] = ()) -> Record:
        """Put a form's fields in their order: arrays by their address, sizes as they are; none = 0."""
        where = np.zeros(sources.WIDTH, dtype=np.int64)
        where[sources.KIND], where[sources.PLACE] = kind, -1
        for place, one in enumerate(fields, start=2):
            where[place] = one.ctypes.data if isinstance(one, np.ndarray) else one or 0
        given = np.zeros(sources.NUMBERS, dtype=np.float64)
        given[: len(numbers)] = numbers
        return cls(where, given, tuple(one for one in fields if isinstance(one, np.ndarray)))


class Table(ABC):
    """Votes of one source for every item, and the click that speaks most for one."""

    @property
    def multiplies(self) -> bool:
        """Whether a query is multiplied with every item's vector."""
        return False

    @abstractmethod
    def fits(self, items: int) -> bool:
        """Whether the arrays are those of a catalogue of so many items: kernels check no place in them."""

    @property
    @abstractmethod
    def record(self) -> Record:
        """The source as the kernels read it."""


@dataclass(frozen=True)
class Rows:
    """A sparse matrix as kernels read it (CSR, columns ascending).

    Attributes
    ----------
    data : ndarray float32, shape (entries,)
    columns : ndarray int32, shape (entries,)
    bounds : ndarray int64, shape (rows + 1,)

    Raises
    ------
    ValueError
        When made of a matrix whose index arrays lead outside of it.
    """

    data: Floats
    columns: NDArray[np.int32]
    bounds: NDArray[np.int64]

    @classmethod
    def of(cls, matrix: sparse.csr_matrix) -> Rows:
        """Take a matrix's entries, sorted."""
        matrix.check_format(full_check=True)
        if not matrix.has_canonical_format:
            matrix = matrix.copy()
            matrix.sum_duplicates()
        entries = matrix.indptr[-1]
        return cls(
            flat(matrix.data[:entries], np.float32),
            flat(matrix.indices[:entries], np.int32),
            flat(matrix.indptr, np.int64),
        )

    @property
    def arrays(self) -> tuple[Any, Any, Any]:
        """In the order of the plan's fields."""
        return self.data, self.columns, self.bounds


@dataclass(frozen=True)
class SparseTable(Table):
    """Item-item weights with many zeros: transitions, neighbours of items. Those of a small catalogue with
    few zeros are read as whole rows.

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

    def fits(self, items: int) -> bool:
        """See Table.fits."""
        return len(self.counted) == items and len(self.rows.bounds) == items + 1

    @cached_property
    def record(self) -> Record:
        """See Table.record."""
        counted, items = flat(self.counted, np.float32), len(self.counted)
        if items <= SMALL_CATALOGUE and len(self.rows.data) > DENSE_ENOUGH * items**2:
            whole = sparse.csr_matrix(self.rows.arrays, shape=(items, items)).toarray()
            return Record.of(sources.DENSE, flat(whole, np.float32), counted, numbers=(self.decay,))
        return Record.of(
            sources.SPARSE, *self.rows.arrays, len(self.rows.data), counted, numbers=(self.decay,)
        )


@dataclass(frozen=True)
class DenseTable(Table):
    """Item-item weights without zeros, float32, shape (items, items): EASE."""

    weights: Floats
    decay: float

    def fits(self, items: int) -> bool:
        """See Table.fits."""
        return self.weights.shape == (items, items)

    @cached_property
    def record(self) -> Record:
        """See Table.record."""
        return Record.of(sources.DENSE, self.weights, numbers=(self.decay,))


@dataclass(frozen=True)
class ConstantTable(Table):
    """The same shares for every session: popularity; float32, shape (items,)."""

    counts: Floats

    def fits(self, items: int) -> bool:
        """See Table.fits."""
        return len(self.counts) == items

    @cached_property
    def record(self) -> Record:
        """See Table.record."""
        return Record.of(sources.CONSTANT, self.counts, numbers=(1.0 / max(float(self.counts.sum()), 1.0),))


@dataclass(frozen=True)
class RepeatTable(Table):
    """Rates at which a session's own items come back; arrays as `model.kernels.sums.repeat_votes` names
    them.
    """

    rates: Floats
    moods: Floats
    lengths: NDArray[np.float64]
    borders: NDArray[np.float64]

    def fits(self, items: int) -> bool:
        """See Table.fits."""
        return self.moods.shape == (len(self.lengths) + 1, len(self.borders) + 1)

    @cached_property
    def record(self) -> Record:
        """See Table.record."""
        return Record.of(
            sources.REPEATS,
            self.rates,
            *self.rates.shape,
            self.moods,
            *self.moods.shape,
            self.lengths,
            self.borders,
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
        Time of the newest click, for prefixes without times: a live prefix is one of now.
    """

    index: tuple[Any, ...]
    knn: tuple[Any, ...]
    linear: bool
    settings: NDArray[np.float64]
    newest: int

    @property
    def known(self) -> int:
        """Training sessions."""
        return len(self.knn[1])

    def fits(self, items: int) -> bool:
        """See Table.fits."""
        return len(self.index[0]) == items + 1 and len(self.knn[4]) == items

    @cached_property
    def record(self) -> Record:
        """See Table.record."""
        ages, ended, items, _, _, away = self.knn
        return Record.of(
            sources.NEIGHBOURS,
            *self.index,
            len(self.index[1]),
            *self.knn,
            len(ended),
            len(items),
            len(ages),
            len(away),
            self.newest,
            numbers=(*self.settings.tolist(), float(self.linear)),
        )


@dataclass(frozen=True)
class GivenTable(Table):
    """Probabilities that were computed elsewhere, for the sessions in their order; float32, shape (sessions,
    items).
    """

    probabilities: Floats

    def fits(self, items: int) -> bool:
        """See Table.fits."""
        return bool(self.probabilities.shape[1] == items)

    @cached_property
    def record(self) -> Record:
        """See Table.record."""
        given = flat(self.probabilities, np.float32)
        return Record.of(sources.GIVEN, given, len(given))
