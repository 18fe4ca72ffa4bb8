"""Where compiled kernels are kept. Imports neither numba nor a kernel: an entry point says it first."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PLACE = "NUMBA_CACHE_DIR"  # numba reads it; processes started from here inherit it


def keep_under(home: Path) -> Path:
    """Name the folder of compiled kernels for this process and those it starts, unless the environment names
    one already; for entry points, before the first kernel runs.

    Parameters
    ----------
    home : Path
        Folder of run-time files.

    Returns
    -------
    Path
        A folder of this version's kernels: another version of the sources or of numba has another one. Other
        processors find no code of theirs in it and add it.
    """
    return Path(os.environ.setdefault(PLACE, str(home / "kernels" / digest())))


@cache
def digest() -> str:
    """Name this version of all kernels: machine code holds what a kernel calls in other files, too."""
    found = hashlib.sha256(_numba().encode())
    for source in sorted(Path(__file__).parents[1].glob("**/kernels/*.py")):
        found.update(source.read_bytes())
    return found.hexdigest()[:16]


def _numba() -> str:
    """Version of numba; empty where an installation without the live half has none, and compiles nothing."""
    try:
        return version("numba")
    except PackageNotFoundError:
        return ""
