"""Reads and writes the Delta tables: pinned reads, and writes that commit nothing when nothing changes."""

from __future__ import annotations

import contextlib
import functools
import operator
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from feature_repo.contract.columns import MERGE_KEYS, SCHEMAS
from feature_repo.contract.settings import Settings
from spark_jobs.job import JobError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import StructType

# Which job fills a table: the remedy of "does not exist".
_WRITERS = {
    "clicks": "ingest", "items": "ingest", "quarantine": "ingest", "score_log": "ingest --score-log", "item_vectors": "item-vectors",
    "sessions": "sessionise", "session_text": "session-text", "session_intents": "intents", "intent_cache": "intents",
    "session_features": "session-features", "item_popularity": "item-popularity", "training_set": "training-set",
}  # fmt: skip


@dataclass(frozen=True)
class MergeResult:
    """Rows inserted and updated by a write, and the table's version after it (unchanged when both are 0)."""

    inserted: int
    updated: int
    version: int
    deleted: int = 0


def spark_schema(table: str) -> StructType:
    """Return the Spark schema of a table of `columns.SCHEMAS`.

    Parameters
    ----------
    table : str
        Name in ``columns.SCHEMAS``.

    Returns
    -------
    StructType
        Same order and nullability as the Arrow schema.
    """
    from pyspark.sql.pandas.types import from_arrow_schema

    schema: StructType = from_arrow_schema(SCHEMAS[table])
    return schema


def exists(spark: SparkSession | None, settings: Settings, table: str) -> bool:
    """Tell whether a table has at least one commit (looks at the log only; `spark` may be None)."""
    return _latest(settings.table(table)) >= 0


def version(spark: SparkSession | None, settings: Settings, table: str) -> int:
    """Return the newest version of a table, -1 when it does not exist (looks at the log only; `spark` may be None)."""
    return _latest(settings.table(table))


def _latest(path: Path) -> int:
    names = (entry.stem for entry in (path / "_delta_log").glob("*.json"))
    return max((int(name) for name in names if name.isdigit()), default=-1)


def read(spark: SparkSession, settings: Settings, table: str, version: int | None = None) -> DataFrame:
    """Read a table, at a version if one is given.

    Parameters
    ----------
    spark : SparkSession
        The session.
    settings : Settings
        For the lake's folder.
    table : str
        Name in ``columns.SCHEMAS``.
    version : int, optional
        Delta version; none = the newest.

    Returns
    -------
    DataFrame
        With the columns of ``columns.SCHEMAS[table]``.

    Raises
    ------
    JobError
        The table or the version does not exist (or its files were vacuumed); says which job writes it.
    """
    path = settings.table(table)
    newest = _latest(path)
    if newest < 0:
        raise JobError(f"table '{table}' does not exist at {path}; run `python -m spark_jobs {_WRITERS.get(table, 'ingest')}` first")
    if version is not None and not 0 <= version <= newest:
        raise JobError(f"table '{table}' has no version {version}, only 0 to {newest}; pin one of these")
    reader = spark.read.format("delta")
    if version is not None:
        reader = reader.option("versionAsOf", version)
    with told(table, settings):
        return reader.load(str(path))


def empty_if_missing(spark: SparkSession, settings: Settings, table: str) -> bool:
    """Create a table with its schema and no rows, unless it exists.

    Returns
    -------
    bool
        Whether it was created.
    """
    if exists(spark, settings, table):
        return False
    from delta.tables import DeltaTable

    with told(table, settings):
        DeltaTable.createIfNotExists(spark).location(str(settings.table(table))).addColumns(spark_schema(table)).execute()
    return True


def conform(frame: DataFrame, table: str) -> DataFrame:
    """Bring a frame to the columns and types of a table.

    Parameters
    ----------
    frame : DataFrame
        With at least the table's columns that are not nullable; further columns are dropped, missing ones become null.
    table : str
        Name in ``columns.SCHEMAS``.

    Returns
    -------
    DataFrame
        Columns in the table's order.

    Raises
    ------
    JobError
        A column that may not be null is missing.
    """
    from pyspark.sql import functions as F

    present = set(frame.columns)
    columns: list[Column] = []
    for field in spark_schema(table).fields:
        if field.name not in present and not field.nullable:
            raise JobError(f"rows for table '{table}' lack the column '{field.name}'; have {sorted(present)}")
        source = F.col(f"`{field.name}`") if field.name in present else F.lit(None)
        columns.append(source.cast(field.dataType).alias(field.name))
    return frame.select(*columns)


