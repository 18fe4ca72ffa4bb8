"""The checks of single days: each looks only at the days that a run was for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster_project.checks.tables import EXAMPLES, Outcome
from dagster_project.lake.days import Days, clicks_by_day, on_days
from feature_repo.contract import tables as columns
from feature_repo.contract.settings import Settings
from spark_jobs.lake.log import DeltaLog


def has_clicks(settings: Settings, details: Mapping[str, Any]) -> Outcome:
    """Demand clicks on at least one day of the run; without any there is nothing to make of them."""
    days = Days.parse(details["days"])
    number = sum(clicks_by_day(settings, days).values())
    remedy = (
        f"no click on {days}; add the file with these clicks to the dataset folder (`dataset.path`) and "
        "materialise the day again, or leave the day out"
    )
    return Outcome(number > 0, f"{number:,} clicks on {days}" if number else remedy, {"clicks": number})


def every_day(settings: Settings, details: Mapping[str, Any]) -> Outcome:
    """Name the days of the run without any click: a shop may have been closed, or a file may be missing, so
    this only warns.
    """
    found = clicks_by_day(settings, Days.parse(details["days"]))
    empty = [str(day) for day, number in found.items() if not number]
    text = f"{len(empty)} of {len(found)} days without clicks"
    return Outcome(
        not empty,
        f"{text}: {', '.join(empty[:EXAMPLES])}; if they should have some, add their files"
        if empty
        else text,
        {"empty": empty},
    )


def features_of_days(settings: Settings, details: Mapping[str, Any]) -> Outcome:
    """Check that each click of the days has its row of features."""
    import pyarrow.compute as pc

    days = Days.parse(details["days"])
    clicks = DeltaLog(settings.table(columns.CLICKS)).read(["event_id"], filter=on_days(days))["event_id"]
    made = DeltaLog(settings.table(columns.SESSION_FEATURES)).read(["event_id"])["event_id"]
    lacking = clicks.filter(pc.invert(pc.is_in(clicks, value_set=made.combine_chunks())))
    text = f"{len(clicks) - len(lacking):,} of {len(clicks):,} clicks on {days} have their features"
    good = len(lacking) == 0
    return Outcome(
        good,
        text if good else f"{text}; materialise `daily/session_features` of these days again",
        {"examples": lacking.to_pylist()[:EXAMPLES]},
    )
