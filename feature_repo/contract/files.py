"""Files between processes: written whole or not at all, so that a reader, and whoever comes after a kill,
finds the old one or the new one; and locks, which let one process in at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feature_repo.contract.settings import Settings

log = logging.getLogger("intentstore.locks")


@contextlib.contextmanager
def replacing(file: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give a file to write beside another one, and put it in that one's place when the block ends well.

    Parameters
    ----------
    file : Path
        What is replaced; its folder is made where it is missing.
    durable : bool
        Whether it must outlive a power cut too, not only this process: it is then on the disk before it has
        its name.

    Yields
    ------
    Path
        In the same folder, hidden, named after this process, with an ending that no reader looks for; removed
        when the block raises.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "new" / "a.json"
    >>> with replacing(target) as part:
    ...     _ = part.write_text("{}", encoding="utf-8")
    >>> target.read_text(encoding="utf-8"), len(list(target.parent.iterdir()))
    ('{}', 1)
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        yield part
        if durable:
            with part.open("rb") as handle:
                os.fsync(handle.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def replace_file(file: Path, content: str | bytes) -> None:
    """Write a file whole or not at all; text as UTF-8."""
    with replacing(file) as part:
        part.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


@contextlib.contextmanager
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
