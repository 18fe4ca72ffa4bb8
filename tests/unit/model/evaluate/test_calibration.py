"""Scores as probabilities: what is said must be what was seen."""

from __future__ import annotations

import numpy as np

from model.data.sequences import Sequences, expand
from model.evaluate.calibration import calibration, summed


class Sure:
    """Gives each item the same score, the last one more."""

    name = "sure"

    def scores(self, cases):
        found = np.full((len(cases), 4), 0.1, dtype=np.float32)
        found[:, 3] = 0.7
        return found


def test_scores_that_come_true_have_no_error():
    rng = np.random.default_rng(1)
    scores = rng.uniform(0, 1, 200_000)
    found = summed(scores, rng.uniform(0, 1, 200_000) < scores)
    assert found["error"] < 0.005
    assert all(entry["hits_low"] <= entry["hits"] <= entry["hits_high"] for entry in found["bins"])


def test_boasting_scores_are_found_out():
    assert summed(np.full(1000, 0.9), np.arange(1000) < 300)["error"] > 0.55


def test_only_the_best_items_count_and_seen_ones_may_be_left_out():
    cases = expand(Sequences.of([[3, 0], [1, 3]]))
    kept = calibration(Sure(), cases, without_seen=False, top=1)["bins"]
    assert [(entry["items"], entry["hits"]) for entry in kept] == [(2, 0.5)]
    without = calibration(Sure(), cases, without_seen=True, top=1)["bins"]
    # the first session saw item 3: its best is one of the others
    assert [entry["items"] for entry in without] == [1, 1]


def test_no_cases_give_no_bins():
    cases = expand(Sequences.of([[0, 1]])).select(np.arange(0))
    assert calibration(Sure(), cases, without_seen=True) == {"bins": [], "error": 0.0}
