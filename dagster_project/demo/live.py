"""The demo's table of what live answers were worth, beside the model's own test."""

from __future__ import annotations

from dagster_project.checks.live import Figure, live_days, tested_figures
from dagster_project.demo.sections import Section
from feature_repo.contract.settings import Settings

NAMES = ("hit_5", "hit_10", "hit_20", "mrr_20")


def live_quality(settings: Settings) -> Section:
    """Show live figures by day and model, with intervals, and those of the model's test."""
    head = (
        "model",
        "day",
        "answers",
        "cases",
        *(name.replace("_", "@") for name in NAMES),
        "test hit@20",
        "test mrr@20",
    )
    rows = []
    for row in live_days(settings):
        live = [
            str(Figure(row[name], row[f"{name}_low"], row[f"{name}_high"])) if row["cases"] else "-"
            for name in NAMES
        ]
        known = tested_figures(settings, row["model_version"])
        tests = [str(known[name]) if name in known else "-" for name in ("hit_20", "mrr_20")]
        rows.append(
            (row["model_version"], str(row["day"]), f"{row['answers']:,}", f"{row['cases']:,}", *live, *tests)
        )
    note = (
        "Live: each answer judged by the next click of its session, by the rules of the offline judge; test: "
        "the model on its own test cases."
    )
    return Section(
        "Live quality, mean and 95 % interval", head, rows or [("not made in this run",) + ("-",) * 9], note
    )
