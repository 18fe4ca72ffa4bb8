"""Frames as the tables of the contract want them: schema, columns in order, which rows differ."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from feature_repo.contract.tables import SCHEMAS
from spark_jobs.job import JobError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructType

_WRITTEN_AT = ("created", "ingest_time")  # when a row was written; no part of what it says


def spark_schema(table: str) -> StructType:
    """Return the Spark schema of a table.

    Parameters
    ----------
    table : str
        Name in ``tables.SCHEMAS``.

    Returns
    -------
    StructType
        Same order and nullability as the Arrow schema.
    """
    from pyspark.sql.pandas.types import from_arrow_schema

    schema: StructType = from_arrow_schema(SCHEMAS[table])
    return schema


def conform(frame: DataFrame, table: str) -> DataFrame:
    """Bring a frame to the columns and types of a table.

    Parameters
    ----------
    frame : DataFrame
        With at least the table's columns that are not nullable; further columns are dropped, missing ones
        become null.
    table : str
        Name in ``tables.SCHEMAS``.

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


def skipping_columns(table: str) -> list[str]:
    """Name the columns by which reads can leave files out: times and days. Limits of ids and texts make a
    write an eighth dearer and tell nothing.
    """
    schema = SCHEMAS[table]
    return [
        field.name for field in schema if pa.types.is_timestamp(field.type) or pa.types.is_date(field.type)
    ]


def same_key(keys: Sequence[str]) -> Column:
    """Return the condition that rows of the frames ``s`` and ``t`` have the same key."""
    from pyspark.sql import functions as F

    return functools.reduce(operator.and_, [F.col(f"s.{key}") == F.col(f"t.{key}") for key in keys])


def differs(columns: Sequence[str], keys: Sequence[str]) -> Column:
    """Return the condition that rows of ``s`` and ``t`` with the same key say different things; when they
    were written does not count.
    """
    from pyspark.sql import functions as F

    compared = [name for name in columns if name not in {*keys, *_WRITTEN_AT}]
    return functools.reduce(
        operator.or_, [~F.col(f"s.{name}").eqNullSafe(F.col(f"t.{name}")) for name in compared], F.lit(False)
    )
