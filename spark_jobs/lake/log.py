"""What a Delta log says of a table without a JVM: versions, the newest commit and the JSON kept with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.contract.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def exists(spark: SparkSession | None, settings: Settings, table: str) -> bool:
    """Tell whether a table has at least one commit (looks at the log only; `spark` may be None)."""
    return newest_version(settings.table(table)) >= 0


def version(spark: SparkSession | None, settings: Settings, table: str) -> int:
    """Return the newest version of a table, -1 when it does not exist (looks at the log only; `spark` may be
    None).
    """
    return newest_version(settings.table(table))


def newest_version(path: Path) -> int:
    """Return the newest version of the table in a folder, -1 when there is none."""
    names = (entry.stem for entry in (path / "_delta_log").glob("*.json"))
    return max((int(name) for name in names if name.isdigit()), default=-1)


def commit(settings: Settings, table: str) -> dict[str, Any]:
    """Return what Delta recorded of the newest commit of a table (``commitInfo``); empty when there is no
    table.
    """
    path = settings.table(table)
    newest = newest_version(path)
    if newest < 0:
        return {}
    for line in (path / "_delta_log" / f"{newest:020d}.json").read_text(encoding="utf-8").splitlines():
        action = json.loads(line)
        if "commitInfo" in action:
            recorded: dict[str, Any] = action["commitInfo"]
            return recorded
    return {}


def metadata(settings: Settings, table: str) -> dict[str, Any]:
    """Return the JSON that the newest commit of a table was given: of which input versions, under which rules
    it was made.
    """
    text = commit(settings, table).get("userMetadata")
    kept: dict[str, Any] = json.loads(text) if text else {}
    return kept
