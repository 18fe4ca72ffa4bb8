"""Which sessions a job has to do again: all, those with new clicks, or those of some days."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feature_repo.contract.tables import CLICKS
from spark_jobs.lake.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


@dataclass(frozen=True)
class Work:
    """What is to be done.

    Attributes
    ----------
    clicks : DataFrame or None
        Every click of the sessions to do, whole histories; None = nothing to do.
    within : DataFrame or None
        Their distinct ``session_id``; None = all sessions.
    metadata : dict
        To keep with the commit, so that the next run knows what this one covered.
    """

    clicks: DataFrame | None
    within: DataFrame | None
    metadata: dict[str, Any]


def on_days(column: str, date: datetime.date, until: datetime.date | None) -> Column:
    """Return the condition that a date column lies on a day, or from it to another one, both included."""
    from pyspark.sql import functions as F

    return F.col(column).between(F.lit(date), F.lit(until or date))


def ids_of_days(lake: Lake, date: datetime.date, until: datetime.date | None) -> DataFrame:
    """Return the distinct ``session_id`` of clicks on a day, or from it to another one.

    A job limited to days does all sessions of these ids, because a late click may lengthen a session that
    began the day before.
    """
    return lake.read(CLICKS).where(on_days("event_date", date, until)).select("session_id").distinct()


def sessions_to_do(
    lake: Lake,
    table: str,
    rules: Mapping[str, Any],
    date: datetime.date | None = None,
    until: datetime.date | None = None,
) -> Work:
    """Compare what a table was made of with what there is now.

    Parameters
    ----------
    lake : Lake
        Its tables.
    table : str
        The table to bring up to date; its newest commit says from which version of `clicks` and by which
        rules it was made.
    rules : mapping
        Settings that the rows depend on; when one changes, every session is done again.
    date : datetime.date, optional
        Only sessions with a click on this day (UTC).
    until : datetime.date, optional
        With `date`: on any day from that one to this.

    Returns
    -------
    Work

    Raises
    ------
    JobError
        There is no table `clicks`.
    """
    clicks, newest, made = lake.read(CLICKS), lake.version(CLICKS), lake.metadata(table)
    same_rules = made.get("rules") == dict(rules)
    covered = made.get("clicks") if same_rules else None
    if date is not None:
        within = ids_of_days(lake, date, until)
        kept = made if same_rules else {"rules": dict(rules), "clicks": None}
        return Work(clicks.join(within, "session_id", "left_semi"), within, kept)
    metadata = {"rules": dict(rules), "clicks": newest}
    if covered == newest:
        return Work(None, None, metadata)
    if covered is None or covered > newest:
        return Work(clicks, None, metadata)
    within = lake.changes(CLICKS, covered).select("session_id").distinct()
    return Work(clicks.join(within, "session_id", "left_semi"), within, metadata)
