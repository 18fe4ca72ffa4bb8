"""Reads Delta tables at a version, creates them with their schema, and brings frames to it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pyarrow as pa

from feature_repo.contract.locks import only_one
from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import SCHEMAS, TABLES
from spark_jobs.job import JobError
from spark_jobs.lake.errors import told
from spark_jobs.lake.log import exists, newest_version

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import StructType


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
    newest = newest_version(path)
    if newest < 0:
        raise JobError(
            f"table '{table}' does not exist at {path}; run `python -m spark_jobs {TABLES[table].job}` first"
        )
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

    with told(table, settings), only_one(settings.home / "spark" / "locks" / f"{table}.create"):
        if exists(spark, settings, table):
            return False
        # A log without a commit is what a job leaves that was killed while it created the table; Delta takes
        # it neither for a table nor for none.
        shutil.rmtree(settings.table(table) / "_delta_log", ignore_errors=True)
        new = (
            DeltaTable.createIfNotExists(spark)
            .location(str(settings.table(table)))
            .addColumns(spark_schema(table))
        )
        new.property("delta.dataSkippingStatsColumns", ",".join(_skipping_columns(table))).execute()
    return True


def add_new_columns(spark: SparkSession, settings: Settings, table: str) -> None:
    """Give a table of before the nullable columns that its schema got since; their old rows hold null."""
    present = set(read(spark, settings, table).columns)
    new = [field for field in spark_schema(table).fields if field.nullable and field.name not in present]
    if new:
        with told(table, settings):
            columns = ", ".join(f"`{field.name}` {field.dataType.simpleString()}" for field in new)
            spark.sql(f"ALTER TABLE delta.`{settings.table(table)}` ADD COLUMNS ({columns})")


def _skipping_columns(table: str) -> list[str]:
    """Name the columns by which reads can leave files out: times and days. Limits of ids and texts make a
    write an eighth dearer and tell nothing.
    """
    schema = SCHEMAS[table]
    return [
        field.name for field in schema if pa.types.is_timestamp(field.type) or pa.types.is_date(field.type)
    ]


def conform(frame: DataFrame, table: str) -> DataFrame:
    """Bring a frame to the columns and types of a table.

    Parameters
    ----------
    frame : DataFrame
        With at least the table's columns that are not nullable; further columns are dropped, missing ones
        become null.
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
