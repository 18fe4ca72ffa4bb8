"""Choosing mixing weights on validation: candidates are pooled once, then weights are searched on the pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from model.evaluate import Seen, seen_pairs
from model.sequences import Cases

CANDIDATES = 100  # best items of each source kept a case; an item outside all of them is in no mixed top 10
STEPS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7)
LEAST_GAIN = 2e-4  # of NDCG@10: below it a part costs time and proves nothing
# Neighbours vote session by session, most of the time of a request where they take part: they must pay for it.
DEAR_GAIN = {"neighbours": 2e-3}
ROUNDS = 4
BATCH = 512


@dataclass(frozen=True)
class Pool:
    """Probabilities of candidate items.

    Attributes
    ----------
    names : tuple of str
        Sources.
    values : ndarray float32, shape (sources, cases, candidates)
        Column 0 is the target; -1 marks what must not be ranked (seen items, doubles).
    out : ndarray bool, shape (cases,)
        Cases whose target was itself removed.
    """

    names: tuple[str, ...]
    values: np.ndarray
    out: np.ndarray

    def ndcg(self, weights: np.ndarray) -> float:
        """Return NDCG@10 of the mix, misses 0, ties against the target."""
        mixed = np.tensordot(weights.astype(np.float32), self.values, axes=1)
        ranks = (mixed >= mixed[:, :1]).sum(axis=1)
        gains = np.where((ranks <= 10) & (mixed[:, 0] > 0) & ~self.out, 1.0 / np.log2(ranks + 1.0), 0.0)
        return float(gains.mean())


def pool(sources: Mapping[str, Callable[[Cases], np.ndarray]], cases: Cases, seen: Seen) -> Pool:
    """Gather every source's best items of every case.

    Parameters
    ----------
    sources : mapping
        Name to a function of cases that gives probabilities, shape (cases, items).
    cases : Cases
    seen : str
        ``removed`` or ``kept``.

    Returns
    -------
    Pool
    """
    parts, outs = [], []
    for start in range(0, len(cases), BATCH):
        part = cases.select(np.arange(start, min(start + BATCH, len(cases))))
        values, out = _pool_batch([source(part) for source in sources.values()], part, seen)
        parts.append(values)
        outs.append(out)
    return Pool(tuple(sources), np.concatenate(parts, axis=1), np.concatenate(outs))


def _pool_batch(found: list[np.ndarray], cases: Cases, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
    out = np.zeros(len(cases), dtype=bool)
    matrices = [np.array(matrix, dtype=np.float32) for matrix in found]
    if seen == "removed":
        rows, items = seen_pairs(cases)
        for matrix in matrices:
            matrix[rows, items] = -1.0
        out[rows[items == cases.targets[rows]]] = True
    count = min(CANDIDATES, matrices[0].shape[1])
    best = [np.argpartition(-matrix, count - 1, axis=1)[:, :count] for matrix in matrices]
    chosen = np.concatenate(best, axis=1)
    chosen.sort(axis=1)
    double = np.concatenate([np.zeros((len(cases), 1), dtype=bool), chosen[:, 1:] == chosen[:, :-1]], axis=1)
    double |= chosen == cases.targets[:, None]
    columns = np.concatenate([cases.targets[:, None].astype(np.int64), chosen], axis=1)
    values = np.stack([np.take_along_axis(matrix, columns, axis=1) for matrix in matrices])
    values[:, :, 1:][:, double] = -1.0
    return values, out


def search(candidates: Pool) -> dict[str, float]:
    """Raise one weight at a time while NDCG@10 gains; starts with everything on the first source.

    Returns
    -------
    dict
        Source name to weight; the weights sum to 1.
    """
    count = len(candidates.names)
    weights = np.zeros(count)
    weights[0] = 1.0
    best = candidates.ndcg(weights)
    for _ in range(ROUNDS):
        before = best
        for place in range(count):
            best, weights = _best_step(candidates, place, best, weights)
        if best <= before + LEAST_GAIN:
            break
    weights = _pruned(candidates, weights, best)
    return {name: round(float(weight), 4) for name, weight in zip(candidates.names, weights, strict=True)}


def _best_step(candidates: Pool, place: int, best: float, weights: np.ndarray) -> tuple[float, np.ndarray]:
    for step in STEPS:
        trial = _with(weights, place, step)
        value = candidates.ndcg(trial) if trial is not None else -1.0
        if trial is not None and value > best + LEAST_GAIN:
            best, weights = value, trial
    return best, weights


def _with(weights: np.ndarray, place: int, step: float) -> np.ndarray | None:
    """Return the weights with one set to ``step`` and the rest scaled; None where there is no rest."""
    rest = weights.copy()
    rest[place] = 0.0
    if rest.sum() <= 0:
        return None
    trial = np.asarray((1.0 - step) * rest / rest.sum())
    trial[place] = step
    return trial


def _pruned(candidates: Pool, weights: np.ndarray, best: float) -> np.ndarray:
    """Drop parts, the least useful first, whose loss does not reach what their time is worth."""
    for place in np.argsort(weights):
        name = candidates.names[place]
        trial = _with(weights, int(place), 0.0) if weights[place] > 0 and name != candidates.names[0] else None
        if trial is not None:
            value = candidates.ndcg(trial)
            if value > best - DEAR_GAIN.get(name, LEAST_GAIN):
                best, weights = max(value, 0.0), trial
    return weights
