"""The mix at work: all sources of a score with their weights, and how items with few clicks are mixed.
Chooses no weight, computes nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.data.sequences import Cases
from model.kernels.compiled import flat
from model.mix.cold_mix import ColdMix
from model.mix.weights import TEXT
from model.rankers.plan import Asked, Plan, Sides
from model.rankers.tables import Floats, Table


@dataclass(frozen=True)
class Source:
    """One source of the mix: its name, its weight and its numbers."""

    name: str
    weight: float
    table: Table


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
        mixed = said = None
        if cold is not None:
            mixed = Sides(
                np.array([int(name not in TEXT) for name in self.names]), flat(cold.factors, np.float32)
            )
            said = Sides(
                np.array([ColdMix.reason_side(name) for name in self.names]), flat(cold.reasons, np.float32)
            )
        tables, weights = [source.table for source in sources], [source.weight for source in sources]
        self.plan = Plan(tables, weights, items, mixed, said)
        self._mixed = mixed

    def scores(self, cases: Cases) -> Floats:
        """Mix for all items, nothing filtered, float32, shape (cases, items)."""
        return self.plan.scores(Asked.of(cases))

    def shares(self, asked: Asked, items: NDArray[np.int64]) -> dict[str, Floats]:
        """Say how much of each recommendation's score comes from which source.

        Parameters
        ----------
        asked : Asked
        items : ndarray int64, shape (sessions, k)

        Returns
        -------
        dict
            Source name to float32, shape (sessions, k); the shares of one recommendation sum to 1.
        """
        values, scales = self.plan.votes(asked)
        taken = np.take_along_axis(values, items[None], axis=2) * scales[:, :, None]
        if self._mixed is not None:
            taken *= self._mixed.factors[self._mixed.of][:, items]
        taken /= np.maximum(taken.sum(axis=0), 1e-30)
        return dict(zip(self.names, taken, strict=True))
