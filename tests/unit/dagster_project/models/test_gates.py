"""A candidate is stopped when it is proven to be worse, never by chance."""

from __future__ import annotations

import pytest

from dagster_project.models import gates
from dagster_project.models.train import Candidate


def row(role, mean, low, high):
    return {
        "role": role,
        "name": role,
        "metrics": {"metrics": {gates.METRIC: {"mean": mean, "low": low, "high": high}}},
    }


def candidate(*rows, **report):
    return Candidate("m1", "x", 10, {}, 1.0, {"rows": list(rows), **report}, 0.0)


@pytest.mark.parametrize(
    ("low", "high", "passed"), [(0.30, 0.34, True), (0.15, 0.21, True), (0.10, 0.19, False)]
)
def test_intervals_decide(low, high, passed):
    made = candidate(row("with_intents", (low + high) / 2, low, high), row("popularity", 0.22, 0.20, 0.24))
    assert gates.judge(gates.GATES[0], made).passed is passed


@pytest.mark.parametrize(("high", "passed"), [(0.001, True), (-0.001, False)])
def test_paired_difference_goes_before_the_intervals(high, passed):
    rows = row("with_intents", 0.5, 0.4, 0.6), row("backbone", 0.5, 0.4, 0.6)
    differences = {
        "with_intents - backbone": {"metrics": {gates.METRIC: {"mean": -0.01, "low": -0.02, "high": high}}}
    }
    assert gates.judge(gates.GATES[1], candidate(*rows, differences=differences)).passed is passed


def test_nothing_to_compare_with_passes():
    assert gates.judge(gates.GATES[0], candidate(row("with_intents", 0.1, 0.1, 0.1))).passed


def test_report_without_the_metric_fails():
    assert not gates.compare(candidate(), None, "popularity").passed


def test_warnings_of_the_report_are_passed_on():
    assert gates.best_of_all(candidate(warnings=["below markov"])).text == "below markov"


def test_a_proof_against_the_best_baseline_blocks():
    assert gates.not_below_best_baseline(candidate(proven_below=[], best_baseline="ease")).passed
    found = gates.not_below_best_baseline(candidate(proven_below=["N@10: below EASE."]))
    assert not found.passed
    assert found.text.startswith("N@10: below EASE. The promoted model stays")


def test_a_handful_of_cases_proves_nothing():
    found = gates.not_below_best_baseline(candidate(proven_below=["N@10: below EASE."], test_cases=6))
    assert found.passed and "too few" in found.text and "below EASE" in found.text
    assert not gates.not_below_best_baseline(
        candidate(proven_below=["N@10: below EASE."], test_cases=gates.FEW_CASES)
    ).passed
