"""Imports Feast in half its time: its run-time type checks, for which it compiles its own classes at every
start, are left out.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any


def import_feast() -> None:
    """Import Feast without its run-time type checks; nothing happens where it is imported already.

    Feast marks a dozen classes with ``typeguard.typechecked``, which rewrites their methods (2.3 of 5.0
    processor seconds of ``import feast``, in every process that reads a feature). Our own definitions are
    checked by mypy; those that others write are checked by ``feast apply``, which imports Feast itself and so
    keeps the checks. typeguard is as it was when this returns.
    """
    if "feast" in sys.modules:
        return
    import typeguard

    checked = typeguard.typechecked
    typeguard.typechecked = _unchanged  # type: ignore[assignment]
    try:
        importlib.import_module("feast")
    finally:
        typeguard.typechecked = checked  # type: ignore[assignment]


def _unchanged(target: Any = None, **options: Any) -> Any:
    identity: Callable[[Any], Any] = lambda decorated: decorated
    return identity if target is None else target
