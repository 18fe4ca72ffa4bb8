"""The best items of a row: by score, then by place; what is no score never comes up."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model.kernels.best import best_of

scores_of = st.lists(
    st.sampled_from([0.0, 0.25, 0.5, 1.0, -1.0, float("-inf"), float("nan")]), min_size=1, max_size=150
)


@given(scores_of, st.integers(1, 70))
def test_equal_to_a_sort(values: list[float], k: int) -> None:
    row, most = np.array(values, dtype=np.float32), min(k, len(values))
    scores, places = np.empty(most, np.float32), np.empty(most, np.int32)
    count = best_of(row, scores, places)
    wanted = sorted((-value, place) for place, value in enumerate(values) if value > -np.inf)[:most]
    assert [(-score, place) for score, place in zip(scores[:count], places[:count], strict=True)] == wanted
