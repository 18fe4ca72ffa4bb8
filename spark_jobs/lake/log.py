"""The log of a Delta table, read without a JVM: versions, what a commit was given, files, schema, rows.
Writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from spark_jobs.lake.snapshot import Snapshot

if TYPE_CHECKING:
    import pyarrow.compute as pc


# Marks of newer writers that this reader knows; deletion vectors are looked for file by file.
_KNOWN_FEATURES = {"columnMapping", "deletionVectors", "timestampNtz", "vacuumProtocolCheck"}


class LakeError(RuntimeError):
    """A table that is missing or cannot be read here; the text names it and the remedy."""


class OnlySparkReadsError(LakeError):
    """A table of a form that this reader does not know; the text says which."""


@dataclass
class _State:
    """What the actions of a log add up to."""

    table: str
    files: dict[str, dict[str, Any]] = field(default_factory=dict)  # path to its `add` action
    partition_columns: tuple[str, ...] = ()
    schema_string: str = ""
    next_commit: int = 0

    def apply(self, action: dict[str, Any]) -> None:
        """Take one action of a commit or a checkpoint into account."""
        if added := action.get("add"):
            self.files[added["path"]] = {
                **added,
                "partitionValues": dict(added.get("partitionValues") or {}),  # a checkpoint has pairs
            }
        elif removed := action.get("remove"):
            self.files.pop(removed["path"], None)
        elif meta := action.get("metaData"):
            self.partition_columns = tuple(meta.get("partitionColumns") or ())
            self.schema_string = meta.get("schemaString") or ""
            mapping = dict(meta.get("configuration") or {}).get("delta.columnMapping.mode", "none")
            if mapping != "none":
                raise OnlySparkReadsError(
                    f"table '{self.table}' maps its columns by {mapping}, which only Spark reads"
                )
        elif protocol := action.get("protocol"):
            unknown = set(protocol.get("readerFeatures") or ()) - _KNOWN_FEATURES
            if unknown or protocol["minReaderVersion"] > 3:
                names = sorted(unknown) or [f"reader version {protocol['minReaderVersion']}"]
                raise OnlySparkReadsError(
                    f"table '{self.table}' uses {', '.join(names)}, which only Spark reads"
                )


@dataclass(frozen=True)
class DeltaLog:
    """The log of the table in a folder; the folder need not exist.

    Parameters
    ----------
    path : Path
        Folder of the table.
    """

    path: Path

    def version(self) -> int:
        """Return the newest version, -1 where there is no table (one directory listing, no reading)."""
        names = (entry.stem for entry in self._folder.glob("*.json"))
        return max((int(name) for name in names if name.isdigit()), default=-1)

    def exists(self) -> bool:
        """Tell whether the table has at least one commit."""
        return self.version() >= 0

    def commit(self) -> dict[str, Any]:
        """Return what Delta recorded of the newest commit (``commitInfo``); empty when there is no table."""
        newest = self.version()
        if newest < 0:
            return {}
        found = (action["commitInfo"] for action in self._actions(newest) if "commitInfo" in action)
        return dict(next(found, {}))

    def metadata(self) -> dict[str, Any]:
        """Return the JSON that the newest commit was given: of which input versions, under which rules it was
        made; empty when it got none.
        """
        text = self.commit().get("userMetadata")
        return dict(json.loads(text)) if text else {}

    def snapshot(self, version: int | None = None) -> Snapshot:
        """Replay the log.

        Parameters
        ----------
        version : int, optional
            Version to read; none = the newest.

        Returns
        -------
        Snapshot
            The files in force at that version.

        Raises
        ------
        LakeError
            No table, or a version that is gone.
        OnlySparkReadsError
            Deletion vectors, mapped columns, or a feature of the format that this reader does not know.
        """
        newest, name = self.version(), self.path.name
        if newest < 0:
            raise LakeError(f"no Delta table at '{self.path}'; materialise the asset '{name}' first")
        wanted = newest if version is None else version
        if not 0 <= wanted <= newest:
            raise LakeError(f"table '{name}' has no version {wanted} (newest is {newest}); name one of these")
        state = self._from_checkpoint(wanted)
        written_at = 0.0
        for number in range(state.next_commit, wanted + 1):
            if not self._file(number).exists():
                raise LakeError(f"table '{name}': commit {number} is gone from its log; materialise it again")
            written_at = self._file(number).stat().st_mtime
            for action in self._actions(number):
                state.apply(action)
        if any(file.get("deletionVector") for file in state.files.values()):
            raise OnlySparkReadsError(
                f"table '{name}' has deletion vectors, which only Spark reads; set "
                "delta.enableDeletionVectors=false and run its job again"
            )
        return Snapshot(
            self.path,
            wanted,
            tuple(state.files.values()),
            state.partition_columns,
            written_at,
            state.schema_string,
        )

    def version_at(self, moment: datetime) -> int:
        """Return the newest version written up to a time, -1 where there was none.

        By the times of the log's files, as Delta itself takes them: milliseconds, never falling from one
        version to the next.
        """
        newest, asked = -1, int(moment.timestamp() * 1000)
        times = {int(f.stem): f.stat().st_mtime_ns for f in self._folder.glob("*.json") if f.stem.isdigit()}
        last = -1
        for number in sorted(times):
            last = max(times[number] // 1_000_000, last + 1)
            if last <= asked:
                newest = number
        return newest

    def read(
        self,
        names: Sequence[str] | None = None,
        *,
        version: int | None = None,
        filter: pc.Expression | None = None,
    ) -> pa.Table:
        """Read rows into Arrow; `version` as of `snapshot`, the rest as `Snapshot.read`."""
        return self.snapshot(version).read(names, filter)

    def stored_schema(self) -> dict[str, str]:
        """Return the columns that the table really has, name to Delta type as text (``string``,
        ``timestamp``, ``array<float>``); empty when there is no table.
        """
        for number in range(self.version(), -1, -1):
            if not self._file(number).exists():
                break
            for action in self._actions(number, having='"metaData"'):
                if "metaData" in action:
                    return _columns(action["metaData"])
        for checkpoint in sorted(self._folder.glob("*.checkpoint*.parquet"), reverse=True):
            for action in _rows_of(checkpoint, ["metaData"]):
                if action["metaData"]:
                    return _columns(action["metaData"])
        return {}

    @property
    def _folder(self) -> Path:
        return self.path / "_delta_log"

    def _file(self, version: int) -> Path:
        return self._folder / f"{version:020d}.json"

    def _actions(self, version: int, having: str = "") -> Iterator[dict[str, Any]]:
        for line in self._file(version).read_text(encoding="utf-8").splitlines():
            if having in line:
                yield json.loads(line)

    def _from_checkpoint(self, wanted: int) -> _State:
        found: dict[int, list[Path]] = {}
        for entry in self._folder.glob("*.checkpoint*.parquet"):
            number = int(entry.name.split(".", 1)[0])
            if number <= wanted:
                found.setdefault(number, []).append(entry)
        state = _State(self.path.name)
        complete = {number: parts for number, parts in found.items() if _is_complete(parts)}
        if complete:
            # The commit of the checkpoint itself is applied once more: harmless, and it gives the time of
            # writing when nothing follows.
            state.next_commit = max(complete)
            for part in complete[state.next_commit]:
                for action in _rows_of(part):
                    if not action.get("remove"):
                        state.apply(action)
        return state


def _is_complete(parts: list[Path]) -> bool:
    """Tell whether all parts of a checkpoint are there, ``N.checkpoint.PART.PARTS.parquet`` each."""
    of = parts[0].name.split(".")
    return len(of) < 5 or len(parts) == int(of[3])


def _rows_of(checkpoint: Path, columns: list[str] | None = None) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(checkpoint, columns=columns).to_pylist()
    return rows


def _columns(meta: dict[str, Any]) -> dict[str, str]:
    fields = json.loads(meta["schemaString"])["fields"]
    return {entry["name"]: _type_text(entry["type"]) for entry in fields}


def _type_text(kind: Any) -> str:
    if not isinstance(kind, dict):
        return str(kind)
    if kind.get("type") == "array":
        return f"array<{_type_text(kind['elementType'])}>"
    return str(kind.get("type"))
