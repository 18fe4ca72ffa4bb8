"""Refused rows on their way into the table `quarantine`, from files and from Kafka."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from feature_repo.contract.tables import QUARANTINE
from spark_jobs.lake.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def quarantine(lake: Lake, rows: DataFrame, now: datetime.datetime) -> int:
    """Add refused rows that the table does not hold yet.

    Parameters
    ----------
    lake : Lake
        Its tables.
    rows : DataFrame
        Columns ``source``, ``line``, ``reason``, ``raw``.
    now : datetime.datetime
        Their `ingest_time`.

    Returns
    -------
    int
        Rows added; the same refused row of the same source is added once, however often it is read.
    """
    from pyspark.sql import functions as F

    lake.create(QUARANTINE)
    known = lake.read(QUARANTINE).select("source", "line", "reason").alias("t")
    same = (
        (F.col("s.source") == F.col("t.source"))
        & F.col("s.line").eqNullSafe(F.col("t.line"))
        & (F.col("s.reason") == F.col("t.reason"))
    )
    new = rows.alias("s").join(known, same, "left_anti").withColumn("ingest_time", F.lit(now))
    return lake.append(QUARANTINE, new).inserted
