"""Several sources asked at once: their tables as one plan, and the one call that answers sessions from it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from model.data.sequences import Cases, Sequences
from model.kernels import sources, sums
from model.kernels.compiled import flat
from model.kernels.mixing import mix
from model.rankers.tables import Floats, GivenTable, NeighbourTable, Table

NONE: Floats = np.zeros((0, 0), dtype=np.float32)
NO_VOTES: Floats = np.zeros((0, 0, 0), dtype=np.float32)
NO_MASK: NDArray[np.bool_] = np.zeros((0, 0), dtype=np.bool_)
NO_PLACES: NDArray[np.int32] = np.zeros((0, 0), dtype=np.int32)
# votes of a session, products of many, and what neighbours need; see `model.kernels.mixing.mix`
Room = tuple[Floats, Floats, tuple[NDArray[Any], ...]]
NUMBERS_AT_ONCE = 1_048_576  # 4 MB of products a multiplying source: larger blocks fall out of the caches


@dataclass(frozen=True, slots=True)
class Asked:
    """Prefixes and what comes with them, as kernels read it.

    Attributes
    ----------
    items : ndarray int32, shape (clicks,)
    offsets : ndarray int64, shape (sessions + 1,)
    moments : ndarray int64, shape (sessions,)
        Time of the last click, microseconds; 0 = now.
    long, short : ndarray float32, shape (sessions, text_dim) or (0, 0)
        Intents; none where empty, rows of 0 say nothing.
    first : int
        Place of the first session in the whole question.
    allowed : ndarray bool, shape (sessions, items) or (0, 0)
        Items that may be among the best; empty = all.
    """

    items: NDArray[np.int32]
    offsets: NDArray[np.int64]
    moments: NDArray[np.int64]
    long: Floats = field(default_factory=lambda: NONE)
    short: Floats = field(default_factory=lambda: NONE)
    first: int = 0
    allowed: NDArray[np.bool_] = field(default_factory=lambda: NO_MASK)

    @classmethod
    def of(cls, cases: Cases) -> Asked:
        """Take what cases of evaluation ask."""
        prefixes = cases.prefixes
        long, short = (NONE if one is None else flat(one, np.float32) for one in (cases.long, cases.short))
        return cls(
            flat(prefixes.items, np.int32),
            flat(prefixes.offsets, np.int64),
            flat(prefixes.last_times, np.int64),
            long,
            short,
        )

    def __len__(self) -> int:
        return len(self.moments)

    def part(self, start: int, stop: int) -> Asked:
        """Return sessions ``start:stop``."""
        if start == 0 and stop >= len(self):
            return self
        offsets = self.offsets[start : stop + 1]
        rows = slice(start, stop)
        return Asked(
            self.items[offsets[0] : offsets[-1]],
            offsets - offsets[0],
            self.moments[rows],
            self.long[rows],
            self.short[rows],
            self.first + start,
            self.allowed[rows],
        )


@dataclass(frozen=True, slots=True)
class Best:
    """The best items of some sessions, best first.

    Attributes
    ----------
    scores : ndarray float32, shape (sessions, k)
    items : ndarray int32, shape (sessions, k)
        -1 where a session has fewer.
    strongest : ndarray int32, shape (sessions, k)
        Place among the sources of the one that gave most.
    clicked : ndarray int32, shape (sessions, k)
        Item of the click that speaks most for a recommendation; -1 where none does.
    """

    scores: Floats
    items: NDArray[np.int32]
    strongest: NDArray[np.int32]
    clicked: NDArray[np.int32]

    @classmethod
    def room(cls, sessions: int, k: int) -> Best:
        """Return room for answers."""
        return cls(np.empty((sessions, k), np.float32), *np.empty((3, sessions, k), np.int32))


NO_BEST = Best(NONE, NO_PLACES, NO_PLACES, NO_PLACES)


@runtime_checkable
class Reads(Protocol):
    """A table whose queries are made by a network."""

    def sessions(self, asked: Asked) -> Floats:
        """Session vectors, float32, shape (sessions, dim)."""
        ...


@dataclass(frozen=True)
class Sides:
    """Which row of factors a source's part is multiplied by.

    Attributes
    ----------
    of : ndarray int64, shape (sources,)
    factors : ndarray float32, shape (sides, items) or (0, 0)
        Empty = 1 everywhere.
    """

    of: NDArray[np.int64]
    factors: Floats = field(default_factory=lambda: NONE)


class Plan:
    """Tables of several sources over one catalogue.

    Parameters
    ----------
    tables : sequence of Table
        At least one.
    weights : sequence of float
        One a table.
    items : int
        Of the catalogue.
    mixed, said : Sides, optional
        For scores, and for naming the strongest source.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        weights: Sequence[float],
        items: int,
        mixed: Sides | None = None,
        said: Sides | None = None,
    ) -> None:
        self.items = items
        self._tables = tuple(tables)
        self._weights = np.array(weights, dtype=np.float32)
        alike = Sides(np.zeros(len(tables), dtype=np.int64))
        self._mixed, self._said = ((one.of, one.factors) for one in (mixed or alike, said or alike))
        self._network = next((table for table in tables if isinstance(table, Reads)), None)
        self._given = min(
            (len(one.probabilities) for one in tables if isinstance(one, GivenTable)), default=None
        )
        self._rooms = threading.local()
        self.at_once = max(1, NUMBERS_AT_ONCE // max(1, items))

    @cached_property
    def _plan(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        for table in self._tables:
            if not table.fits(self.items):
                raise ValueError(
                    f"the arrays of {type(table).__name__} are not those of {self.items} items; train the "
                    "model again"
                )
        records = [table.record for table in self._tables]
        where = np.stack([record.where for record in records])
        multiplying = [table.multiplies for table in self._tables]
        where[multiplying, sources.PLACE] = np.arange(sum(multiplying))
        return where, np.stack([record.numbers for record in records])

    def _room(self, sessions: int) -> Room:
        """Room of this thread: asked for anew, it would cost more than most kernels."""
        found: Room | None = getattr(self._rooms, "room", None)
        if found is None or found[1].shape[1] < sessions:
            known = [table.known for table in self._tables if isinstance(table, NeighbourTable)]
            found = (
                np.empty((len(self._tables), self.items), dtype=np.float32),
                np.empty((sum(table.multiplies for table in self._tables), sessions, self.items), np.float32),
                (
                    np.zeros(max(known, default=0), dtype=np.int32),
                    *np.empty((3, max(known, default=0)), dtype=np.int64),
                    np.empty(max(known, default=0), dtype=np.float64),
                    np.zeros(2, dtype=np.int64),
                ),
            )
            self._rooms.room = found
        return found

    def run(
        self,
        asked: Asked,
        *,
        without_seen: bool = False,
        totals: Floats = NONE,
        kept: tuple[Floats, Floats] = (NO_VOTES, NONE),
        best: Best = NO_BEST,
    ) -> None:
        """Answer sessions, at most `at_once`, into what is given; see `model.kernels.mixing.mix`.

        Raises
        ------
        ValueError
            If an intent holds NaN or infinity, or fewer votes were given than sessions.
        """
        if self._given is not None and self._given < asked.first + len(asked):
            raise ValueError(
                f"votes of {self._given} sessions were given, {asked.first + len(asked)} are asked"
            )
        answered = mix(
            *self._plan,
            self._weights,
            self._mixed,
            self._said,
            (
                asked.items,
                asked.offsets,
                asked.moments,
                NONE if self._network is None else self._network.sessions(asked),
                asked.long,
                asked.short,
                asked.first,
            ),
            without_seen,
            asked.allowed,
            self._room(len(asked)),
            totals,
            kept,
            (best.scores, best.items, best.strongest, best.clicked),
        )
        if not answered:
            raise ValueError("an intent vector holds NaN or infinity; infer the intent again")

    def votes(self, asked: Asked) -> tuple[Floats, Floats]:
        """Ask every source.

        Returns
        -------
        values : ndarray float32, shape (sources, sessions, items)
        scales : ndarray float32, shape (sources, sessions)
            What a row is multiplied by to become its part of the mix, weights included.
        """
        values = np.empty((len(self._tables), len(asked), self.items), dtype=np.float32)
        scales = np.empty(values.shape[:2], dtype=np.float32)
        for start in range(0, len(asked), self.at_once):
            some = asked.part(start, start + self.at_once)
            rows = slice(start, start + len(some))
            kept = np.empty((len(values), len(some), self.items), np.float32), np.empty_like(scales[:, rows])
            self.run(some, kept=kept)
            values[:, rows], scales[:, rows] = kept
        return values, scales

    def scores(self, asked: Asked) -> Floats:
        """Mix for all items, nothing filtered, float32, shape (sessions, items)."""
        found = np.empty((len(asked), self.items), dtype=np.float32)
        for start in range(0, len(asked), self.at_once):
            stop = start + self.at_once
            self.run(asked.part(start, stop), totals=found[start:stop])
        return found

    def best(self, asked: Asked, k: int, without_seen: bool) -> Best:
        """Take the best items of sessions, at most `at_once`.

        Parameters
        ----------
        asked : Asked
        k : int
            At least 1; a smaller catalogue gives all it has.
        without_seen : bool
            Leave out the items of a session's own prefix.
        """
        found = Best.room(len(asked), min(k, self.items))
        self.run(asked, without_seen=without_seen, best=found)
        return found


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
