"""What a part of the hybrid score is: rows of probabilities out of cases. Knows no part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from model.data.sequences import Cases
from model.data.splits import Dataset
from model.rankers.tables import Table

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Votes:
    """Scores before they are divided by their sum: a mix multiplies by weight and share at once, one pass
    instead of three.

    Attributes
    ----------
    values : ndarray float32, shape (cases, items)
        Not negative.
    scale : ndarray float32, shape (cases,)
        What a row is multiplied by to become probabilities, or zeros where the part knows nothing.
    """

    values: np.ndarray
    scale: np.ndarray

    def probabilities(self) -> np.ndarray:
        """Return rows that sum to 1, or to 0 where nothing is known, float32, shape (cases, items)."""
        return np.asarray(self.values * self.scale[:, None])


class Part(ABC):
    """A ranker whose rows are probabilities, or all zero where it knows nothing; its numbers stand in a
    table, which the compiled kernels read.
    """

    @property
    @abstractmethod
    def table(self) -> Table:
        """What scores and names clicks."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Items of the catalogue."""

    def votes(self, cases: Cases) -> Votes:
        """Score every item of every case."""
        values = np.empty((len(cases), self.size), dtype=np.float32)
        scale = np.empty(len(cases), dtype=np.float32)
        self.table.votes(cases, values, scale)
        return Votes(values, scale)

    def probabilities(self, cases: Cases) -> np.ndarray:
        """Return float32, shape (cases, items)."""
        return self.votes(cases).probabilities()

    @abstractmethod
    def arrays(self) -> Arrays:
        """Return what must be saved to score again, beside the catalogue."""

    @abstractmethod
    def refit(self, dataset: Dataset) -> Part:
        """Return the part with the same settings on other training data; what is lent is lent again."""

    def lent(self, dataset: Dataset) -> Part:
        """Return the part with what like items lend to items without a click; most parts lend nothing."""
        return self
