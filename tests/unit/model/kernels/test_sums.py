"""Decayed sums of rows are those of numpy, for any number of clicks and beside unknown ones."""

from __future__ import annotations

import numpy as np
import pytest

from model.kernels.sums import decayed_rows


@pytest.mark.parametrize("width", [1, 7, 64])
def test_equal_to_numpy_and_each_alone(width: int) -> None:
    random = np.random.default_rng(width)
    table = random.normal(size=(9, width)).astype(np.float32)
    lengths = np.arange(12)  # none, fewer than four, four and more
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    items = random.integers(-1, len(table), offsets[-1]).astype(np.int32)
    found = np.empty((len(lengths), width), np.float32)
    decayed_rows(items, offsets, 0.7, table, found)
    for session, length in enumerate(lengths):
        clicks = items[offsets[session] : offsets[session + 1]]
        weights = 0.7 ** np.arange(length - 1, -1, -1) * (clicks >= 0)
        np.testing.assert_allclose(found[session], weights @ table[clicks].astype(np.float64), atol=1e-5)
        alone = np.empty((1, width), np.float32)
        decayed_rows(clicks, np.array([0, length]), 0.7, table, alone)
        assert alone.tobytes() == found[session].tobytes()
