"""Answers that were paid for but not committed yet: one JSON line each, written at once, so that a killed run loses none."""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

logger = logging.getLogger("intentstore.intents")


class Spool:
    """Appends rows to a file of its own.

    Parameters
    ----------
    folder : Path
        Shared by all workers of a run; made when missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        self._stream = self._path.open("a", encoding="utf-8")

    def append(self, row: dict[str, Any]) -> None:
        """Write one row through to the operating system: it outlives this process, not the machine."""
        self._stream.write(json.dumps(row, ensure_ascii=True) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the file; it stays until its rows are committed."""
        self._stream.close()


def spooled(folder: Path) -> tuple[list[dict[str, Any]], list[Path]]:
    """Return every whole row left in a spool, and the files they are in.

    Returns
    -------
    rows, files
        A last line cut off by a kill is left out: its call did not finish.
    """
    files = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
    return [row for file in files for row in _rows(file)], files


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            logger.info("intents: one answer was cut off by a kill in %s; its call is made again", file.name)
            continue
        if isinstance(row, dict):
            yield row


def clear(files: list[Path]) -> None:
    """Remove spool files whose rows are committed."""
    for file in files:
        file.unlink(missing_ok=True)
