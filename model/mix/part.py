"""What a part of the hybrid score is: rows of probabilities out of cases. Knows no part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np

from model.data.sequences import Cases
from model.data.splits import Dataset
from model.rankers.plan import Asked, Plan
from model.rankers.tables import Table

Arrays = dict[str, np.ndarray]


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

    @cached_property
    def _alone(self) -> Plan:
        return Plan([self.table], [1.0], self.size)

    def probabilities(self, cases: Cases) -> np.ndarray:
        """Return float32, shape (cases, items): rows sum to 1, or to 0 where nothing is known."""
        return self._alone.scores(Asked.of(cases))

    @abstractmethod
    def arrays(self) -> Arrays:
        """Return what must be saved to score again, beside the catalogue."""

    @abstractmethod
    def refit(self, dataset: Dataset) -> Part:
        """Return the part with the same settings on other training data; what is lent is lent again."""

    def lent(self, dataset: Dataset) -> Part:
        """Return the part with what like items lend to items without a click; most parts lend nothing."""
        return self
