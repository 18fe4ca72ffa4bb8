"""A running figure of what answers are worth, over the latest that were judged. Knows no session."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import NamedTuple

from model.evaluate.metrics import CUTOFFS
from model.evaluate.next_click import RANK_UNIT, whole_gains

WINDOW = 10_000  # judged answers of a model version that the figure is of: +- 1 % of a hit rate
KEPT_VERSIONS = 4  # model versions with a figure; the longest unused goes


class Judged(NamedTuple):
    """An answer that was judged: which model gave it, and the rank of the next click; 0 = a miss."""

    model_version: str
    rank: int


class _Window:
    """Sums over the latest ranks of one model version; whole numbers, so that nothing drifts."""

    def __init__(self, size: int) -> None:
        self.ranks = deque[int](maxlen=size)
        self.sums = [0] * (2 * len(CUTOFFS))

    def add(self, rank: int) -> None:
        """Take one in, and the oldest out where the window is full."""
        if len(self.ranks) == self.ranks.maxlen:
            self._count(self.ranks[0], -1)
        self.ranks.append(rank)
        self._count(rank, 1)

    def _count(self, rank: int, sign: int) -> None:
        if rank:
            for place, gain in enumerate(whole_gains(rank)):
                self.sums[place] += sign * gain


class RunningFigure:
    """Hit rate and MRR over the latest judged answers of each model version.

    Parameters
    ----------
    window : int
        Answers of a version.
    """

    def __init__(self, window: int = WINDOW) -> None:
        self._size = window
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def add(self, one: Judged) -> str | None:
        """Count a verdict; gives the version whose figure is forgotten for it, if any."""
        version = one.model_version
        window = self._windows.get(version)
        if window is None:
            window = self._windows[version] = _Window(self._size)
        window.add(one.rank)
        self._windows.move_to_end(version)
        return self._windows.popitem(last=False)[0] if len(self._windows) > KEPT_VERSIONS else None

    def versions(self) -> set[str]:
        """Versions with a figure."""
        return set(self._windows)

    def figures(self, version: str) -> dict[tuple[str, str], float]:
        """Give ("hit" or "mrr", k) to the mean over the window.

        Examples
        --------
        >>> running = RunningFigure()
        >>> [running.add(Judged("m", rank)) for rank in (1, 0, 8)]
        [None, None, None]
        >>> running.figures("m")["hit", "10"], running.figures("m")["mrr", "5"]
        (0.6666666666666666, 0.3333333333333333)
        """
        window = self._windows[version]
        count = len(window.ranks)
        means = [total / count for total in window.sums]
        found = {("hit", str(k)): means[place] for place, k in enumerate(CUTOFFS)}
        return found | {
            ("mrr", str(k)): means[len(CUTOFFS) + place] / RANK_UNIT for place, k in enumerate(CUTOFFS)
        }
