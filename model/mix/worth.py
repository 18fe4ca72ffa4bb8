"""What a half-trained network adds to the mix, epoch by epoch, so that epochs which cannot change the mix are
not run. Trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from model.data.sequences import Cases
from model.data.splits import Dataset
from model.evaluate.choose import sample
from model.evaluate.judge import Seen, seen_pairs
from model.mix.hybrid import Hybrid, HybridConfig
from model.mix.pool import gains
from model.mix.weights import LEAST_GAIN

CASES = 1_000  # tell .001 of the worth of one and the same mix apart
NUMBERS = 16_000_000  # of the blend's table: 64 MB; fewer cases on large catalogues
SHARES = (0.0, 0.15, 0.4, 0.7)  # of the network
RISING = 1.1  # a network that got so much better by itself is not done yet, whatever the mix says


class MixWorth:
    """The blend of all parts without the network, and what it is worth with a network beside it.

    Parameters
    ----------
    dataset : Dataset
        With validation cases; its parts are fitted here once and used again by the final mix.
    config : HybridConfig
    seen : str
    """

    def __init__(self, dataset: Dataset, config: HybridConfig, seen: Seen) -> None:
        most = max(50, NUMBERS // max(len(dataset.catalogue), 1))
        self.cases = sample(dataset.valid, min(CASES, most))
        self.blend = Hybrid.fit(dataset, None, config, seen=seen).scores(self.cases, None)
        self.seen = seen_pairs(self.cases) if seen == "removed" else None

    def of(self, probabilities: Callable[[Cases], np.ndarray]) -> float:
        """Return the worth of the best of a few mixes of the network with the blend."""
        network = probabilities(self.cases)
        return max(self._worth(share * network + (1.0 - share) * self.blend) for share in SHARES)

    def _worth(self, mixed: np.ndarray) -> float:
        if self.seen is not None:
            mixed[self.seen] = -1.0
        own = mixed[np.arange(len(mixed)), self.cases.targets]
        # `gains` counts the target itself in column 0, and once more in its own place: there it is taken out.
        mixed[np.arange(len(mixed)), self.cases.targets] = -1.0
        return float(gains(np.concatenate([own[:, None], mixed], axis=1)).mean())


def settled(history: Sequence[dict[str, float]], patience: int) -> bool:
    """Whether the last epochs changed neither the mix nor, by much, the network.

    Examples
    --------
    >>> flat = [{"mix": 0.3, "ndcg10": 0.1}] * 4
    >>> settled(flat, 3), settled(flat[:3], 3)
    (True, False)
    >>> settled([{"mix": 0.3, "ndcg10": 0.01 * epoch} for epoch in range(1, 5)], 3)
    False
    """
    if len(history) <= patience or "mix" not in history[-1]:
        return False
    before, late = history[:-patience], history[-patience:]
    return _highest(late, "mix") < _highest(before, "mix") + LEAST_GAIN and _highest(
        late, "ndcg10"
    ) < RISING * _highest(before, "ndcg10")


def _highest(epochs: Sequence[dict[str, float]], name: str) -> float:
    return max(epoch[name] for epoch in epochs)
