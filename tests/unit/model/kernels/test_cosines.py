"""Exponentials in single precision, and products that do not depend on what else is multiplied."""

from __future__ import annotations

import numpy as np
import pytest

from model.kernels.cosines import dots, exponentials

random = np.random.default_rng(0)


def test_exponentials_are_those_of_double_precision() -> None:
    values = np.linspace(-86.0, 87.0, 100_001).astype(np.float32)
    wanted = np.exp(values.astype(np.float64))
    exponentials(values, np.float32(1), np.float32(0))
    np.testing.assert_allclose(values, wanted, rtol=3e-7)


def test_exponentials_of_too_large_numbers_stay_finite() -> None:
    values = np.array([1e30, -1e30, -np.inf], np.float32)
    exponentials(values, np.float32(1), np.float32(0))
    assert np.isfinite(values).all()
    assert values[1] == values[2] < 1e-37


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (300, 128), (999, 384)])
def test_products_equal_numpy_and_each_alone(shape: tuple[int, int]) -> None:
    table, queries = (random.normal(size=(rows, shape[1])).astype(np.float32) for rows in (shape[0], 7))
    together, alone = np.empty((7, shape[0]), np.float32), np.empty((1, shape[0]), np.float32)
    dots(queries, table, together)
    np.testing.assert_allclose(together, queries @ table.T, rtol=1e-4, atol=1e-4)
    for place in range(7):
        dots(queries[place : place + 1], table, alone)
        assert np.array_equal(alone[0], together[place])
