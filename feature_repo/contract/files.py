"""Files that are written whole or not at all: a reader, and whoever comes after a kill, finds the old one or
the new one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


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
