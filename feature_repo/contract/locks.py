"""One process at a time, across the processes of a machine."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from feature_repo.contract.settings import Settings

log = logging.getLogger("intentstore.locks")


@contextmanager
def only_one(lock_file: Path) -> Iterator[None]:
    """Let one process into the block; the others say so and wait. The kernel frees the lock when its holder
    dies.

    Parameters
    ----------
    lock_file : Path
        Made, with its folder, when it is missing; never removed, because a waiting process holds it open.

    Raises
    ------
    OSError
        The file cannot be made.
    """
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another process holds '%s'; waiting until it is done", lock_file)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def only_writer(settings: Settings, table: str) -> AbstractContextManager[None]:
    """Keep other processes of this machine from working on a table for the length of the block.

    Delta lets two writers append to a table that both found empty, and its rows would be there twice; so jobs
    read and write a table as its only writer.

    Parameters
    ----------
    settings : Settings
        Its `home` holds the lock.
    table : str
        Name of the table.
    """
    return only_one(settings.home / "spark" / "locks" / f"{table}.write")
