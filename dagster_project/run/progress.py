"""Lines on how far Spark is, for whoever watches a run: tasks of the running stages, and the end of Spark's
own log when a step fails.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

EVERY_SECONDS = 10.0  # shorter steps need no progress
LOG_LINES = 15
LOG_BYTES = 8192


class Progress:
    """Tells regularly which Spark stages run and how many of their tasks are done, until the ``with`` block
    ends.

    Parameters
    ----------
    name : str
        What runs, in front of each line.
    session : callable
        Gives the Spark session, or none while there is none.
    say : callable
        Takes one line.
    every_seconds : float
        Pause between the lines; nothing is said when nothing runs or nothing has moved.
    """

    def __init__(
        self,
        name: str,
        session: Callable[[], SparkSession | None],
        say: Callable[[str], None],
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        self._name, self._session, self._say, self._every = name, session, say, every_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="spark-progress", daemon=True)

    def __enter__(self) -> Progress:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; the session may be stopped after this."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        last = ""
        while not self._over.wait(self._every):
            session = self._session()
            line = stages(session) if session is not None else ""
            if line and line != last:
                self._say(f"{self._name}: {line}")
                last = line


def stages(session: SparkSession) -> str:
    """Return the running stages of a session in words; empty when none runs."""
    from py4j.protocol import Py4JError

    try:
        tracker = session.sparkContext.statusTracker()
        known = [
            found
            for stage in tracker.getActiveStageIds()
            if (found := tracker.getStageInfo(stage)) is not None
        ]
    except (Py4JError, OSError):
        return ""  # the JVM is ending: who waits for the step learns of it, this only tells of progress
    return ", ".join(f"stage {one.stageId}: {one.numCompletedTasks} of {one.numTasks} tasks" for one in known)


def end_of_log(home: Path) -> str:
    """Return the last lines that the JVM wrote to its own log; empty when it wrote nothing.

    Parameters
    ----------
    home : Path
        Of the settings.

    Returns
    -------
    str
        At most 15 lines.
    """
    file = home / "spark" / "driver.log"
    if not file.exists():
        return ""
    text = file.read_bytes()[-LOG_BYTES:].decode(errors="replace")
    return "\n".join(text.splitlines()[-LOG_LINES:])
