"""Choosing mixing weights on validation: candidates are pooled once, then weights are searched on the pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from model.evaluate import FIRST_CASES, Seen, rows_at_once, seen_pairs
from model.sequences import Cases

CANDIDATES = 60  # best items of each source kept a case; an item outside all of them is in no mixed top 20
FIRST_STEP, LAST_STEP = 1.0, 0.1  # weights are multiplied by e^step or e^-step
SMALLEST = 0.01  # a weight at 0 is tried from here
LEAST_GAIN = 1e-3  # of the objective, whose parts add up to about 0.3 on hard data: below it a part costs time and proves nothing
# Neighbours vote session by session, a large share of a request's time where they take part: they must pay for it.
DEAR_GAIN = {"neighbours": 3e-3}
BATCH = 128  # rows of all sources at once: 6 MB each at 12,000 items


@dataclass(frozen=True)
class Pool:
    """Probabilities of candidate items, for the cases whose target is among the best of any source; all other cases are misses of every mix.

    Attributes
    ----------
    names : tuple of str
        Sources.
    values : ndarray float32, shape (sources, found cases, candidates)
        Column 0 is the target; -1 marks what must not be ranked (seen items, doubles).
    cases : int
        All cases, the misses included.
    """

    names: tuple[str, ...]
    values: np.ndarray
    cases: int

    def worth(self, weights: np.ndarray) -> float:
        """Return NDCG@10 + NDCG@20 + half of recall@10 and recall@20 of the mix; misses 0, ties against the target.

        NDCG@10 alone is flat around its optimum, so that chance picks the weights; the longer lists and the hits themselves tell mixes apart that
        it cannot: on Beauty's validation, chosen on one half and read on the other, recall@10 rose by .003 and NDCG@10 stayed.
        """
        mixed = np.tensordot(weights.astype(np.float32), self.values, axes=1)
        ranks = (mixed >= mixed[:, :1]).sum(axis=1)
        hits = ranks[(ranks <= 20) & (mixed[:, 0] > 0)]
        gains = 1.0 / np.log2(hits + 1.0) + 0.5
        return float(gains.sum() + gains[hits <= 10].sum()) / max(self.cases, 1)


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
    parts, start, rows = [], 0, FIRST_CASES
    while start < len(cases):
        part = cases.select(np.arange(start, min(start + rows, len(cases))))
        found = [source(part) for source in sources.values()]
        parts.append(_pool_batch(found, part, seen))
        start, rows = start + rows, rows_at_once(len(sources) * found[0].shape[1], BATCH)
    width = max(part.shape[2] for part in parts)
    values = np.concatenate([np.pad(part, ((0, 0), (0, 0), (0, width - part.shape[2])), constant_values=-1.0) for part in parts], axis=1)
    return Pool(tuple(sources), values, len(cases))


def _pool_batch(found: list[np.ndarray], cases: Cases, seen: Seen) -> np.ndarray:
    matrices = [np.array(matrix, dtype=np.float32) for matrix in found]
    out = np.zeros(len(cases), dtype=bool)
    if seen == "removed":
        rows, items = seen_pairs(cases)
        for matrix in matrices:
            matrix[rows, items] = -1.0
        out[rows[items == cases.targets[rows]]] = True
    count = min(CANDIDATES, matrices[0].shape[1])
    chosen = np.concatenate([torch.topk(torch.from_numpy(matrix), count, dim=1, sorted=False).indices.numpy() for matrix in matrices], axis=1)
    kept = np.flatnonzero((chosen == cases.targets[:, None]).any(axis=1) & ~out)
    chosen, targets = np.sort(chosen[kept], axis=1), cases.targets[kept, None].astype(np.int64)
    double = np.concatenate([np.zeros((len(kept), 1), dtype=bool), chosen[:, 1:] == chosen[:, :-1]], axis=1) | (chosen == targets)
    # Doubles go to the end, so that the pool is as wide as the case with most different items.
    order = np.argsort(double, axis=1, kind="stable")
    width = int((~double).sum(axis=1).max(initial=0))
    chosen, double = (np.take_along_axis(part, order, axis=1)[:, :width] for part in (chosen, double))
    columns = np.concatenate([targets, chosen], axis=1)
    values = np.stack([matrix[kept[:, None], columns] for matrix in matrices])
    values[:, :, 1:][:, double] = -1.0
    return values


def search(candidates: Pool) -> dict[str, float]:
    """Find the weights with the highest worth: from two starts, one weight at a time, and then without the parts that are not worth their time.

    Returns
    -------
    dict
        Source name to weight; the weights sum to 1. The first source alone, unless a mix is better by ``LEAST_GAIN``.
    """
    count = len(candidates.names)
    alone = np.eye(count)[0]
    starts = [np.full(count, 1.0 / count), 0.5 * alone + 0.5 / count]
    weights = max((_climbed(candidates, start) for start in starts), key=candidates.worth)
    while (fewer := _without_least(candidates, weights)) is not None:
        weights = _climbed(candidates, fewer)
    if candidates.worth(weights) < candidates.worth(alone) + LEAST_GAIN:
        weights = alone
    return {name: round(float(weight), 4) for name, weight in zip(candidates.names, weights, strict=True)}


def _climbed(candidates: Pool, weights: np.ndarray) -> np.ndarray:
    """Multiply one weight after the other while the worth rises, in ever smaller steps; weights of 0 stay 0."""
    best, step = candidates.worth(weights), FIRST_STEP
    while step > LAST_STEP:
        moved = False
        for place in np.flatnonzero(weights):
            for factor in (np.exp(step), np.exp(-step)):
                trial = weights.copy()
                trial[place] = max(trial[place], SMALLEST) * factor
                trial /= trial.sum()
                value = candidates.worth(trial)
                if value > best:
                    best, weights, moved = value, trial, True
        step = step if moved else step / 2
    return weights


def _without_least(candidates: Pool, weights: np.ndarray) -> np.ndarray | None:
    """Drop the part that is worth its time least, if it is not worth it; None where all are. The first source stays."""
    best, least = candidates.worth(weights), 0.0
    found = None
    for place in np.flatnonzero(weights[1:]) + 1:
        rest = weights.copy()
        rest[place] = 0.0
        if rest.sum() > 0:
            rest /= rest.sum()
            surplus = candidates.worth(rest) - best + DEAR_GAIN.get(candidates.names[place], LEAST_GAIN)
            if surplus > least:
                least, found = surplus, rest
    return found
