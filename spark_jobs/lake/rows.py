"""Reads Delta tables of the lake without a JVM: versions, row counts, rows. Writes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from feature_repo.contract import tables as columns

if TYPE_CHECKING:
    import pyarrow.compute as pc

# pyarrow.dataset and .parquet bring pandas, which takes a second: they are imported where rows are read, not
# with the definitions.


class LakeError(RuntimeError):
    """A table that is missing or cannot be read here; the text names it and the remedy."""


@dataclass(frozen=True)
class Snapshot:
    """One version of a Delta table as its log describes it.

    Parameters
    ----------
    path : Path
        Folder of the table.
    version : int
        Version of the newest commit that was applied.
    files : tuple of dict
        The `add` actions in force: path, size, partitionValues, stats.
    partition_columns : tuple of str
        Columns whose values are kept in the log, not in the files.
    written_at : float
        Time of the newest commit, seconds since 1970 UTC.
    """

    path: Path
    version: int
    files: tuple[dict[str, Any], ...]
    partition_columns: tuple[str, ...]
    written_at: float

    @property
    def bytes(self) -> int:
        """Size of the data files in force."""
        return sum(int(file["size"]) for file in self.files)

    def rows(self) -> int:
        """Count rows, by the statistics of the log where it has them, by the file's footer otherwise."""
        import pyarrow.parquet as pq

        total = 0
        for file in self.files:
            stats = file.get("stats")
            known = json.loads(stats).get("numRecords") if stats else None
            total += (
                int(known)
                if known is not None
                else pq.read_metadata(self.path / unquote(file["path"])).num_rows
            )
        return total


def latest_version(path: Path) -> int:
    """Return the newest version in a table's log, -1 where there is no table (one directory listing, no
    reading).
    """
    log = path / "_delta_log"
    if not log.is_dir():
        return -1
    return max((int(entry.stem) for entry in log.glob("*.json") if entry.stem.isdigit()), default=-1)


def snapshot(path: Path, version: int | None = None) -> Snapshot:
    """Replay the log of a table.

    Parameters
    ----------
    path : Path
        Folder of the table.
    version : int, optional
        Version to read; none = the newest.

    Returns
    -------
    Snapshot
        The files in force at that version.

    Raises
    ------
    LakeError
        No table, a version that is gone, or deletion vectors (which only Spark reads).
    """
    newest = latest_version(path)
    if newest < 0:
        raise LakeError(f"no Delta table at '{path}'; materialise the asset '{path.name}' first")
    wanted = newest if version is None else version
    if wanted > newest:
        raise LakeError(
            f"table '{path.name}' has no version {wanted} (newest is {newest}); name an existing one"
        )
    files, partitions, start = _from_checkpoint(path / "_delta_log", wanted)
    written_at = 0.0
    for number in range(start, wanted + 1):
        commit = path / "_delta_log" / f"{number:020d}.json"
        if not commit.exists():
            raise LakeError(
                f"table '{path.name}': commit {number} is gone from its log; materialise it again"
            )
        written_at = commit.stat().st_mtime
        for line in commit.read_text(encoding="utf-8").splitlines():
            action = json.loads(line)
            if "add" in action:
                files[action["add"]["path"]] = action["add"]
            elif "remove" in action:
                files.pop(action["remove"]["path"], None)
            elif "metaData" in action:
                partitions = tuple(action["metaData"].get("partitionColumns", ()))
    if any(file.get("deletionVector") for file in files.values()):
        raise LakeError(
            f"table '{path.name}' has deletion vectors, which only Spark reads; set "
            "delta.enableDeletionVectors=false and run its job again"
        )
    return Snapshot(path, wanted, tuple(files.values()), partitions, written_at)


