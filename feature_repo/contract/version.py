"""Which IntentStore this is: its version, and the commit where it runs from a checkout."""

from __future__ import annotations

import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # the checkout, or the folder that a wheel was installed into


def version() -> str:
    """Return the version of the installed distribution; ``pyproject.toml`` is its one place."""
    try:
        return metadata.version("intentstore")
    except metadata.PackageNotFoundError:  # the bare tree on PYTHONPATH, as Spark's workers see it
        return "unknown"


@cache
def code_commit() -> str:
    """Return the commit of the checkout that this code is run from; empty outside of one.

    An installed wheel may lie in a folder of somebody else's checkout, whose commit is not ours.
    """
    if not (ROOT / ".git").exists():
        return ""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):  # no git on this machine
        return ""
    return done.stdout.strip()
