"""The demands on a candidate before it may serve: comparisons of quality rows by their intervals. Knows
nothing of Dagster.
"""

from __future__ import annotations

from dataclasses import dataclass

from dagster_project.checks.tables import Outcome
from dagster_project.models.train import Candidate

METRIC = "N@10"
CANDIDATE = "with_intents"
FEW_CASES = 30  # the bootstrap of fewer cases gives intervals that are too narrow to prove anything


@dataclass(frozen=True)
class Gate:
    """A demand on a candidate.

    Parameters
    ----------
    name : str
        Name of the check.
    role : str
        Row of the quality report to compare with.
    text : str
        What is demanded, in words.
    """

    name: str
    role: str
    text: str


GATES = (
    Gate(
        "better_than_popularity",
        "popularity",
        "The candidate is not worse than recommending the most popular items.",
    ),
    Gate(
        "not_worse_than_backbone",
        "backbone",
        "Intents never hurt: the candidate is not worse than its backbone alone.",
    ),
)


def compare(candidate: Candidate, other: dict[str, float] | None, name: str) -> Outcome:
    """Judge the candidate against another row.

    Parameters
    ----------
    candidate : Candidate
        Its row `with_intents` is judged.
    other : dict or None
        Mean, low and high of the other; none = nothing to compare with.
    name : str
        What the other is called.

    Returns
    -------
    Outcome
        Failed only when the candidate's whole interval lies below the other's, so that chance blocks nothing.
    """
    if candidate.report.get("test_cases") == 0:
        return Outcome(
            True, "there is no test case: nothing was measured, nothing compared", {"test_cases": 0}
        )
    own = candidate.metric(CANDIDATE, METRIC) or candidate.metric("backbone", METRIC)
    if own is None:
        return Outcome(False, f"model {candidate.version} has no {METRIC} in its report; train again")
    if other is None:
        return Outcome(True, f"nothing to compare with: no {name}", {"candidate": own})
    good = own["high"] >= other["low"]
    shown = (
        f"{METRIC} {own['mean']:.4f} [{own['low']:.4f}, {own['high']:.4f}] against {other['mean']:.4f} "
        f"[{other['low']:.4f}, {other['high']:.4f}] of {name}"
    )
    remedy = (
        ""
        if good
        else "; the promoted model stays: look at the training curve and the settings of this candidate"
    )
    return Outcome(good, shown + remedy, {"candidate": own, "other": other})


def judge(gate: Gate, candidate: Candidate) -> Outcome:
    """Judge the candidate against a row of its own report: by the paired difference on the same cases where
    it was measured, else by both intervals.

    Parameters
    ----------
    gate : Gate
        The demand.
    candidate : Candidate
        With its quality report.

    Returns
    -------
    Outcome
        Failed only when the candidate is proven to be worse.
    """
    measured = candidate.report.get("differences", {}).get(f"{CANDIDATE} - {gate.role}")
    found = measured["metrics"].get(METRIC) if measured else None
    if found is None or found["mean"] is None:
        return compare(candidate, candidate.metric(gate.role, METRIC), gate.role)
    good = found["high"] >= 0
    text = (
        f"{METRIC} of the candidate minus that of {gate.role}: {found['mean']:+.4f} [{found['low']:+.4f}, "
        f"{found['high']:+.4f}]"
    )
    remedy = (
        ""
        if good
        else "; the promoted model stays: look at the training curve and the settings of this candidate"
    )
    return Outcome(good, text + remedy, {"difference": found})


def not_below_best_baseline(candidate: Candidate) -> Outcome:
    """Refuse a candidate proven worse than the best baseline on a metric of the gate: its paired difference
    on the same cases lies below 0.
    """
    found = list(candidate.report.get("proven_below", []))
    best = candidate.report.get("best_baseline") or "any baseline"
    cases = candidate.report.get("test_cases")
    if found and cases is not None and cases < FEW_CASES:
        return Outcome(
            True,
            f"{cases} test cases are too few for a proof: {' '.join(found)}",
            {"proven_below": found, "test_cases": cases},
        )
    remedy = (
        " The promoted model stays: a simpler model is better here, so look at the settings and the data "
        "of this candidate."
    )
    return Outcome(
        not found,
        " ".join(found) + remedy if found else f"not proven worse than {best}",
        {"proven_below": found},
    )


def best_of_all(candidate: Candidate) -> Outcome:
    """Say on which metrics a baseline is above the candidate; a warning, since a difference within the
    intervals proves nothing.
    """
    found = list(candidate.report.get("warnings", []))
    return Outcome(not found, " ".join(found) or "the candidate is above every baseline", {"warnings": found})
