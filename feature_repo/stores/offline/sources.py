"""Delta tables as feature sources on Spark: opened at the version that a call reads, with clear words when it
is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delta.tables import DeltaTable
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from feature_repo.stores.offline import errors, pins
from feature_repo.stores.offline.errors import FeatureTableError


@dataclass(frozen=True)
class PinnedTable:
    """One source at one version; `version` is ``None`` for sources that are no Delta table."""

    name: str
    version: int | None
    frame: DataFrame


def open_source(spark: SparkSession, source: SparkSource, lake: str | None, repo: Path | None) -> PinnedTable:
    """Open a source; a Delta table at the pinned version, or else at its present one, which then stays fixed
    for the call.

    Raises
    ------
    FeatureTableError
        No such table, or no such version any more.
    """
    if not pins.is_delta(source):
        return PinnedTable(source.name, None, _plain(spark, source, lake, repo))
    path, options = pins.location(str(source.path), lake, repo), pins.wanted_version(source)
    try:
        version = _as_int(options.get("versionAsOf"))
        if version is None:
            version = _version_at(spark, path, options.get("timestampAsOf"))
        frame = spark.read.format("delta").option("versionAsOf", version).load(path)
    except PySparkException as error:
        raise _refusal(source.name, path, options, error) from None
    return PinnedTable(source.name, version, frame)


def latest_version(spark: SparkSession, path: str) -> int:
    """Present version of the Delta table at `path`."""
    return int(DeltaTable.forPath(spark, path).history(1).select("version").first()[0])


def table_id(spark: SparkSession, path: str) -> str:
    """Identity of the Delta table at `path`; changes when the folder is deleted and written anew."""
    return str(DeltaTable.forPath(spark, path).detail().select("id").first()[0])


def explain(error: Exception, versions: Mapping[str, int | None]) -> Exception:
    """Turn Spark's report of a missing data file into one that names the table's version and the remedy;
    others pass unchanged.
    """
    text = str(error)
    if any(
        sign in text
        for sign in ("FILE_NOT_EXIST", "FileNotFoundException", "FILE_NOT_FOUND", "does not exist")
    ):
        return errors.vacuumed(versions, text.splitlines()[0][:200])
    return error


def _plain(spark: SparkSession, source: SparkSource, lake: str | None, repo: Path | None) -> DataFrame:
    try:
        if source.path and not source.query:
            kind = (
                source.table_format.format_type.value
                if source.table_format is not None
                else source.file_format
            )
            return spark.read.format(kind).load(pins.location(str(source.path), lake, repo))
        return spark.table(source.table) if source.table else spark.sql(source.query)
    except PySparkException as error:
        raise FeatureTableError(
            f"source '{source.name}' cannot be read ({str(error).splitlines()[0][:200]}); check its path, "
            "table or query"
        ) from None


def _version_at(spark: SparkSession, path: str, timestamp: Any) -> int:
    if timestamp is None:
        return latest_version(spark, path)
    history = DeltaTable.forPath(spark, path).history()
    row = history.where(history.timestamp <= _instant(timestamp)).agg({"version": "max"}).first()
    if row is None or row[0] is None:
        raise errors.no_version_then(path, timestamp)
    return int(row[0])


def _instant(timestamp: Any) -> Any:
    from pyspark.sql import functions

    return functions.to_timestamp(functions.lit(str(timestamp)))


def _as_int(value: Any) -> int | None:
    return None if value is None else int(value)


def _refusal(name: str, path: str, options: Mapping[str, Any], error: Exception) -> FeatureTableError:
    said = str(error).splitlines()[0][:240]
    return errors.no_version(name, path, options, said) if options else errors.no_table(name, path, said)
