"""Which items are not available: one small file that `ingest` writes and every scoring process follows. Knows
nothing of models.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from pathlib import Path

from feature_repo.contract.files import replace_file
from feature_repo.contract.settings import Settings

LOOK_SECONDS = 0.5  # a change is in the answers after this; one stat call
log = logging.getLogger("intentstore.model.withdrawn")


def file_of(settings: Settings) -> Path:
    """Return the file of the items that are not available."""
    return settings.home / "catalogue" / "withdrawn.json"


def write(settings: Settings, ids: Iterable[str]) -> bool:
    """Replace the file at once where it says something else; returns whether it did."""
    file, text = file_of(settings), json.dumps({"withdrawn": sorted(set(ids))}, ensure_ascii=False) + "\n"
    try:
        if file.read_text(encoding="utf-8") == text:
            return False
    except FileNotFoundError:
        if not any(ids):
            return False
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_file(file, text)
    return True


class Withdrawn:
    """Follows the file; one object a process or thread.

    Parameters
    ----------
    file : Path
        Need not exist: then everything is available.
    seconds : float
        Between two looks.
    """

    def __init__(self, file: Path, seconds: float = LOOK_SECONDS) -> None:
        self._file, self._seconds = file, seconds
        self._stamp: tuple[int, int] | None = None
        self._look_at, self._ids = 0.0, frozenset[str]()

    def ids(self) -> frozenset[str]:
        """Return the items that are not available; the very same object while nothing changed. A file that
        cannot be read leaves what was known, and is said once.
        """
        now = time.monotonic()
        if now < self._look_at:
            return self._ids
        self._look_at = now + self._seconds
        try:
            found = self._file.stat()
        except FileNotFoundError:
            self._stamp, self._ids = None, frozenset() if self._ids else self._ids
            return self._ids
        stamp = (found.st_mtime_ns, found.st_ino)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._ids = frozenset(json.loads(self._file.read_text(encoding="utf-8"))["withdrawn"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning(
                    "%s cannot be read (%s); availability stays as it was, run `python -m spark_jobs ingest`",
                    self._file,
                    error,
                )
        return self._ids