def _from_checkpoint(log: Path, wanted: int) -> tuple[dict[str, dict[str, Any]], tuple[str, ...], int]:
    import pyarrow.parquet as pq

    found: dict[int, list[Path]] = {}
    for entry in log.glob("*.checkpoint*.parquet"):
        number = int(entry.name.split(".", 1)[0])
        if number <= wanted:
            found.setdefault(number, []).append(entry)
    if not found:
        return {}, (), 0
    newest = max(found)
    files: dict[str, dict[str, Any]] = {}
    partitions: tuple[str, ...] = ()
    for part in found[newest]:
        for row in pq.read_table(part).to_pylist():
            if row.get("add"):
                add = dict(row["add"])
                add["partitionValues"] = dict(add.get("partitionValues") or {})
                files[add["path"]] = add
            elif row.get("metaData"):
                partitions = tuple(row["metaData"].get("partitionColumns") or ())
    # The commit of the checkpoint itself is applied once more: harmless, and it gives the time of writing
    # when nothing follows.
    return files, partitions, newest


def read(
    path: Path,
    names: Sequence[str] | None = None,
    *,
    version: int | None = None,
    filter: pc.Expression | None = None,
) -> pa.Table:
    """Read rows of a table into Arrow.

    Parameters
    ----------
    path : Path
        Folder of the table; its name decides the schema where the contract knows it.
    names : sequence of str, optional
        Columns to read; none = all.
    version : int, optional
        Version to read; none = the newest.
    filter : pyarrow expression, optional
        Rows to keep, pushed down to the files.

    Returns
    -------
    pyarrow.Table
        Rows in no particular order; empty with the contract's schema when the table holds none.

    Raises
    ------
    LakeError
        As `snapshot`.
    """
    state = snapshot(path, version)
    schema = columns.SCHEMAS.get(path.name) or _file_schema(state)
    wanted = list(names) if names is not None else schema.names
    parts = [_read_file(state, file, schema, wanted, filter) for file in state.files]
    target = pa.schema([schema.field(name).with_nullable(True) for name in wanted])
    return pa.concat_tables([part.cast(target) for part in parts]) if parts else target.empty_table()


def _file_schema(state: Snapshot) -> pa.Schema:
    import pyarrow.parquet as pq

    if not state.files:
        return pa.schema([])
    schema = pq.read_schema(state.path / unquote(state.files[0]["path"]))
    for name in state.partition_columns:
        if name not in schema.names:
            schema = schema.append(pa.field(name, pa.string()))
    return schema


def _read_file(
    state: Snapshot,
    file: dict[str, Any],
    schema: pa.Schema,
    wanted: list[str],
    row_filter: pc.Expression | None,
) -> pa.Table:
    import pyarrow.compute as pc
    import pyarrow.dataset as ds
    from pyarrow.fs import LocalFileSystem

    values = file.get("partitionValues") or {}
    guarantee: pc.Expression | None = None
    for name, value in values.items():
        constant = pa.scalar(value, pa.string()).cast(schema.field(name).type)
        part = pc.field(name) == constant if value is not None else pc.field(name).is_null()
        guarantee = part if guarantee is None else guarantee & part
    loose = pa.schema([field.with_nullable(True) for field in schema])
    fragment = ds.ParquetFileFormat().make_fragment(
        str(state.path / unquote(file["path"])), LocalFileSystem(), partition_expression=guarantee
    )
    return fragment.to_table(schema=loose, columns=wanted, filter=row_filter)


def stored_schema(path: Path) -> dict[str, str]:
    """Return the columns that a table really has, name to Delta type as text (``string``, ``timestamp``,
    ``array<float>``).
    """
    import pyarrow.parquet as pq

    log = path / "_delta_log"
    for number in range(latest_version(path), -1, -1):
        commit = log / f"{number:020d}.json"
        if not commit.exists():
            break
        for line in commit.read_text(encoding="utf-8").splitlines():
            if '"metaData"' in line and "metaData" in (action := json.loads(line)):
                return {
                    field["name"]: _type_text(field["type"])
                    for field in json.loads(action["metaData"]["schemaString"])["fields"]
                }
    for checkpoint in sorted(log.glob("*.checkpoint*.parquet"), reverse=True):
        for row in pq.read_table(checkpoint, columns=["metaData"]).to_pylist():
            if row["metaData"]:
                return {
                    field["name"]: _type_text(field["type"])
                    for field in json.loads(row["metaData"]["schemaString"])["fields"]
                }
    return {}


def _type_text(kind: Any) -> str:
    if isinstance(kind, dict):
        return (
            f"array<{_type_text(kind['elementType'])}>"
            if kind.get("type") == "array"
            else str(kind.get("type"))
        )
    return str(kind)
