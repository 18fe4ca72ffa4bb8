"""Probabilities of candidate items of every source for validation cases, on which mixing weights are
searched. Chooses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from model.data.sequences import Cases
from model.evaluate.judge import FIRST_CASES, Seen, rows_at_once, seen_pairs
from model.kernels.best import best_rows

# best items of each source kept a case; an item outside all of them is hardly in a mixed top 20
CANDIDATES = 40
BATCH = 128  # rows of all sources at once: 6 MB each at 12,000 items


@dataclass(frozen=True)
class Pool:
    """Probabilities of candidate items, for the cases whose target is among the best of any source; all other
    cases are misses of every mix.

    Attributes
    ----------
    names : tuple of str
        Sources.
    values : ndarray float32, shape (sources, found cases, candidates)
        Column 0 is the target; -1 marks what must not be ranked (seen items, doubles).
    cases : int
        All cases, the misses included.
    sessions : ndarray int64, shape (found cases,)
        Number of the session that a case is of.
    doubt : ndarray float32, shape (found cases, candidates)
        1 for items without a click, halved with each click; 0 for items that are known well. See
        `model.mix.cold_mix`.
    text : ndarray bool, shape (sources,)
        Whether a source knows items by their text.
    """

    names: tuple[str, ...]
    values: np.ndarray
    cases: int
    sessions: np.ndarray
    doubt: np.ndarray
    text: np.ndarray

    def mixed(self, weights: np.ndarray, trust: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
        """Return the mix of all candidates, float32, shape (found cases, candidates)."""
        if trust == (0.0, 0.0):
            return np.asarray(np.tensordot(weights.astype(np.float32), self.values, axes=1))
        found = np.zeros(self.values.shape[1:], dtype=np.float32)
        for log, chosen in zip(trust, (self.text, ~self.text), strict=True):
            part = np.tensordot(np.where(chosen, weights, 0.0).astype(np.float32), self.values, axes=1)
            found += part * np.exp(np.float32(log) * self.doubt)
        found[self.values[0] < 0] = -1.0
        return found

    def gains(self, weights: np.ndarray, trust: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
        """Return what each found case adds to the worth, float64, shape (found cases,)."""
        return gains(self.mixed(weights, trust))

    def worth(self, weights: np.ndarray) -> float:
        """Return NDCG@10 + NDCG@20 + half of recall@10 and recall@20 of the mix; misses 0, ties against the
        target.

        NDCG@10 alone is flat around its optimum, so that chance picks the weights; the longer lists and the
        hits themselves tell mixes apart that it cannot: on Beauty's validation, chosen on one half and read
        on the other, recall@10 rose by .003 and NDCG@10 stayed.
        """
        return self.worth_of(self.mixed(weights))

    def worth_of(self, mixed: np.ndarray) -> float:
        """Return the same of a mix that was made already, weights of any sum."""
        return float(gains(mixed).sum()) / max(self.cases, 1)

    def with_trust(self, trust: tuple[float, float]) -> Pool:
        """Return the pool with the sources' probabilities of little known items multiplied as `mixed`
        does.
        """
        factors = [np.exp(np.float32(log) * self.doubt) for log in trust]
        values = np.stack(
            [row * factors[0 if text else 1] for row, text in zip(self.values, self.text, strict=True)]
        )
        values[self.values < 0] = -1.0
        return replace(self, values=values)

    def only(self, chosen: np.ndarray, cases: int) -> Pool:
        """Return the pool of some found cases, by mask, of ``cases`` in all."""
        return replace(
            self,
            values=self.values[:, chosen],
            sessions=self.sessions[chosen],
            doubt=self.doubt[chosen],
            cases=cases,
        )

    def without(self, name: str) -> Pool:
        """Return the pool of the same cases and candidates without one source."""
        kept = np.array([other != name for other in self.names])
        return replace(
            self,
            names=tuple(other for other in self.names if other != name),
            values=self.values[kept],
            text=self.text[kept],
        )

    def folds(self, count: int) -> Iterator[tuple[Pool, Pool, np.ndarray]]:
        """Give each fold's rest, the fold, and the fold's places among the found cases; cases of one session
        stay together.
        """
        random = np.random.default_rng(0)
        place = random.permutation(int(self.sessions.max(initial=0)) + 1)[self.sessions] % count
        for fold in range(count):
            held = place == fold
            yield (
                self.only(~held, int((~held).sum())),
                self.only(held, int(held.sum())),
                np.flatnonzero(held),
            )


def gains(mixed: np.ndarray) -> np.ndarray:
    """Return what each case adds to `Pool.worth`; column 0 is the target."""
    own = mixed[:, :1]
    ranks = (mixed >= own).sum(axis=1)
    found = np.where((ranks <= 20) & (own[:, 0] > 0), 1.0 / np.log2(ranks + 1.0) + 0.5, 0.0)
    return np.asarray(found * np.where(ranks <= 10, 2.0, 1.0))


def doubts(counts: np.ndarray) -> np.ndarray:
    """Return how little is known of items by their clicks: 1 without any, halved with each, 0 from five on;
    float32, as ``counts``.

    Examples
    --------
    >>> doubts(np.array([0, 1, 2, 9])).tolist()
    [1.0, 0.5, 0.25, 0.0]
    """
    return np.where(counts < 5, np.exp2(-counts.astype(np.float64)), 0.0).astype(np.float32)


def pool(
    sources: Mapping[str, Callable[[Cases], np.ndarray]],
    cases: Cases,
    seen: Seen,
    doubt: np.ndarray | None = None,
    text: tuple[str, ...] = (),
) -> Pool:
    """Gather every source's best items of every case.

    Parameters
    ----------
    sources : mapping
        Name to a function of cases that gives probabilities, shape (cases, items).
    cases : Cases
    seen : str
        ``removed`` or ``kept``.
    doubt : ndarray float32, shape (items,), optional
        Of `doubts`; none = all items are known.
    text : tuple of str
        Sources that know items by their text.

    Returns
    -------
    Pool
    """
    parts, chosen, places, start, rows = [], [], [], 0, FIRST_CASES
    while start < len(cases):
        part = cases.select(np.arange(start, min(start + rows, len(cases))))
        found = [source(part) for source in sources.values()]
        values, columns, kept = _pool_batch(found, part, seen)
        parts.append(values)
        chosen.append(columns)
        places.append(start + kept)
        start, rows = start + rows, rows_at_once(len(sources) * found[0].shape[1], BATCH)
    width = max(part.shape[2] for part in parts)
    values = np.concatenate(
        [np.pad(part, ((0, 0), (0, 0), (0, width - part.shape[2])), constant_values=-1.0) for part in parts],
        axis=1,
    )
    items = np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in chosen])
    _, sessions = np.unique(np.array(cases.prefixes.session_ids, dtype=str), return_inverse=True)
    known = np.zeros(items.shape, dtype=np.float32) if doubt is None else doubt[items]
    names = tuple(sources)
    return Pool(names, values, len(cases), sessions[np.concatenate(places)], known, np.isin(names, text))


def _pool_batch(
    found: list[np.ndarray], cases: Cases, seen: Seen
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the values, the items (column 0 = the target) and the places of the cases whose target some
    source finds.
    """
    matrices = [np.array(matrix, dtype=np.float32) for matrix in found]
    out = np.zeros(len(cases), dtype=bool)
    if seen == "removed":
        rows, items = seen_pairs(cases)
        for matrix in matrices:
            matrix[rows, items] = -1.0
        out[rows[items == cases.targets[rows]]] = True
    count = min(CANDIDATES, matrices[0].shape[1])
    best = [best_rows(matrix, count) for matrix in matrices]
    chosen = np.concatenate(best, axis=1)
    kept = np.flatnonzero((chosen == cases.targets[:, None]).any(axis=1) & ~out)
    chosen, targets = np.sort(chosen[kept], axis=1), cases.targets[kept, None].astype(np.int64)
    double = np.concatenate(
        [np.zeros((len(kept), 1), dtype=bool), chosen[:, 1:] == chosen[:, :-1]], axis=1
    ) | (chosen == targets)
    # Doubles go to the end, so that the pool is as wide as the case with most different items.
    order = np.argsort(double, axis=1, kind="stable")
    width = int((~double).sum(axis=1).max(initial=0))
    chosen, double = (np.take_along_axis(part, order, axis=1)[:, :width] for part in (chosen, double))
    columns = np.concatenate([targets, chosen], axis=1)
    values = np.stack([matrix[kept[:, None], columns] for matrix in matrices])
    values[:, :, 1:][:, double] = -1.0
    return values, columns, kept