def merge(spark: SparkSession, settings: Settings, table: str, frame: DataFrame, *, update_changed: bool = True) -> MergeResult:
    """Insert new rows and update changed ones by the table's key, in one commit, or in none when nothing differs.

    Parameters
    ----------
    spark : SparkSession
        The session.
    settings : Settings
        For the lake's folder.
    table : str
        Name in ``columns.MERGE_KEYS``.
    frame : DataFrame
        At most one row a key. `created` and `ingest_time` say when a row was written, so they do not make a row different.
    update_changed : bool
        False: a known key is left as it is (tables whose rows never change).

    Returns
    -------
    MergeResult
        Counts of this call and the version after it.

    Raises
    ------
    JobError
        Disk full, a null in a column that may not be null, or another failed write; the table is then as before.
    """
    from pyspark.sql import functions as F

    keys = MERGE_KEYS[table]
    fresh = empty_if_missing(spark, settings, table)
    source = conform(frame, table)
    with told(table, settings):
        if fresh or _is_empty(spark, settings, table):
            return append(spark, settings, table, source)
        target = read(spark, settings, table)
        joined = functools.reduce(operator.and_, [F.col(f"s.{key}") == F.col(f"t.{key}") for key in keys])
        if not update_changed:
            new = source.alias("s").join(target.select(*keys).alias("t"), joined, "left_anti")
            return append(spark, settings, table, new)
        compared = [name for name in source.columns if name not in {*keys, "created", "ingest_time"}]
        differs = functools.reduce(operator.or_, [~F.col(f"s.{name}").eqNullSafe(F.col(f"t.{name}")) for name in compared], F.lit(False))
        paired = source.alias("s").join(target.alias("t"), joined, "left").where(F.col(f"t.{keys[0]}").isNull() | differs)
        flagged = paired.select("s.*", F.col(f"t.{keys[0]}").isNotNull().alias("_known"))
        return _merge_changes(spark, settings, table, flagged, keys)


def _merge_changes(spark: SparkSession, settings: Settings, table: str, flagged: DataFrame, keys: Sequence[str]) -> MergeResult:
    from delta.tables import DeltaTable
    from pyspark.sql import functions as F

    with staged(spark, settings, flagged) as changes:
        counts = changes.agg(F.count_if("_known").alias("updated"), F.count_if(~F.col("_known")).alias("inserted")).first()
        inserted, updated = int(counts["inserted"]), int(counts["updated"])
        if not inserted and not updated:
            return MergeResult(0, 0, version(spark, settings, table))
        rows = changes.drop("_known")
        if not updated:
            rows.write.format("delta").mode("append").save(str(settings.table(table)))
        else:
            condition = " AND ".join(f"s.`{key}` = t.`{key}`" for key in keys)
            deltas = DeltaTable.forPath(spark, str(settings.table(table))).alias("t")
            deltas.merge(rows.alias("s"), condition).whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()
        return MergeResult(inserted, updated, version(spark, settings, table))


def append(spark: SparkSession, settings: Settings, table: str, frame: DataFrame) -> MergeResult:
    """Append rows in one commit, or make none when there are no rows.

    Returns
    -------
    MergeResult
        `inserted` is the number of rows of the commit.
    """
    with told(table, settings), staged(spark, settings, frame) as rows:
        count = rows.count()
        if count:
            rows.write.format("delta").mode("append").save(str(settings.table(table)))
        return MergeResult(count, 0, version(spark, settings, table))


