"""Averages, intervals and paired differences."""

from __future__ import annotations

import numpy as np
import pytest

from model.evaluate.metrics import NAMES, bands, difference, gains, measure


def test_gains_by_hand():
    found = dict(zip(NAMES, gains(np.array([3]))[0].tolist(), strict=True))
    assert found["R@5"] == 1
    assert found["N@10"] == pytest.approx(0.5)
    assert found["MRR@20"] == pytest.approx(1 / 3)


def test_gains_are_zero_beyond_k():
    found = dict(zip(NAMES, gains(np.array([6]))[0].tolist(), strict=True))
    assert found["R@5"] == found["N@5"] == found["MRR@5"] == 0
    assert found["R@10"] == 1


def test_interval_holds_the_mean_and_is_the_same_again():
    ranks = np.random.default_rng(1).integers(1, 40, 400)
    first, second = (measure(ranks, [str(place) for place in range(400)]) for _ in range(2))
    assert first["N@10"] == second["N@10"]
    assert first["N@10"].low < first["N@10"].mean < first["N@10"].high


def test_interval_is_close_to_the_normal_one():
    hits = np.where(np.arange(2000) % 4 == 0, 1, 100)
    found = measure(hits, [str(place) for place in range(2000)])["R@10"]
    half = 1.96 * np.sqrt(0.25 * 0.75 / 2000)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.15)


def test_cases_of_one_session_are_not_independent():
    ranks = np.repeat(np.where(np.arange(100) % 2 == 0, 1, 100), 10)
    alone = measure(ranks, [str(place) for place in range(1000)])["R@10"]
    together = measure(ranks, np.repeat(np.arange(100), 10).astype(str).tolist())["R@10"]
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_paired_difference_proves_what_two_intervals_cannot():
    rng = np.random.default_rng(2)
    ranks = rng.integers(1, 40, 1000)
    better = np.where(rng.random(1000) < 0.1, np.maximum(ranks - 10, 1), ranks)
    names = [str(place) for place in range(1000)]
    first, second = measure(better, names)["R@10"], measure(ranks, names)["R@10"]
    assert first.low < second.high
    assert difference(better, ranks, names)["R@10"].proven
    assert not difference(ranks, ranks, names)["R@10"].proven


def test_difference_of_other_cases_is_refused():
    with pytest.raises(ValueError, match="same cases"):
        difference(np.array([1]), np.array([1, 2]), ["a"])


def test_bands_part_the_values():
    found = bands(np.array([0, 1, 4, 5, 31]), [0, 4, 30], ["none", "few", "some", "many"])
    assert [mask.sum() for mask in found.values()] == [1, 2, 1, 1]
