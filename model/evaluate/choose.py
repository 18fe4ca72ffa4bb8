"""Choosing among settings on validation cases; the test cases are never read here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from model.data.sequences import Cases
from model.data.splits import Dataset
from model.evaluate.judge import Ranker, Seen, default_seen, evaluate

SAMPLE = 2_000  # enough to tell settings apart by .003 of NDCG@10
RankerT = TypeVar("RankerT", bound=Ranker)


def sample(cases: Cases, count: int = SAMPLE) -> Cases:
    """Return evenly spread cases, at most ``count``."""
    return (
        cases if len(cases) <= count else cases.select(np.linspace(0, len(cases) - 1, count).astype(np.int64))
    )


def choose(
    dataset: Dataset, candidates: Sequence[Callable[[Dataset], RankerT]], seen: Seen | None = None
) -> tuple[RankerT, int]:
    """Fit each candidate and return the one with the best NDCG@10 on validation, and its place; the first
    where there is no validation.
    """
    if len(dataset.valid) == 0 or len(candidates) == 1:
        return candidates[0](dataset), 0
    rule, cases = seen or default_seen(dataset), sample(dataset.valid)
    best: tuple[RankerT, int] | None = None
    highest = -1.0
    for place, candidate in enumerate(candidates):  # one at a time: only the best so far stays in memory
        ranker = candidate(dataset)
        value = worth(ranker, cases, rule)
        if value > highest:
            best, highest = (ranker, place), value
    assert best is not None
    return best


def climb(
    dataset: Dataset,
    grid: Mapping[str, Sequence[Any]],
    fit: Callable[..., RankerT],
    *,
    cases: int = SAMPLE,
    seen: Seen | None = None,
) -> tuple[RankerT, dict[str, Any]]:
    """Choose settings one after the other: each keeps the value with the best NDCG@10 on validation, given
    those before it.

    Parameters
    ----------
    dataset : Dataset
    grid : mapping
        Setting to values; the first of each is the start, and stays where nothing is better or there is no
        validation.
    fit : callable
        The dataset and one value of every setting, by name, to a ranker.
    cases : int
        Validation cases that are read, evenly spread.
    seen : str, optional

    Returns
    -------
    ranker, settings
        The best, and how it was made.
    """
    settings = {name: values[0] for name, values in grid.items()}
    best = fit(dataset, **settings)
    if not len(dataset.valid):
        return best, settings
    rule, read = seen or default_seen(dataset), sample(dataset.valid, cases)
    highest = worth(best, read, rule)
    for name, values in grid.items():
        for value in values[1:]:
            tried = settings | {name: value}
            ranker = fit(dataset, **tried)
            found = worth(ranker, read, rule)
            if found > highest:
                best, settings, highest = ranker, tried, found
    return best, settings


def worth(ranker: Ranker, cases: Cases, seen: Seen) -> float:
    """Return the NDCG@10 of a ranker on some cases."""
    return evaluate(ranker, cases, lists=False).metrics(seen, samples=0)["N@10"].mean
