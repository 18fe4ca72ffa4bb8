"""Which sessions a job has to do again: all, those with new clicks, or those of some days."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import CLICKS
from spark_jobs.lake import write as delta_tables

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession


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


def ids_of_days(
    spark: SparkSession, settings: Settings, date: datetime.date, until: datetime.date | None
) -> DataFrame:
    """Return the distinct ``session_id`` of clicks on a day, or from it to another one.

    A job limited to days does all sessions of these ids, because a late click may lengthen a session that
    began the day before.
    """
    return (
        delta_tables.read(spark, settings, CLICKS)
        .where(on_days("event_date", date, until))
        .select("session_id")
        .distinct()
    )


def sessions_to_do(
    spark: SparkSession,
    settings: Settings,
    table: str,
    rules: Mapping[str, Any],
    date: datetime.date | None = None,
    until: datetime.date | None = None,
) -> Work:
    """Compare what a table was made of with what there is now.

    Parameters
    ----------
    spark : SparkSession
        The session.
    settings : Settings
        For the lake's folder.
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
    from pyspark.sql import functions as F

    clicks = delta_tables.read(spark, settings, CLICKS)
    newest = delta_tables.version(spark, settings, CLICKS)
    made = delta_tables.metadata(settings, table)
    same_rules = made.get("rules") == dict(rules)
    covered = made.get("clicks") if same_rules else None
    if date is not None:
        within = ids_of_days(spark, settings, date, until)
        kept = made if same_rules else {"rules": dict(rules), "clicks": None}
        return Work(clicks.join(within, "session_id", "left_semi"), within, kept)
    metadata = {"rules": dict(rules), "clicks": newest}
    if covered == newest:
        return Work(None, None, metadata)
    if covered is None or covered > newest:
        return Work(clicks, None, metadata)
    # Each commit of clicks has an ingest time of its own, so the new rows are told by it.
    known = delta_tables.read(spark, settings, CLICKS, covered).select("ingest_time").distinct()
    within = clicks.join(F.broadcast(known), "ingest_time", "left_anti").select("session_id").distinct()
    return Work(clicks.join(within, "session_id", "left_semi"), within, metadata)
