"""Popularity: the items with most training clicks, the same for every session."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.data.sequences import Cases
from model.data.splits import Dataset


@dataclass(frozen=True)
class Popularity:
    """Scores are training clicks.

    Attributes
    ----------
    counts : ndarray float32, shape (items,)
    """

    counts: np.ndarray
    name: str = "popularity"

    @classmethod
    def fit(cls, dataset: Dataset) -> Popularity:
        """Count the training clicks."""
        return cls(dataset.item_counts.astype(np.float32))

    def scores(self, cases: Cases) -> np.ndarray:
        """Return the same row for every case, float32, shape (cases, items)."""
        return np.repeat(self.counts[None, :], len(cases), axis=0)
