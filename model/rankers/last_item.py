"""Last item: whatever was clicked last is clicked again, then what came before it. The floor for data with
repeats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.data.sequences import Cases
from model.data.splits import Dataset


@dataclass(frozen=True)
class LastItem:
    """Scores are 1 / (1 + clicks since the item was clicked last), 0 for items that were not."""

    items: int
    name: str = "last item"

    @classmethod
    def fit(cls, dataset: Dataset) -> LastItem:
        """Take the size of the catalogue; there is nothing to learn."""
        return cls(len(dataset.catalogue))

    def scores(self, cases: Cases) -> np.ndarray:
        """Return one row a case, float32, shape (cases, items)."""
        scores = np.zeros((len(cases), self.items), dtype=np.float32)
        np.maximum.at(
            scores, (cases.prefixes.rows, cases.prefixes.items), 1.0 / (1.0 + cases.prefixes.steps_back)
        )
        return scores
