"""The entity rows of a historical read, from pandas, SQL or Spark, checked and numbered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import IntegralType, TimestampNTZType, TimestampType

from feature_repo.stores.offline import entity_rows
from feature_repo.stores.offline.entity_rows import AT, ROW, NullRows
from feature_repo.stores.offline.errors import EntityFrameError
from feature_repo.stores.packed.slots import EPOCH


@dataclass(frozen=True)
class EntityFrame:
    """Checked entity rows.

    Attributes
    ----------
    frame : DataFrame
        The caller's columns, then `asof.ROW` (0.. in the caller's order) and `asof.AT` (microseconds UTC).
        Gives the same rows on each evaluation.
    columns : tuple of str
        The caller's columns in the caller's order.
    event : str
        Name of the time column.
    rows : int
    first, last : datetime
        Range of the times, UTC.
    places : int
        Number of consecutive ranges of `asof.ROW`, for ordering without a sort over all rows.
    sequence : bool
        Whether `asof.ROW` is 0, 1, 2, ... rather than Spark's increasing id.
    nulls : mapping
        Columns of a pandas frame that have nulls, and where.
    """

    frame: DataFrame
    columns: tuple[str, ...]
    event: str
    rows: int
    first: datetime
    last: datetime
    places: int
    sequence: bool
    nulls: Mapping[str, NullRows] = field(default_factory=dict)

    def place(self) -> Column:
        """Number of the range that a row belongs to, from 0 to `places` - 1, never falling with
        `asof.ROW`.
        """
        if self.sequence:
            return F.floor(F.col(ROW) * F.lit(self.places) / F.lit(self.rows)).cast("int")
        # monotonically_increasing_id: the partition stands above 33 bits
        return F.shiftright(F.col(ROW), 33).cast("int")


def from_any(spark: SparkSession, entity_df: pd.DataFrame | DataFrame | str) -> EntityFrame:
    """Take entity rows in any of Feast's forms.

    Parameters
    ----------
    spark : SparkSession
    entity_df : pandas or Spark data frame, or SQL text
        Needs a time column: ``event_timestamp``, or the only column that holds times. In pandas, times
        without a zone are UTC (Feast's rule).

    Raises
    ------
    EntityFrameError
        No rows, no time column or several, a time column without instants, or null times.

    Warns
    -----
    FutureRowsWarning
        Times more than a day in the future; they are answered with what is known now.
    """
    if isinstance(entity_df, pd.DataFrame):
        return _from_pandas(spark, entity_df)
    if isinstance(entity_df, str):
        entity_df = spark.sql(entity_df)
    if not isinstance(entity_df, DataFrame):
        raise EntityFrameError(
            f"entity_df is a {type(entity_df).__name__}; give a pandas data frame, a Spark data frame or "
            "SQL text"
        )
    return _from_spark(entity_df)


def _from_pandas(spark: SparkSession, rows: pd.DataFrame) -> EntityFrame:
    checked = entity_rows.from_pandas(rows)
    table = checked.table.append_column(ROW, pa.array(np.arange(len(rows), dtype=np.int64)))
    frame = spark.createDataFrame(table.append_column(AT, pa.array(checked.at_us)))
    return EntityFrame(
        frame=frame,
        columns=tuple(map(str, rows.columns)),
        event=checked.event,
        rows=len(rows),
        first=checked.first,
        last=checked.last,
        places=int(spark.conf.get("spark.sql.shuffle.partitions") or 1),
        sequence=True,
        nulls=checked.nulls(),
    )


def _from_spark(rows: DataFrame) -> EntityFrame:
    event = entity_rows.time_column(
        {
            column.name: np.dtype("datetime64[ns]")
            if isinstance(column.dataType, TimestampType)
            else column.dataType
            for column in rows.schema
        }
    )
    kind = rows.schema[event].dataType
    if not isinstance(kind, TimestampType):
        hint = "it has no time zone, " if isinstance(kind, TimestampNTZType) else ""
        raise EntityFrameError(
            f"entity_df column '{event}' is {kind.simpleString()}: {hint}cast it to TIMESTAMP with the zone "
            "it was recorded in"
        )
    columns = tuple(rows.columns)
    numbered = rows.withColumn(ROW, F.monotonically_increasing_id()).withColumn(
        AT, F.unix_micros(F.col(f"`{event}`"))
    )
    # The rows are read once a view: a lineage that gives them another order or other values each time would
    # mix rows up.
    fixed = numbered.localCheckpoint(eager=True)
    summary = fixed.agg(F.count(F.lit(1)), F.count(AT), F.min(AT), F.max(AT)).first()
    if summary is None or summary[0] == 0:
        raise EntityFrameError(f"entity_df with columns {list(columns)} has no rows; give at least one")
    if summary[1] != summary[0]:
        raise EntityFrameError(
            f"entity_df has {summary[0] - summary[1]} rows whose '{event}' is null; every row needs a time"
        )
    first, last = (EPOCH + timedelta(microseconds=moment) for moment in summary[2:4])
    entity_rows.check(columns, event, last)
    return EntityFrame(
        frame=fixed,
        columns=columns,
        event=event,
        rows=summary[0],
        first=first,
        last=last,
        places=fixed.rdd.getNumPartitions(),
        sequence=False,
    )


class KeySource(NamedTuple):
    """Where the keys of a view stand: its table, entity column to the table's column, the event time."""

    frame: DataFrame
    keys: dict[str, str]
    event: str


def from_history(
    spark: SparkSession,
    sources: Sequence[KeySource],
    start: datetime,
    end: datetime,
) -> EntityFrame:
    """Make the entity rows of a read without entity rows: every key seen from `start` to `end`, at `end`.

    Parameters
    ----------
    spark : SparkSession
    sources : sequence of KeySource
        Of the views that are read.
    start, end : datetime
        Aware.
    """
    names = sorted({name for source in sources for name in source.keys})
    low, high = ((moment - EPOCH) // timedelta(microseconds=1) for moment in (start, end))
    parts = []
    for frame, keys, event in sources:
        inside = frame.where(F.unix_micros(F.col(f"`{event}`")).between(low, high))
        parts.append(
            inside.select(
                *(
                    F.col(f"`{keys[name]}`").alias(name)
                    if name in keys
                    else F.lit(None).cast("string").alias(name)
                    for name in names
                )
            )
        )
    rows = parts[0]
    for part in parts[1:]:
        rows = rows.unionByName(part)
    return _from_spark(rows.distinct().withColumn("event_timestamp", F.timestamp_micros(F.lit(high))))


def check_keys(entities: EntityFrame, source: DataFrame, keys: Sequence[tuple[str, str]], view: str) -> None:
    """Check that the entity rows hold a view's keys in the source's types.

    Raises
    ------
    EntityFrameError
        A key column is missing or of another type.
    """
    for entity, column in keys:
        entity_rows.refuse_missing_key(view, entity, entities.columns)
        entity_rows.tell_null_key(view, entity, entities.nulls)
        given, wanted = entities.frame.schema[entity].dataType, source.schema[column].dataType
        if given != wanted and not (isinstance(given, IntegralType) and isinstance(wanted, IntegralType)):
            raise entity_rows.wrong_key(view, entity, given.simpleString(), wanted.simpleString())
