"""The one judge: full ranking, pessimistic ties, every case counted. Knows nothing of how scores are made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from model.data.sequences import Cases
from model.data.splits import Dataset
from model.evaluate.metrics import Metrics, measure

Seen = Literal["removed", "kept"]
SEEN: tuple[Seen, ...] = ("removed", "kept")
TOP = 20
BATCH = 512  # 512 x 12,000 float32 scores are 25 MB
FIRST_CASES = 16  # scored before it is known how wide the catalogue is: 200 MB at 3,000,000 items
# 256 MB of float32; beyond 131,000 items fewer cases than BATCH are scored at a time
SCORES_AT_ONCE = 67_108_864


class Ranker(Protocol):
    """Anything that scores the whole catalogue for a batch of cases."""

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    def scores(self, cases: Cases) -> np.ndarray:
        """Return one row a case and one column an item, float, higher is better; no item is filtered here."""
        ...


@dataclass(frozen=True)
class Ranking:
    """Ranks and lists of one ranker under one rule about seen items.

    Attributes
    ----------
    ranks : ndarray int64, shape (cases,)
        1 + other items with a score not below the target's; beyond the catalogue and every k where the target
        itself was removed.
    top : ndarray int32, shape (cases, up to 20)
        Places of the best items, best first; a target stands behind those it ties with. -1 fills a short
        catalogue.
    """

    ranks: np.ndarray
    top: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """What a ranker reached on some cases: with seen items removed, and with seen items kept; never mixed.

    Attributes
    ----------
    name : str
    removed, kept : Ranking
    seconds : float
        Scoring alone, all cases.
    """

    name: str
    cases: Cases
    removed: Ranking
    kept: Ranking
    seconds: float

    def ranking(self, seen: Seen) -> Ranking:
        """Return the ranking under one rule."""
        return self.removed if seen == "removed" else self.kept

    def metrics(self, seen: Seen, *, samples: int = 1000) -> Metrics:
        """Return R, N and MRR at 5, 10 and 20 with intervals over sessions; ``samples`` = 0 leaves the
        intervals out.
        """
        return measure(self.ranking(seen).ranks, self.cases.prefixes.session_ids, samples=samples)

    def to_dict(self, samples: int = 1000) -> dict[str, Any]:
        """Return both rules' metrics, and the scoring speed, for JSON."""
        speed = len(self.cases) / self.seconds if self.seconds else 0.0
        return {f"seen_{seen}": self.metrics(seen, samples=samples).to_dict() for seen in SEEN} | {
            "cases_per_second": speed
        }


# share of validation targets that were clicked before; above it, removing them throws real answers away
MANY_REPEATS = 0.01


def default_seen(data: Dataset | str) -> Seen:
    """Return the rule that is quoted first.

    Parameters
    ----------
    data : Dataset or str
        A dataset, or the name of a protocol.

    Returns
    -------
    str
        ``removed`` for leave-one-out (as the published figures); otherwise by the share of validation targets
        that repeat an item of their session (``kept`` where there is no validation, or only a name was
        given).
    """
    protocol = data if isinstance(data, str) else data.protocol
    if protocol == "leave-one-out":
        return "removed"
    if isinstance(data, str) or not len(data.valid):
        return "kept"
    return "kept" if float(repeats(data.valid).mean()) > MANY_REPEATS else "removed"


def repeats(cases: Cases) -> np.ndarray:
    """Return whether each target was clicked before in its session, bool, shape (cases,)."""
    rows = np.repeat(np.arange(len(cases)), cases.prefixes.lengths)
    found = np.zeros(len(cases), dtype=bool)
    found[rows[cases.prefixes.items == cases.targets[rows]]] = True
    return found


def evaluate(ranker: Ranker, cases: Cases, *, batch: int = BATCH, lists: bool = True) -> Evaluation:
    """Rank the whole catalogue for every case.

    Parameters
    ----------
    ranker : Ranker
    cases : Cases
    batch : int
        Cases scored at a time; fewer on large catalogues.
    lists : bool
        Whether top lists are made too; ranks alone are faster.

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        If a score is NaN or the ranker returns a wrong shape; names the ranker and the case.

    Examples
    --------
    >>> from model.data.sequences import Sequences, expand
    >>> class Constant:
    ...     name = "constant"
    ...
    ...     def scores(self, cases):
    ...         return np.ones((len(cases), 4))
    >>> evaluate(Constant(), expand(Sequences.of([[0, 1]]))).kept.ranks.tolist()
    [4]
    """
    found: dict[Seen, list[tuple[np.ndarray, np.ndarray]]] = {"kept": [], "removed": []}
    seconds = 0.0
    start, rows = 0, min(batch, FIRST_CASES)
    while start < len(cases):
        part = cases.select(np.arange(start, min(start + rows, len(cases))))
        begun = time.perf_counter()
        scores = ranker.scores(part)
        seconds += time.perf_counter() - begun
        checked = _checked(scores, part, ranker.name)
        for seen, ranking in _both(checked, part, lists).items():
            found[seen].append(ranking)
        start, rows = start + rows, rows_at_once(scores.shape[1], batch)
    joined = {seen: Ranking(*_joined(pairs)) for seen, pairs in found.items()}
    return Evaluation(ranker.name, cases, joined["removed"], joined["kept"], seconds)