def overwrite_partitions(spark: SparkSession, settings: Settings, table: str, frame: DataFrame, condition: str) -> MergeResult:
    """Replace the rows that a condition selects by the rows of a frame, in one commit, or in none when they are the same.

    Parameters
    ----------
    spark : SparkSession
        The session.
    settings : Settings
        For the lake's folder.
    table : str
        Name in ``columns.MERGE_KEYS``.
    frame : DataFrame
        What should stand there; every row must fulfil the condition, and at most one row a key.
    condition : str
        SQL on the table's columns, e.g. ``event_date = DATE'2026-01-31'`` or ``true``.

    Returns
    -------
    MergeResult
        Rows added, changed and deleted.

    Raises
    ------
    JobError
        As `merge`.
    """
    from pyspark.sql import functions as F

    keys = list(MERGE_KEYS[table])
    empty_if_missing(spark, settings, table)
    with told(table, settings), staged(spark, settings, conform(frame, table)) as rows:
        known = read(spark, settings, table).where(condition)
        compared = [name for name in rows.columns if name not in {*keys, "created", "ingest_time"}]
        joined = functools.reduce(operator.and_, [F.col(f"s.{key}") == F.col(f"t.{key}") for key in keys])
        differs = functools.reduce(operator.or_, [~F.col(f"s.{name}").eqNullSafe(F.col(f"t.{name}")) for name in compared], F.lit(False))
        here, there = F.col(f"s.{keys[0]}").isNotNull(), F.col(f"t.{keys[0]}").isNotNull()
        counts = (
            rows.alias("s").join(known.alias("t"), joined, "full")
            .agg(F.count_if(here & ~there).alias("i"), F.count_if(here & there & differs).alias("u"), F.count_if(there & ~here).alias("d")).first()
        )  # fmt: skip
        inserted, updated, deleted = int(counts["i"]), int(counts["u"]), int(counts["d"])
        if inserted or updated or deleted:
            rows.write.format("delta").mode("overwrite").option("replaceWhere", condition).save(str(settings.table(table)))
        return MergeResult(inserted, updated, version(spark, settings, table), deleted)


@contextlib.contextmanager
def staged(spark: SparkSession, settings: Settings, frame: DataFrame) -> Iterator[DataFrame]:
    """Compute a frame once, into Parquet beside the lake, and give it back for reading.

    A write needs its rows more than once (count, compare, commit); computing them twice costs more than writing them aside,
    and could give different rows.

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


def _is_empty(spark: SparkSession, settings: Settings, table: str) -> bool:
    return read(spark, settings, table).isEmpty()


@contextlib.contextmanager
def told(table: str, settings: Settings) -> Iterator[None]:
    """Turn what Spark throws into a `JobError` of one line that names the table and the remedy.

    Raises
    ------
    JobError
        Instead of any Spark or Py4J exception.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError, OSError) as error:
        raise JobError(explain(str(error), table, settings)) from error


def explain(text: str, table: str, settings: Settings) -> str:
    """Say in one line why a read or write of a table failed, and what to do.

    Parameters
    ----------
    text : str
        Text of the exception, stack trace included.
    table : str
        The table.
    settings : Settings
        For the lake's folder.

    Returns
    -------
    str
        One line.
    """
    path = settings.table(table)
    if "No space left on device" in text or "Disk quota exceeded" in text:
        free = shutil.disk_usage(settings.home).free // 2**20 if settings.home.exists() else 0
        state = f"still at version {_latest(path)}" if _latest(path) >= 0 else "not created"
        return f"disk full ({free} MiB free) while writing table '{table}' at {path}; the table is {state}: free some space and run the job again"
    if "Permission denied" in text:
        return f"no permission to write table '{table}' at {path}; let this user write there, or set INTENTSTORE_HOME to another folder"
    if "OutOfMemoryError" in text:
        return f"out of memory while computing table '{table}'; raise spark.driver_memory (now {settings.spark.driver_memory})"
    if "FileNotFoundException" in text or "DELTA_FILE_NOT_FOUND" in text:
        return f"files of table '{table}' at {path} are gone (vacuumed or removed by hand); pin a newer version, or remove the table and run its job again"
    named = re.search(r"(?:JobError|ClickError|DatasetError): ([^\n]+)", text)
    if named:
        return named.group(1)
    coded = re.search(r"\[DELTA_[A-Z_.]+\] [^\n]+", text) or re.search(r"\[[A-Z_.]{6,}\] [^\n]+", text)
    lines = (line.strip(" :") for line in text.splitlines())
    first = coded.group(0) if coded else next((line for line in lines if line and not line.startswith("An error occurred while")), "no reason given")
    return f"table '{table}' at {path}: {first[:400]}; the whole report is in {settings.home / 'spark' / 'driver.log'}"
