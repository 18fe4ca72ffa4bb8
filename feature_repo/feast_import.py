"""Imports Feast in half its time: its run-time type checks, for which it parses and compiles its own classes at every start, are left out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class WithoutRuntimeChecks(MetaPathFinder):
    """Asked for every module that is imported; acts once, just before Feast itself is.

    Feast marks a dozen classes with ``typeguard.typechecked``, which rewrites their methods (2.3 of 5.0 processor seconds of ``import feast``,
    in every process that reads a feature). Our own definitions are checked by mypy; those that others write are checked by ``feast apply``, which
    imports Feast first and is left as it is.
    """

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find nothing, ever; on the way make typeguard's decorator return what it is given."""
        if fullname == "feast":
            sys.meta_path.remove(self)
            import typeguard

            typeguard.typechecked = _unchanged  # type: ignore[assignment]
        return None


def _unchanged(target: Any = None, **options: Any) -> Any:
    identity: Callable[[Any], Any] = lambda found: found
    return identity if target is None else target


def install() -> None:
    """Leave the checks out of this process, unless Feast is imported already."""
    if "feast" not in sys.modules and not any(isinstance(finder, WithoutRuntimeChecks) for finder in sys.meta_path):
        sys.meta_path.insert(0, WithoutRuntimeChecks())