def rows_at_once(items: int, most: int = BATCH) -> int:
    """Return how many cases are scored at a time, at most ``most``, so that their scores of a whole catalogue
    fit into memory.

    Examples
    --------
    >>> rows_at_once(12_000), rows_at_once(3_000_000)
    (512, 22)
    """
    return max(1, min(most, SCORES_AT_ONCE // max(1, items)))


def _joined(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    if not pairs:
        return np.zeros(0, dtype=np.int64), np.zeros((0, 0), dtype=np.int32)
    return np.concatenate([ranks for ranks, _ in pairs]), np.concatenate([top for _, top in pairs])


def _checked(scores: np.ndarray, cases: Cases, name: str) -> np.ndarray:
    if scores.ndim != 2 or len(scores) != len(cases):
        raise ValueError(
            f"ranker '{name}' gave scores of shape {scores.shape} for {len(cases)} cases; one row a case is "
            "needed"
        )
    if np.isnan(scores).any():
        row = int(np.flatnonzero(np.isnan(scores).any(axis=1))[0])
        raise ValueError(
            f"ranker '{name}' gave NaN for case '{cases.ids[row]}'; look for NaN in the item vectors or a "
            "diverged training"
        )
    return np.array(scores, dtype=np.float32)  # a copy: it is overwritten below


def _both(scores: np.ndarray, cases: Cases, lists: bool) -> dict[Seen, tuple[np.ndarray, np.ndarray]]:
    rows, seen = seen_pairs(cases)
    own = scores[np.arange(len(cases)), cases.targets]
    kept = (scores >= own[:, None]).sum(axis=1)
    above = np.bincount(rows[scores[rows, seen] >= own[rows]], minlength=len(cases))
    gone = np.zeros(len(cases), dtype=bool)
    gone[rows[seen == cases.targets[rows]]] = True
    # beyond every list, however small the catalogue
    removed = np.where(gone, scores.shape[1] + TOP, kept - above)
    kept_top = _top(scores, cases.targets, kept, lists)
    scores[rows, seen] = -np.inf
    return {"kept": (kept, kept_top), "removed": (removed, _top(scores, cases.targets, removed, lists))}


def seen_pairs(cases: Cases) -> tuple[np.ndarray, np.ndarray]:
    """Return (row, item) of every distinct item in the prefixes."""
    width = int(cases.prefixes.items.max(initial=0)) + 1
    rows = np.repeat(np.arange(len(cases)), cases.prefixes.lengths)
    pairs = np.unique(rows * width + cases.prefixes.items)
    return pairs // width, pairs % width


def _top(scores: np.ndarray, targets: np.ndarray, ranks: np.ndarray, lists: bool) -> np.ndarray:
    """Best items without the target, then the target put at its rank: so lists and ranks agree on every
    tie.
    """
    count = min(TOP, scores.shape[1])
    if not lists:
        return np.zeros((len(scores), 0), dtype=np.int32)
    rows = np.arange(len(scores))
    own = scores[rows, targets].copy()
    scores[rows, targets] = -np.inf
    best = best_items(scores, count)
    scores[rows, targets] = own
    for row in np.flatnonzero(ranks <= count):
        place = int(ranks[row]) - 1
        best[row, place + 1 :] = best[row, place:-1].copy()
        best[row, place] = targets[row]
    return best


def best_items(scores: np.ndarray, count: int) -> np.ndarray:
    """Return the places of the ``count`` best scores of every row, best first, ties by place; -1 where the
    score is -inf.

    Examples
    --------
    >>> best_items(np.array([[0.1, 0.9, -np.inf]]), 3).tolist()
    [[1, 0, -1]]
    """
    count = min(count, scores.shape[1])
    if count == 0:
        return np.zeros((len(scores), 0), dtype=np.int32)
    chosen = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    chosen.sort(axis=1)
    values = np.take_along_axis(scores, chosen, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    best = np.take_along_axis(chosen, order, axis=1).astype(np.int32)
    best[np.isneginf(np.take_along_axis(values, order, axis=1))] = -1
    return best


def speed(ranker: Ranker, cases: Cases, *, singles: int = 200) -> dict[str, float]:
    """Measure scoring: cases a second in batches, and milliseconds for one session alone.

    Returns
    -------
    dict
        ``cases_per_second``, ``p50_ms``, ``p99_ms``; on the threads that numpy and torch use now.
    """
    width = ranker.scores(cases.select(np.array([0]))).shape[1]
    many = cases.select(np.arange(min(len(cases), rows_at_once(width))))
    begun = time.perf_counter()
    ranker.scores(many)
    throughput = len(many) / (time.perf_counter() - begun)
    times = []
    for place in range(min(singles, len(cases))):
        one = cases.select(np.array([place]))
        begun = time.perf_counter()
        ranker.scores(one)
        times.append(1000 * (time.perf_counter() - begun))
    return {
        "cases_per_second": throughput,
        "p50_ms": float(np.percentile(times, 50)),
        "p99_ms": float(np.percentile(times, 99)),
    }
