"""The `item-popularity` job: how often each item was clicked, as known at the end of each day (UTC)."""

from __future__ import annotations

import datetime
import time
from typing import TYPE_CHECKING

from feature_repo.contract.events.rules import EVERY, EventRules
from feature_repo.contract.tables import CLICKS, ITEM_POPULARITY
from spark_jobs.job import JobResult
from spark_jobs.lake.lake import Lake, MergeResult

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

WINDOW_DAYS = 7


def run(lake: Lake, *, date: datetime.date | None = None) -> JobResult:
    """Bring `item_popularity` up to date with `clicks`.

    Parameters
    ----------
    lake : Lake
        Its tables.
    date : datetime.date, optional
        Only the snapshot at the end of this day.

    Returns
    -------
    JobResult
        `details`: ``days``, ``deleted``.

    Raises
    ------
    JobError
        There is no table `clicks`.
    """
    from pyspark.sql import functions as F

    started = time.monotonic()
    now = datetime.datetime.now(datetime.UTC)
    rules = EventRules.from_settings(lake.settings.session.event_types)
    clicks = only_folded(lake.read(CLICKS), rules)
    newest = {"clicks": lake.version(CLICKS), "until": now.date().isoformat(), "events": rules.as_json()}
    result = MergeResult(0, 0, lake.version(ITEM_POPULARITY))
    if date is not None or lake.metadata(ITEM_POPULARITY) != newest:
        rows = snapshots(clicks, now.date()).withColumn("created", F.lit(now))
        within = None
        if date is not None:
            moment = F.lit(
                datetime.datetime.combine(date + datetime.timedelta(days=1), datetime.time(), datetime.UTC)
            )
            rows = rows.where(F.col("event_timestamp") == moment)
            within = lake.spark.range(1).select(moment.alias("event_timestamp"))
        kept = newest if date is None else None
        with lake.as_job_error(ITEM_POPULARITY):
            result = lake.synchronise(ITEM_POPULARITY, rows, within=within, metadata=kept)
    counted = (
        lake.read(ITEM_POPULARITY)
        .agg(F.count("*").alias("rows"), F.countDistinct("event_timestamp").alias("days"))
        .first()
    )
    details = {"days": int(counted["days"]), "deleted": result.deleted}
    return JobResult(
        ITEM_POPULARITY,
        int(counted["rows"]),
        result.inserted,
        result.updated,
        0,
        result.version,
        time.monotonic() - started,
        details,
    )


def only_folded(clicks: DataFrame, rules: EventRules) -> DataFrame:
    """Return the rows of `clicks` that are clicks by the rules; the types are few, so each is judged once."""
    from pyspark.sql import functions as F

    if EVERY in rules.fold:
        return clicks
    types = [row["event_type"] for row in clicks.select("event_type").distinct().collect()]
    folded = [name for name in types if name is not None and rules.of(name).folded]
    return clicks.where(F.col("event_type").isNull() | F.col("event_type").isin(folded))


def snapshots(clicks: DataFrame, today: datetime.date) -> DataFrame:
    """Count clicks by item as of the end of each day.

    Parameters
    ----------
    clicks : DataFrame
        With ``item_id`` and ``event_date``.
    today : datetime.date
        This day and later ones are not over, so they have no snapshot.

    Returns
    -------
    DataFrame
        ``item_id``, ``event_timestamp`` (midnight after the day: what a later click may know),
        ``clicks_total``, ``clicks_1d``, ``clicks_7d``, ``popularity_rank``.

    Notes
    -----
    An item has a row for each day on which one of its counts changes: days with clicks, and the seven after
    them, up to the last day of the clicks. The rank is among the items with a row that day: by clicks of
    seven days, then of all time, then by id.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    over = clicks.where(F.col("event_date") < F.lit(today))
    daily = over.groupBy("item_id", F.unix_date("event_date").alias("day")).agg(F.count("*").alias("n"))
    last = daily.agg(F.max("day").alias("last_day"))
    ahead = F.explode(F.sequence(F.lit(0), F.lit(WINDOW_DAYS))).alias("ahead")
    touched = daily.select("item_id", "day", "n", ahead).select(
        "item_id",
        (F.col("day") + F.col("ahead")).alias("day"),
        F.when(F.col("ahead") == 0, F.col("n")).otherwise(0).alias("n"),
    )
    days = (
        touched.groupBy("item_id", "day")
        .agg(F.sum("n").alias("clicks_1d"))
        .join(F.broadcast(last), F.col("day") <= F.col("last_day"))
        .drop("last_day")
    )
    by_day = Window.partitionBy("item_id").orderBy("day")
    counted = days.withColumns(
        {
            "clicks_total": F.sum("clicks_1d").over(by_day.rangeBetween(Window.unboundedPreceding, 0)),
            "clicks_7d": F.sum("clicks_1d").over(by_day.rangeBetween(1 - WINDOW_DAYS, 0)),
        }
    )
    order = Window.partitionBy("day").orderBy(F.desc("clicks_7d"), F.desc("clicks_total"), "item_id")
    ranked = counted.withColumn("popularity_rank", F.row_number().over(order))
    return ranked.withColumn("event_timestamp", F.timestamp_seconds((F.col("day") + 1) * 86_400)).drop("day")
