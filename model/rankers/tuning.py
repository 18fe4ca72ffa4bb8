"""The grids by which neighbours of the family of V-SKNN and STAN are tuned, for baselines and for the parts
of the hybrid score alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from model.data.splits import Dataset
from model.evaluate.choose import SAMPLE, choose, climb
from model.rankers.session_knn import STAN, VSKNN, SessionKnn, Settings

VOTES = 8_000  # clicks of neighbours that vote in a case, on average: 5 ms of one core
TRIES = 1_500_000  # clicks of neighbours read by the choice of one value: a second or two
FEWEST = 200  # cases: settings differ by far more than the noise of so many
V_SKNN_GRID: Mapping[str, Sequence[Any]] = {"neighbours": (100, 500, 1500), "rare_items": (False, True)}
STAN_GRID: Mapping[str, Sequence[Any]] = {
    "recency": (0.6, 1.5, 4.0, 12.0),
    "distance": (2.0, 5.0, np.inf),
    "days": (7.0, np.inf, 30.0),
    "backward": (0.6, 1.0, 0.2),
    "neighbours": (500, 100, 1500),
    "rare_items": (True, False),
}


def v_sknn(dataset: Dataset) -> SessionKnn:
    """Tune V-SKNN; once for a dataset."""
    return _once(dataset, "V-SKNN", VSKNN, V_SKNN_GRID)


def stan(dataset: Dataset) -> SessionKnn:
    """Tune STAN; once for a dataset."""
    return _once(dataset, "STAN", STAN, STAN_GRID)


def neighbours(dataset: Dataset) -> SessionKnn:
    """Tune both, and return the better one on validation (the second where there is none)."""
    return choose(dataset, [stan, v_sknn])[0]


def _once(dataset: Dataset, name: str, start: Settings, grid: Mapping[str, Sequence[Any]]) -> SessionKnn:
    if name not in dataset.fitted:
        dataset.fitted[name] = _tuned(dataset, start, grid, name)
    found: SessionKnn = dataset.fitted[name]
    return found


def _tuned(dataset: Dataset, start: Settings, grid: Mapping[str, Sequence[Any]], name: str) -> SessionKnn:
    length = dataset.train.clicks / max(len(dataset.train), 1)
    most = max(20, int(VOTES / max(length, 1.0)))
    allowed = {"neighbours": tuple(dict.fromkeys(np.minimum(grid["neighbours"], most).tolist()))}
    base = SessionKnn.fit(dataset, start, name)
    other = SessionKnn.fit(dataset, replace(start, rare_items=not start.rare_items), name)

    def made(_: Dataset, **settings: Any) -> SessionKnn:
        chosen = replace(start, **settings)
        return replace(base if chosen.rare_items == start.rare_items else other, settings=chosen)

    cases = int(min(SAMPLE, max(FEWEST, TRIES / (min(most, start.neighbours) * max(length, 1.0)))))
    return climb(dataset, {**grid, **allowed}, made, cases=cases)[0]
