"""One process at a time, across the processes of a machine."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def only_one(lock_file: Path) -> Iterator[None]:
    """Let one process into the block and the others wait; the kernel frees the lock when its holder dies.

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
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
