"""Ranks to R, N and MRR with bootstrap intervals, paired differences and slices. Knows nothing of scores or
items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isnan, nan
from typing import Any

import numpy as np

CUTOFFS = (5, 10, 20)
NAMES = tuple(f"{metric}@{k}" for metric in ("R", "N", "MRR") for k in CUTOFFS)
NOT_MEASURED = "not measured"
LEVEL = 0.95
# in which bootstrap samples are added up: the weights of all at once as numbers of 8 bytes would take 180 MB
BLOCKS = 20


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % bootstrap interval; low = high = mean where none was asked for, all NaN where there
    was no case.
    """

    mean: float
    low: float
    high: float

    @property
    def proven(self) -> bool:
        """Whether zero lies outside (for differences)."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return NOT_MEASURED if isnan(self.mean) else f"{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]"

    def to_dict(self) -> dict[str, float | None]:
        """Return plain numbers for JSON; null where there was no case."""
        return (
            {"mean": None, "low": None, "high": None}
            if isnan(self.mean)
            else {"mean": self.mean, "low": self.low, "high": self.high}
        )


@dataclass(frozen=True)
class Metrics:
    """R, N and MRR at 5, 10 and 20 over all cases; a miss counts 0.

    Examples
    --------
    >>> measure(np.array([1, 30]), ["a", "b"], samples=0)["R@10"].mean
    0.5
    """

    values: dict[str, Interval]
    cases: int
    sessions: int

    def __getitem__(self, name: str) -> Interval:
        return self.values[name]

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        table = {name: value.to_dict() for name, value in self.values.items()}
        return {"cases": self.cases, "sessions": self.sessions, "metrics": table}


def gains(ranks: np.ndarray) -> np.ndarray:
    """Return what each case adds to each metric.

    Parameters
    ----------
    ranks : ndarray int, shape (cases,)
        From 1.

    Returns
    -------
    ndarray float64, shape (cases, 9)
        Columns as ``NAMES``. With one target R = hit rate, N = 1 / log2(rank + 1), MRR = 1 / rank, all 0
        beyond k.
    """
    hit = ranks[:, None] <= np.array(CUTOFFS)
    ndcg, reciprocal = 1.0 / np.log2(ranks + 1.0), 1.0 / ranks
    return np.concatenate([hit.astype(np.float64), hit * ndcg[:, None], hit * reciprocal[:, None]], axis=1)


def measure(ranks: np.ndarray, session_ids: Sequence[str], *, samples: int = 1000, seed: int = 0) -> Metrics:
    """Average the gains, with percentile intervals of a bootstrap over sessions (cases of one session are not
    independent).

    Parameters
    ----------
    ranks : ndarray int, shape (cases,)
    session_ids : sequence of str
        One a case.
    samples : int
        Bootstrap samples; 0 = no intervals.
    seed : int

    Returns
    -------
    Metrics
        All NaN, null in JSON, when there is no case.
    """
    return _mean(gains(ranks), session_ids, samples, seed)


def difference(
    ranks: np.ndarray, other: np.ndarray, session_ids: Sequence[str], *, samples: int = 1000, seed: int = 0
) -> Metrics:
    """Average the paired differences (first minus other) on the same cases, with intervals over sessions."""
    if len(ranks) != len(other):
        raise ValueError(
            f"paired difference of {len(ranks)} and {len(other)} cases; both must be ranked on the same cases"
        )
    return _mean(gains(ranks) - gains(other), session_ids, samples, seed)


def _mean(values: np.ndarray, session_ids: Sequence[str], samples: int, seed: int) -> Metrics:
    if len(values) == 0:
        return Metrics({name: Interval(nan, nan, nan) for name in NAMES}, 0, 0)
    _, groups = np.unique(np.asarray(session_ids, dtype=object).astype(str), return_inverse=True)
    sessions = int(groups.max()) + 1
    counts = np.bincount(groups, minlength=sessions).astype(np.float64)
    sums = np.stack([np.bincount(groups, weights=column, minlength=sessions) for column in values.T], axis=1)
    means = values.mean(axis=0)
    low = high = means
    if samples:
        totals = np.column_stack([sums, counts])
        drawn = np.concatenate(
            [
                block.astype(np.float64) @ totals
                for block in np.array_split(_weights(sessions, samples, seed), BLOCKS)
            ]
        )
        resampled = drawn[:, :-1] / drawn[:, -1:]
        low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    rows = zip(NAMES, means.tolist(), low.tolist(), high.tolist(), strict=True)
    return Metrics(
        {name: Interval(mean, bottom, top) for name, mean, bottom, top in rows}, len(values), sessions
    )


@lru_cache(maxsize=2)
def _weights(sessions: int, samples: int, seed: int) -> np.ndarray:
    """How often each session is drawn in each bootstrap sample; the same for all rankers, so that differences
    are paired.
    """
    rng = np.random.default_rng(seed)
    found = np.empty((samples, sessions), dtype=np.uint16)  # 45 MB for 1,000 samples of 22,000 sessions
    for row in found:
        row[:] = np.bincount(rng.integers(0, sessions, sessions), minlength=sessions)
    return found


def bands(values: np.ndarray, edges: Sequence[int], labels: Sequence[str]) -> dict[str, np.ndarray]:
    """Return a mask a band: values up to ``edges[i]`` belong to ``labels[i]``, the rest to the last label.

    Examples
    --------
    >>> {
    ...     name: mask.sum().item()
    ...     for name, mask in bands(np.array([0, 3, 99]), [0, 4], ["none", "few", "many"]).items()
    ... }
    {'none': 1, 'few': 1, 'many': 1}
    """
    band = np.searchsorted(np.asarray(edges), values, side="left")
    return {label: band == number for number, label in enumerate(labels)}
