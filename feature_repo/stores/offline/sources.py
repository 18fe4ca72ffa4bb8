"""Delta tables as feature sources: where a source's table lies, which version a call reads, and clear words
when it is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delta.tables import DeltaTable
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

_pins: ContextVar[Mapping[str, int | str] | None] = ContextVar("pins", default=None)


class FeatureTableError(RuntimeError):
    """A feature table is missing, or the version asked for is gone; names table, version and remedy."""


@dataclass(frozen=True)
class PinnedTable:
    """One source at one version; `version` is ``None`` for sources that are no Delta table."""

    name: str
    version: int | None
    frame: DataFrame


@contextmanager
def pinned(versions: Mapping[str, int | str]) -> Iterator[None]:
    """Pin source tables for the historical reads made in a ``with`` block.

    Parameters
    ----------
    versions : mapping
        Source name to Delta version (int) or timestamp (text that Delta reads, e.g.
        ``2026-01-31T12:00:00Z``).
    """
    token = _pins.set({**(_pins.get() or {}), **versions})
    try:
        yield
    finally:
        _pins.reset(token)


def location(path: str, lake: str | None, repo: Path | None) -> str:
    """Where a table lies: a relative path is a folder of the lake, the lake itself may be relative to the
    repository.

    Examples
    --------
    >>> location("t", "/data/lake", None)
    '/data/lake/t'
    """
    if "://" in path or path.startswith("/") or lake is None:
        return path
    base = lake if "://" in lake or lake.startswith("/") or repo is None else str((repo / lake).resolve())
    return f"{base.rstrip('/')}/{path}"


def open_source(spark: SparkSession, source: SparkSource, lake: str | None, repo: Path | None) -> PinnedTable:
    """Open a source; a Delta table at the pinned version, or else at its present one, which then stays fixed
    for the call.

    Raises
    ------
    FeatureTableError
        No such table, or no such version any more.
    """
    if not (
        source.path and source.table_format is not None and source.table_format.format_type.value == "delta"
    ):
        return PinnedTable(source.name, None, _plain(spark, source, lake, repo))
    path = location(str(source.path), lake, repo)
    options: dict[str, Any] = dict(source.table_format.properties)
    pin = (_pins.get() or {}).get(source.name)
    if pin is not None:
        options = {"versionAsOf": pin} if isinstance(pin, int) else {"timestampAsOf": pin}
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
        return FeatureTableError(
            f"a data file of {dict(versions)} is gone: the table was vacuumed past the pinned version; pin "
            "a later version (DESCRIBE HISTORY shows them) or raise delta.deletedFileRetentionDuration "
            f"before the next VACUUM ({text.splitlines()[0][:200]})"
        )
    return error


def _plain(spark: SparkSession, source: SparkSource, lake: str | None, repo: Path | None) -> DataFrame:
    try:
        if source.path and not source.query:
            kind = (
                source.table_format.format_type.value
                if source.table_format is not None
                else source.file_format
            )
            return spark.read.format(kind).load(location(str(source.path), lake, repo))
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
        raise FeatureTableError(
            f"Delta table {path} has no version as of {timestamp}; its history starts later, pin a later time"
        )
    return int(row[0])


def _instant(timestamp: Any) -> Any:
    from pyspark.sql import functions

    return functions.to_timestamp(functions.lit(str(timestamp)))


def _as_int(value: Any) -> int | None:
    return None if value is None else int(value)


def _refusal(name: str, path: str, options: Mapping[str, Any], error: Exception) -> FeatureTableError:
    said = str(error).splitlines()[0][:240]
    if options:
        return FeatureTableError(
            f"table '{name}' ({path}) cannot be read at {dict(options)}: {said}; that version was never "
            "written or its log is cleaned, pin another"
        )
    return FeatureTableError(
        f"table '{name}' is no Delta table yet ({path}); run the Spark job that writes it (python -m "
        f"spark_jobs --help): {said}"
    )
