"""The mix at work: the tables of all its sources, asked for cases; scores of all items, or the best ones with
the source and the click behind each. Chooses no weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.data.sequences import Cases
from model.kernels import best
from model.mix.cold_mix import ColdMix
from model.mix.weights import TEXT
from model.rankers.tables import Clicked, Table

Floats = NDArray[np.float32]
NUMBERS_AT_ONCE = 4_194_304  # 16 MB of votes of all sources: larger blocks fall out of the caches
NO_FACTORS: Floats = np.zeros((0, 0), dtype=np.float32)


@dataclass(frozen=True)
class GivenTable(Table):
    """Probabilities that were computed elsewhere, for the cases in their order; float32, shape (cases,
    items).
    """

    probabilities: Floats

    def votes(self, cases: Cases, values: Floats, scale: Floats) -> None:
        """See Table.votes."""
        values[:], scale[:] = self.probabilities, 1.0


@dataclass(frozen=True)
class Source:
    """One source of the mix: its name, its weight and its numbers."""

    name: str
    weight: float
    table: Table


@dataclass(frozen=True)
class Best:
    """The best items of some cases, best first.

    Attributes
    ----------
    scores : ndarray float32, shape (cases, k)
    items : ndarray int32, shape (cases, k)
        -1 where a case has fewer.
    strongest : ndarray int32, shape (cases, k)
        Place among the mixer's sources of the one that gave most.
    clicked : ndarray int32, shape (cases, k)
        Item of the click that speaks most for a recommendation; -1 where none does.
    """

    scores: Floats
    items: NDArray[np.int32]
    strongest: NDArray[np.int32]
    clicked: NDArray[np.int32]


class Mixer:
    """All sources of a score.

    Parameters
    ----------
    sources : sequence of Source
        At least one, those without weight left out.
    items : int
        Of the catalogue.
    cold : ColdMix, optional
        How items with few clicks are mixed.
    """

    def __init__(self, sources: list[Source], items: int, cold: ColdMix | None = None) -> None:
        self.names = tuple(source.name for source in sources)
        self.items = items
        self._tables = tuple(source.table for source in sources)
        self._weights = np.array([source.weight for source in sources], dtype=np.float32)
        self._sides = np.array([int(name not in TEXT) for name in self.names], dtype=np.int64)
        self._factors = NO_FACTORS if cold is None else cold.factors
        self._said_sides = np.array([ColdMix.reason_side(name) for name in self.names], dtype=np.int64)
        self._said = NO_FACTORS if cold is None else cold.reasons
        self._at_once = max(1, NUMBERS_AT_ONCE // (max(1, items) * len(sources)))

    def blocks(self, cases: int) -> list[slice]:
        """Return parts of the cases that fit into the caches."""
        return [slice(start, min(start + self._at_once, cases)) for start in range(0, cases, self._at_once)]

    def votes(self, cases: Cases) -> tuple[Floats, Floats]:
        """Ask every source.

        Returns
        -------
        values : ndarray float32, shape (sources, cases, items)
        scales : ndarray float32, shape (sources, cases)
            What a row is multiplied by to become its part of the mix, weights included.
        """
        values = np.empty((len(self._tables), len(cases), self.items), dtype=np.float32)
        scales = np.empty(values.shape[:2], dtype=np.float32)
        for place, table in enumerate(self._tables):
            table.votes(cases, values[place], scales[place])
        scales *= self._weights[:, None]
        return values, scales

    def warm(self, cases: Cases) -> None:
        """Run every kernel of the sources once, so that no session waits for one to be compiled or read."""
        self.best(cases, 1, without_seen=True)
        nothing = np.full((len(cases), 1), -1, dtype=np.int32)
        for table in self._tables:
            table.name_clicks(
                cases, Clicked(np.zeros(nothing.shape, dtype=np.bool_), nothing, nothing.copy())
            )

    def scores(self, cases: Cases) -> Floats:
        """Mix for all items, nothing filtered, float32, shape (cases, items)."""
        found = np.empty((len(cases), self.items), dtype=np.float32)
        for part in self.blocks(len(cases)):
            some = cases if len(found) <= self._at_once else cases.select(np.arange(part.start, part.stop))
            best.mixed(*self.votes(some), self._sides, self._factors, found[part])
        return found

    def best(self, cases: Cases, k: int, without_seen: bool) -> Best:
        """Take the best items of cases; few enough of them to fit into `blocks`.

        Parameters
        ----------
        cases : Cases
        k : int
            At least 1; at most as many as the catalogue has.
        without_seen : bool
            Leave out the items of a case's own prefix.
        """
        shape = len(cases), min(k, self.items)
        totals = np.empty((len(cases), self.items), dtype=np.float32)
        scores = np.full(shape, -np.inf, dtype=np.float32)
        items, strongest, clicked = (np.full(shape, -1, dtype=np.int32) for _ in range(3))
        values, scales = self.votes(cases)
        best.mixed(values, scales, self._sides, self._factors, totals)
        best.answers(
            totals,
            cases.prefixes.items,
            cases.prefixes.offsets,
            without_seen,
            values,
            scales,
            self._said_sides,
            self._said,
            scores,
            items,
            strongest,
        )
        for place, table in enumerate(self._tables):
            chosen = strongest == place
            if chosen.any():
                table.name_clicks(cases, Clicked(chosen, items, clicked))
        return Best(scores, items, strongest, clicked)

    def shares(self, cases: Cases, items: NDArray[np.int64]) -> dict[str, Floats]:
        """Say how much of each recommendation's score comes from which source.

        Parameters
        ----------
        cases : Cases
        items : ndarray int64, shape (cases, k)

        Returns
        -------
        dict
            Source name to float32, shape (cases, k); the shares of one recommendation sum to 1.
        """
        values, scales = self.votes(cases)
        taken = np.take_along_axis(values, items[None], axis=2) * scales[:, :, None]
        if len(self._factors):
            taken *= self._factors[self._sides][:, items]
        taken /= np.maximum(taken.sum(axis=0), 1e-30)
        return dict(zip(self.names, taken, strict=True))
