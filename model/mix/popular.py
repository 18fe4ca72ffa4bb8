"""The part that knows no session: the items most clicked lately. Knows nothing of the case."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from model.data.catalogue import Catalogue
from model.data.splits import Dataset
from model.evaluate.choose import choose
from model.kernels.compiled import flat
from model.mix.part import Arrays, Part
from model.rankers.popularity import Popularity
from model.rankers.tables import ConstantTable, Table

WINDOWS = (1.0, 0.3, 0.1, 0.03)  # share of the newest clicks that count


@dataclass(frozen=True)
class Popular(Part):
    """Shares of the clicks of a window of time.

    Attributes
    ----------
    ranker : Popularity
    window : float
        Share of the newest clicks that count.
    """

    ranker: Popularity
    window: float

    @classmethod
    def fit(cls, dataset: Dataset) -> Popular:
        """Count, in the window that ranks best on validation."""
        ranker, place = choose(dataset, [partial(within, window) for window in WINDOWS])
        return cls(ranker, WINDOWS[place])

    def refit(self, dataset: Dataset) -> Popular:
        """Count anew in a window of the same share."""
        return Popular(within(self.window, dataset), self.window)

    @cached_property
    def table(self) -> Table:
        """See Part.table: the same shares for every case."""
        return ConstantTable(flat(self.ranker.counts, np.float32))

    @property
    def size(self) -> int:
        """See Part.size."""
        return len(self.ranker.counts)

    def arrays(self) -> Arrays:
        """Return the counts."""
        return {"counts": self.ranker.counts, "window": np.array([self.window])}

    @classmethod
    def of(cls, arrays: Arrays, catalogue: Catalogue) -> Popular:
        """Rebuild; items that joined the catalogue later have no click."""
        counts = np.asarray(arrays["counts"], dtype=np.float32)
        padded = np.pad(counts, (0, len(catalogue) - len(counts)))
        return cls(Popularity(padded), float(arrays["window"][0]))


def within(window: float, dataset: Dataset) -> Popularity:
    """Count the newest share of the training clicks."""
    train = dataset.train
    count = max(1, round(window * train.clicks))
    newest = np.argsort(train.times, kind="stable")[-count:]
    return Popularity(np.bincount(train.items[newest], minlength=len(dataset.catalogue)).astype(np.float32))
