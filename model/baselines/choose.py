"""Choosing among settings on validation cases; the test cases are never read here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from model.evaluate import Ranker, Seen, default_seen, evaluate
from model.sequences import Cases
from model.splits import Dataset

SAMPLE = 2_000  # enough to tell settings apart by .003 of NDCG@10
RankerT = TypeVar("RankerT", bound=Ranker)


def sample(cases: Cases, count: int = SAMPLE) -> Cases:
    """Return evenly spread cases, at most ``count``."""
    return cases if len(cases) <= count else cases.select(np.linspace(0, len(cases) - 1, count).astype(np.int64))


def choose(dataset: Dataset, candidates: Sequence[Callable[[Dataset], RankerT]], seen: Seen | None = None) -> tuple[RankerT, int]:
    """Fit each candidate and return the one with the best NDCG@10 on validation, and its place; the first where there is no validation."""
    if len(dataset.valid) == 0 or len(candidates) == 1:
        return candidates[0](dataset), 0
    rule, cases = seen or default_seen(dataset), sample(dataset.valid)
    best: tuple[RankerT, int] | None = None
    highest = -1.0
    for place, candidate in enumerate(candidates):  # one at a time: only the best so far stays in memory
        ranker = candidate(dataset)
        value = evaluate(ranker, cases, lists=False).metrics(rule, samples=0)["N@10"].mean
        if value > highest:
            best, highest = (ranker, place), value
    assert best is not None
    return best
