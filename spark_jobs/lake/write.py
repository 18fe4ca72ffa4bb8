"""Writes the Delta tables so that nothing is committed when nothing changes; with `delta_read` the one door
to the lake.
"""

from __future__ import annotations

import contextlib
import functools
import json
import operator
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import MERGE_KEYS
from spark_jobs.lake.errors import explain as explain
from spark_jobs.lake.errors import told as told
from spark_jobs.lake.log import commit as commit
from spark_jobs.lake.log import exists as exists
from spark_jobs.lake.log import metadata as metadata
from spark_jobs.lake.log import version as version
from spark_jobs.lake.read import add_new_columns as add_new_columns
from spark_jobs.lake.read import conform as conform
from spark_jobs.lake.read import empty_if_missing as empty_if_missing
from spark_jobs.lake.read import read as read
from spark_jobs.lake.read import spark_schema as spark_schema

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_WRITTEN_AT = ("created", "ingest_time")  # when a row was written; no part of what it says


@dataclass(frozen=True)
class MergeResult:
    """Rows inserted and updated by a write, and the table's version after it (unchanged when both are 0)."""

    inserted: int
    updated: int
    version: int
    deleted: int = 0


def merge(
    spark: SparkSession,
    settings: Settings,
    table: str,
    frame: DataFrame,
    *,
    update_changed: bool = True,
    metadata: Mapping[str, Any] | None = None,
) -> MergeResult:
    """Insert new rows and update changed ones by the table's key, in one commit, or in none when nothing
    differs.

    Parameters
    ----------
    spark : SparkSession
        The session.
    settings : Settings
        For the lake's folder.
    table : str
        Name in ``columns.MERGE_KEYS``.
    frame : DataFrame
        At most one row a key. `created` and `ingest_time` say when a row was written, so they do not make a
        row different.
    update_changed : bool
        False: a known key is left as it is (tables whose rows never change).
    metadata : mapping, optional
        Plain JSON kept with the commit; see `metadata`.

    Returns
    -------
    MergeResult
        Counts of this call and the version after it.

    Raises
    ------
    JobError
        Disk full, a null in a column that may not be null, or another failed write; the table is then as
        before.
    """
    from pyspark.sql import functions as F

    keys, source = MERGE_KEYS[table], conform(frame, table)
    with told(table, settings):
        if _holds_nothing(spark, settings, table):
            return append(spark, settings, table, source, metadata=metadata)
        target = read(spark, settings, table)
        if not update_changed:
            new = source.alias("s").join(target.select(*keys).alias("t"), _same_key(keys), "left_anti")
            return append(spark, settings, table, new, metadata=metadata)
        known = F.col(f"t.{keys[0]}").isNotNull()
        paired = (
            source.alias("s")
            .join(target.alias("t"), _same_key(keys), "left")
            .where(~known | _differs(source.columns, keys))
        )
        return _apply(
            spark,
            settings,
            table,
            paired.select("s.*", F.when(known, "u").otherwise("i").alias("_change")),
            metadata,
        )


