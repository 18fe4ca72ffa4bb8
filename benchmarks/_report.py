"""Shared by the benchmarks: a table on the terminal and a JSON file with machine, versions, commit and
date.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "pyspark",
    "delta-spark",
    "feast",
    "dagster",
    "kafka-python",
    "torch",
    "transformers",
    "numpy",
    "pyarrow",
    "redis",
    "rocksdict",
)


def spread(values: Sequence[float]) -> str:
    """Median, lowest and highest of repeated measurements, as text."""
    return f"{statistics.median(values):.4g} [{min(values):.4g}, {max(values):.4g}]"


def write_result(
    name: str, rows: Sequence[Mapping[str, Any]], extra: Mapping[str, Any] | None = None
) -> Path:
    """Print the rows as a table and write ``results/<name>.json``."""
    show(name, rows)
    body = {"benchmark": name, **conditions(), **(extra or {}), "rows": list(rows)}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(body, indent=1, default=str) + "\n")
    return path


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as a table."""
    if not rows:
        return
    table = Table(title=title)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(_cell(row.get(column, "")) for column in columns))
    Console(width=max(120, Console().width)).print(table)


def conditions() -> dict[str, Any]:
    """Machine, load, versions, commit and date of a measurement."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        check=False,
    ).stdout.strip()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit or "unknown",
        "machine": {
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "versions": {package: version(package) for package in PACKAGES},
    }


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
