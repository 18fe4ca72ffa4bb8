"""What a part of the hybrid score is: rows of probabilities out of cases. Knows no part."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from model.sequences import Cases
from model.splits import Dataset

SHARPNESS = 12.0  # cosine -> exp(12 * cosine): the best title then weighs about as much as 100 average ones
Arrays = dict[str, np.ndarray]


class Part(Protocol):
    """A ranker whose rows are probabilities, or all zero where it knows nothing."""

    def probabilities(self, cases: Cases) -> np.ndarray:
        """Return float32, shape (cases, items)."""
        ...

    def arrays(self) -> Arrays:
        """Return what must be saved to score again, beside the catalogue."""
        ...

    def refit(self, dataset: Dataset) -> Part:
        """Return the part with the same settings on other training data."""
        ...


def shares(scores: np.ndarray) -> np.ndarray:
    """Divide rows of non-negative scores by their sum; zero rows stay zero."""
    sums = scores.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(scores, sums, out=np.zeros_like(scores), where=sums > 0), dtype=np.float32)


def sharpened(cosines: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Turn cosines into probabilities; rows without any direction and items without text (``known`` False) get 0."""
    weights = np.exp(SHARPNESS * (cosines - 1.0))
    if known is not None:
        weights *= known
    weights[~cosines.any(axis=1)] = 0.0
    return shares(weights.astype(np.float32))
