"""Holds back the newest sessions of a dataset for the live replay; never cuts a session in two."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from feature_repo.contract.files import replacing
from feature_repo.contract.session import FoldConfig
from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import CLICK_COLUMNS, CLICKS
from spark_jobs.lake.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

HELD_OUT_COLUMNS = (*CLICK_COLUMNS, "extra", "arrival_seq")


@dataclass(frozen=True)
class HeldOut:
    """The clicks that stay, and where those that were held back lie (`rows` of them; no file when 0)."""

    kept: DataFrame
    rows: int
    file: Path


def held_out_file(settings: Settings) -> Path:
    """Return where the clicks that are held back for the replay lie (Parquet, in their original order)."""
    return settings.home / "demo" / "held_out.parquet"


def hold_back(lake: Lake, clicks: DataFrame, times: np.ndarray, share: float) -> HeldOut:
    """Take out the clicks of sessions that begin in the newest share of the clicks.

    The cut is the event time above which `share` of the clicks lie. Sessions (by the gap rule) that begin
    at or after it are held back; a session that began before it stays whole, and so does what `clicks` got
    from files before: older data that comes later moves the cut back, but what was known once cannot be
    replayed as if it were new.

    Parameters
    ----------
    lake : Lake
        Its tables; of its settings ``session.gap_minutes``, `home`.
    clicks : DataFrame
        With ``session_id``, ``event_time`` and ``arrival_seq``.
    times : ndarray int64
        All event times, microseconds UTC, sorted.
    share : float
        Of the clicks: ``dataset.live_share``, or 0 (nothing is held back) where the dataset brings split
        files, which are kept as they are.

    Returns
    -------
    HeldOut
        The file is replaced atomically.
    """
    import pyarrow.parquet
    from pyspark.sql import functions as F

    file = held_out_file(lake.settings)
    if not share:
        file.unlink(missing_ok=True)
        return HeldOut(clicks, 0, file)
    cut_us = int(times[min(len(times) - 1, int(len(times) * (1 - share)))])
    # Few rows, read three times below: found once.
    starts = _new_sessions(clicks, cut_us, FoldConfig.from_settings(lake.settings.session).gap_us)
    if lake.exists(CLICKS):
        starts = starts.join(F.broadcast(_known(lake, cut_us)), "session_id", "left")
        starts = starts.where(F.col("_known").isNull() | (F.col("_us") > F.col("_known")))
    begins = lake.spark.createDataFrame(
        starts.groupBy("session_id").agg(F.min("_us").alias("_begin")).toArrow()
    )
    both = clicks.join(F.broadcast(begins), "session_id", "left")
    live = F.coalesce(F.unix_micros("event_time") >= F.col("_begin"), F.lit(False))
    # Sorted here: a sort in Spark would read the clicks twice, once for the limits of its partitions.
    held = (
        both.where(live)
        .select(*HELD_OUT_COLUMNS)
        .toArrow()
        .sort_by([("event_time", "ascending"), ("arrival_seq", "ascending")])
    )
    with replacing(file) as part:
        pyarrow.parquet.write_table(held, part)
    return HeldOut(both.where(~live).drop("_begin"), held.num_rows, file)


def _known(lake: Lake, cut_us: int) -> DataFrame:
    """Return the newest click of each session id from the cut on that `clicks` got from files."""
    from pyspark.sql import functions as F

    rows = lake.read(CLICKS).where(
        F.col("topic").isNull() & (F.col("event_time") >= F.timestamp_micros(F.lit(cut_us)))
    )
    return rows.groupBy("session_id").agg(F.max(F.unix_micros("event_time")).alias("_known"))


def _new_sessions(clicks: DataFrame, cut_us: int, gap_us: int | None) -> DataFrame:
    """Return ``session_id, _us`` of sessions that start after the cut; everything of an id from its first one
    on is newer still.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    moment = F.unix_micros("event_time")
    if gap_us is None:
        return clicks.groupBy("session_id").agg(F.min(moment).alias("_us")).where(F.col("_us") >= cut_us)
    # Only clicks from one gap before the cut on can tell whether a click after it begins a session.
    recent = clicks.where(moment >= cut_us - gap_us).select("session_id", moment.alias("_us"))
    pause = F.col("_us") - F.lag("_us").over(Window.partitionBy("session_id").orderBy("_us"))
    begins = F.col("_pause").isNull() | (F.col("_pause") > gap_us)
    return (
        recent.withColumn("_pause", pause)
        .where((F.col("_us") >= cut_us) & begins)
        .select("session_id", "_us")
    )
