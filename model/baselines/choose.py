"""Choosing among settings on validation cases; the test cases are never read here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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


def choose(dataset: Dataset, candidates: Iterable[Callable[[Dataset], RankerT]], seen: Seen | None = None) -> RankerT:
    """Fit each candidate and return the one with the best NDCG@10 on validation; the first where there is no validation."""
    fitted = [candidate(dataset) for candidate in candidates]
    if len(dataset.valid) == 0 or len(fitted) == 1:
        return fitted[0]
    rule, cases = seen or default_seen(dataset.protocol), sample(dataset.valid)
    values = [evaluate(ranker, cases, lists=False).metrics(rule, samples=0)["N@10"].mean for ranker in fitted]
    return fitted[int(np.argmax(values))]