def synchronise(
    spark: SparkSession,
    settings: Settings,
    table: str,
    frame: DataFrame,
    *,
    within: DataFrame | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> MergeResult:
    """Make a table, or the part of it that some keys select, hold exactly the rows of a frame, in one commit
    or none.

    Parameters
    ----------
    spark : SparkSession
        The session.
    settings : Settings
        For the lake's folder.
    table : str
        Name in ``columns.MERGE_KEYS``.
    frame : DataFrame
        What should stand there; at most one row a key.
    within : DataFrame, optional
        Distinct values of one or more columns of the table; only rows with these are compared and deleted.
        None = the whole table.
    metadata : mapping, optional
        Plain JSON kept with the commit; see `metadata`.

    Returns
    -------
    MergeResult
        Rows added, changed and deleted; only these are written.

    Raises
    ------
    JobError
        As `merge`.
    """
    from pyspark.sql import functions as F

    keys, source = MERGE_KEYS[table], conform(frame, table)
    with told(table, settings):
        if _holds_nothing(spark, settings, table):
            return append(spark, settings, table, source, metadata=metadata)
        target = read(spark, settings, table)
        if within is not None:
            target = target.join(within, within.columns, "left_semi").select(*source.columns)
        here, there = F.col(f"s.{keys[0]}").isNotNull(), F.col(f"t.{keys[0]}").isNotNull()
        paired = (
            source.alias("s")
            .join(target.alias("t"), _same_key(keys), "full")
            .where(~here | ~there | _differs(source.columns, keys))
        )
        change = F.when(~here, "d").when(~there, "i").otherwise("u").alias("_change")
        columns = [
            F.when(here, F.col(f"s.{name}")).otherwise(F.col(f"t.{name}")).alias(name)
            for name in source.columns
        ]
        return _apply(spark, settings, table, paired.select(*columns, change), metadata)


def _same_key(keys: Sequence[str]) -> Column:
    from pyspark.sql import functions as F

    return functools.reduce(operator.and_, [F.col(f"s.{key}") == F.col(f"t.{key}") for key in keys])


def _differs(columns: Sequence[str], keys: Sequence[str]) -> Column:
    from pyspark.sql import functions as F

    compared = [name for name in columns if name not in {*keys, *_WRITTEN_AT}]
    return functools.reduce(
        operator.or_, [~F.col(f"s.{name}").eqNullSafe(F.col(f"t.{name}")) for name in compared], F.lit(False)
    )


def _apply(
    spark: SparkSession,
    settings: Settings,
    table: str,
    changes: DataFrame,
    metadata: Mapping[str, Any] | None,
) -> MergeResult:
    from delta.tables import DeltaTable

    with staged(spark, settings, changes) as rows:
        counted = {row["_change"]: int(row["count"]) for row in rows.groupBy("_change").count().collect()}
        inserted, updated, deleted = (counted.get(kind, 0) for kind in "iud")
        if updated or deleted:
            condition = " AND ".join(f"s.`{key}` = t.`{key}`" for key in MERGE_KEYS[table])
            values = {f"`{name}`": f"s.`{name}`" for name in rows.columns if name != "_change"}
            with _kept_with_commit(spark, metadata):
                change = (
                    DeltaTable.forPath(spark, str(settings.table(table)))
                    .alias("t")
                    .merge(rows.alias("s"), condition)
                )
                change = (
                    change.whenMatchedDelete("s._change = 'd'")
                    .whenMatchedUpdate(set=values)
                    .whenNotMatchedInsert(values=values)
                )
                change.execute()
        elif inserted:
            _write(rows.drop("_change"), settings.table(table), metadata)
        return MergeResult(inserted, updated, version(spark, settings, table), deleted)


def append(
    spark: SparkSession,
    settings: Settings,
    table: str,
    frame: DataFrame,
    *,
    metadata: Mapping[str, Any] | None = None,
    has_rows: bool = False,
) -> MergeResult:
    """Append rows in one commit, or make none when there are no rows.

    Parameters
    ----------
    spark : SparkSession
        The session.
    settings : Settings
        For the lake's folder.
    table : str
        Name in ``columns.SCHEMAS``.
    frame : DataFrame
        With the table's columns.
    metadata : mapping, optional
        Plain JSON kept with the commit; see `metadata`.
    has_rows : bool
        True: the caller knows that there are rows, so they are written in one go instead of being counted
        first.

    Returns
    -------
    MergeResult
        `inserted` is the number of rows of the commit.

    Raises
    ------
    JobError
        As `merge`.
    """
    empty_if_missing(spark, settings, table)
    with told(table, settings):
        if has_rows:
            _write(conform(frame, table), settings.table(table), metadata)
            metrics = commit(settings, table).get("operationMetrics", {})
            return MergeResult(int(metrics.get("numOutputRows", 0)), 0, version(spark, settings, table))
        with staged(spark, settings, conform(frame, table)) as rows:
            count = rows.count()
            if count:
                _write(rows, settings.table(table), metadata)
            return MergeResult(count, 0, version(spark, settings, table))


def _write(rows: DataFrame, path: Path, metadata: Mapping[str, Any] | None) -> None:
    writer = rows.write.format("delta").mode("append")
    if metadata is not None:
        writer = writer.option("userMetadata", json.dumps(metadata))
    writer.save(str(path))


@contextlib.contextmanager
def _kept_with_commit(spark: SparkSession, metadata: Mapping[str, Any] | None) -> Iterator[None]:
    """Set the metadata of commits that the builder of MERGE makes, which takes no option."""
    name = "spark.databricks.delta.commitInfo.userMetadata"
    if metadata is not None:
        spark.conf.set(name, json.dumps(metadata))
    try:
        yield
    finally:
        spark.conf.unset(name)


@contextlib.contextmanager
def staged(spark: SparkSession, settings: Settings, frame: DataFrame) -> Iterator[DataFrame]:
    """Compute a frame once, into Parquet beside the lake, and give it back for reading.

    A write needs its rows more than once (count, compare, commit); computing them twice costs more than
    writing them aside, and could give different rows.

    Yields
    ------
    DataFrame
        The same rows; valid inside the block only.
    """
    folder = settings.home / "spark" / "staged" / uuid.uuid4().hex
    try:
        frame.write.parquet(str(folder))
        yield spark.read.schema(frame.schema).parquet(str(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _holds_nothing(spark: SparkSession, settings: Settings, table: str) -> bool:
    """Tell whether a table, which is created when it is missing, has no rows."""
    return empty_if_missing(spark, settings, table) or bool(read(spark, settings, table).isEmpty())
