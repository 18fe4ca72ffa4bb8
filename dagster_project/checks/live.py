"""The check of what answers were worth: against the figures that the model itself reached on its test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow.compute as pc

from dagster_project.checks.tables import Outcome
from feature_repo.contract import tables as columns
from feature_repo.contract.settings import Settings
from spark_jobs.lake.log import DeltaLog

LEAST_CASES = 100  # below that, a day says nothing
COMPARED = {"hit_20": "R@20", "mrr_20": "MRR@20"}


class Figure(NamedTuple):
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]"


def tested_figures(settings: Settings, version: str) -> dict[str, Figure]:
    """Return what a model reached on its own test cases, by name of the live figure; empty where its folder
    is gone or holds none.
    """
    try:
        manifest = json.loads((settings.models_dir / version / "manifest.json").read_text(encoding="utf-8"))
        rows = manifest["metrics"]["rows"]
        own = next(row for row in rows if row["role"] == "with_intents")["metrics"]["metrics"]
        return {name: _figure(own[test]) for name, test in COMPARED.items()}
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return {}


def _figure(found: Mapping[str, float]) -> Figure:
    return Figure(found["mean"], found["low"], found["high"])


def live_days(settings: Settings) -> list[dict[str, Any]]:
    """Return the rows of whole days, oldest first; empty without the table."""
    log = DeltaLog(settings.table(columns.LIVE_QUALITY))
    if log.version() < 0:
        return []
    wanted = (pc.field("period") == "day") & (pc.field("slice") == "all")
    rows = log.read(columns.SCHEMAS[columns.LIVE_QUALITY].names, filter=wanted).to_pylist()
    return sorted(rows, key=lambda row: (row["start"], row["model_version"]))


def quality_holds(settings: Settings, details: Mapping[str, Any]) -> Outcome:
    """Tell whether the newest day of every model lies no further below its test figure than both intervals
    reach.
    """
    newest = {row["model_version"]: row for row in live_days(settings) if row["cases"] >= LEAST_CASES}
    worse, facts = list[str](), dict[str, Any]()
    for version, row in newest.items():
        for name, known in tested_figures(settings, version).items():
            live = Figure(row[name], row[f"{name}_low"], row[f"{name}_high"])
            facts[f"{version} {name}"] = f"live {live} of {row['cases']:,} cases, test {known}"
            if live.high < known.low:
                worse.append(f"{version}: {name} {live} on {row['day']}, its test says {known}")
    if worse:
        remedy = "see docs/runbook.md, LiveQualityLow"
        return Outcome(False, f"{'; '.join(worse)}; {remedy}", facts)
    return Outcome(True, f"{len(facts)} figures of {len(newest)} models compared with their tests", facts)
