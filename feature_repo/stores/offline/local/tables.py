"""Delta tables in local folders, opened by their log and read file by file into Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from feast.data_source import DataSource

from feature_repo.stores.offline import errors, pins

# The reader of logs belongs to the lake, above this package; it needs nothing of what is there.
from spark_jobs.lake.log import DeltaLog, LakeError, OnlySparkReadsError
from spark_jobs.lake.snapshot import Snapshot
from spark_jobs.lake.stored_types import arrow_types

_SPARK_NAMES = {
    pa.string(): "string",
    pa.int64(): "bigint",
    pa.int32(): "int",
    pa.int16(): "smallint",
    pa.int8(): "tinyint",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.binary(): "binary",
    pa.date32(): "date",
    pa.null(): "void",
}


@dataclass(frozen=True)
class LocalTable:
    """One source at one version.

    Attributes
    ----------
    name, path : str
        Of the source, and its folder.
    snapshot : Snapshot
    types : dict
        Column to Arrow type, in the table's order; ``None`` for a type that only Spark reads.
    """

    name: str
    path: str
    snapshot: Snapshot
    types: dict[str, pa.DataType | None]

    @property
    def version(self) -> int:
        """Return the Delta version that is read."""
        return self.snapshot.version

    def schema(self, names: Sequence[str]) -> pa.Schema:
        """Return the Arrow schema of some columns.

        Raises
        ------
        OnlySparkError
            One is of a type that only Spark reads.
        """
        unread = [name for name in names if self.types[name] is None]
        if unread:
            raise errors.OnlySparkError(f"table '{self.name}' holds {unread} in a type that only Spark reads")
        return pa.schema([(name, self.types[name]) for name in dict.fromkeys(names)])

    def parts(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """Yield some columns of each file, always in the same order of files and rows.

        Raises
        ------
        FeatureTableError
            A file is gone.
        """
        schema = self.schema(names)
        for file in self.snapshot.files:
            yield self._part(file, schema)

    def rows(self, names: Sequence[str], file: int, rows: np.ndarray) -> pa.Table:
        """Read some columns of some rows of one file, by its number and theirs."""
        schema = self.schema(names)
        return self._part(self.snapshot.files[file], schema).take(pa.array(rows))

    def _part(self, file: dict[str, Any], schema: pa.Schema) -> pa.Table:
        try:
            return self.snapshot.read_file(file, schema, schema.names).cast(schema)
        except FileNotFoundError as error:
            raise errors.vacuumed({self.name: self.version}, str(error)[:200]) from None


def open_table(source: DataSource, lake: str | None, repo: Path | None) -> LocalTable:
    """Open a source at the pinned version, or else at its present one, which then stays fixed.

    Raises
    ------
    FeatureTableError
        No such table, or no such version any more.
    OnlySparkError
        Not a Delta table in a local folder, or one of a form that only Spark reads.
    """
    if not pins.is_delta(source):
        raise errors.OnlySparkError(f"source '{source.name}' is no Delta table by its path")
    path = pins.location(str(source.path), lake, repo).removeprefix("file://")
    if "://" in path:
        raise errors.OnlySparkError(f"table '{source.name}' lies at {path}, which is no local folder")
    log, options = DeltaLog(Path(path)), pins.wanted_version(source)
    if not log.exists():
        raise errors.no_table(source.name, path, "its folder has no log")
    try:
        snapshot = log.snapshot(_version(log, path, options))
    except OnlySparkReadsError as error:
        raise errors.OnlySparkError(str(error)) from None
    except LakeError as error:
        raise errors.no_version(source.name, path, options, str(error)[:240]) from None
    return LocalTable(source.name, path, snapshot, arrow_types(snapshot.schema_string))


def spark_name(kind: pa.DataType | None) -> str:
    """Name an Arrow type as Spark does.

    Examples
    --------
    >>> spark_name(pa.list_(pa.float32()))
    'array<float>'
    """
    if kind is None:
        return "unknown"
    if pa.types.is_list(kind):
        return f"array<{spark_name(kind.value_type)}>"
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz else "timestamp_ntz"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_map(kind):
        return f"map<{spark_name(kind.key_type)},{spark_name(kind.item_type)}>"
    if pa.types.is_struct(kind):
        return "struct<" + ",".join(f"{field.name}:{spark_name(field.type)}" for field in kind) + ">"
    return _SPARK_NAMES.get(kind, str(kind))


def _version(log: DeltaLog, path: str, options: dict[str, Any]) -> int | None:
    if options.get("versionAsOf") is not None:
        return int(options["versionAsOf"])
    timestamp = options.get("timestampAsOf")
    if timestamp is None:
        return None
    try:
        moment = pd.Timestamp(timestamp)
    except ValueError:
        raise errors.FeatureTableError(
            f"Delta table {path}: '{timestamp}' is no time to pin; give ISO 8601 or a version's number"
        ) from None
    moment = moment.tz_localize("UTC") if moment.tzinfo is None else moment
    version = log.version_at(moment.to_pydatetime())
    if version < 0:
        raise errors.no_version_then(path, timestamp)
    return version
