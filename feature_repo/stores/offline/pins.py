"""Which table and version a source means: its folder, and the versions that a block pins. Opens nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from feast.data_source import DataSource

_pins: ContextVar[Mapping[str, int | str] | None] = ContextVar("pins", default=None)


@contextmanager
def pinned(versions: Mapping[str, int | str]) -> Iterator[None]:
    """Pin source tables for the historical reads made in a ``with`` block.

    Parameters
    ----------
    versions : mapping
        Source name to Delta version (int) or timestamp (text that Delta reads, e.g.
        ``2026-01-31T12:00:00Z``).
    """
    token = _pins.set({**(_pins.get() or {}), **versions})
    try:
        yield
    finally:
        _pins.reset(token)


def is_delta(source: DataSource) -> bool:
    """Tell whether a source is a Delta table by its path."""
    kind = getattr(source, "table_format", None)
    return bool(getattr(source, "path", None) and kind is not None and kind.format_type.value == "delta")


def wanted_version(source: DataSource) -> dict[str, Any]:
    """Return Delta's reading options of a source: ``versionAsOf`` or ``timestampAsOf`` of the pins, else of
    its definition; empty = the present version.
    """
    pin = (_pins.get() or {}).get(source.name)
    if pin is None:
        return dict(source.table_format.properties)
    return {"versionAsOf": pin} if isinstance(pin, int) else {"timestampAsOf": pin}


def location(path: str, lake: str | None, repo: Path | None) -> str:
    """Where a table lies: a relative path is a folder of the lake, the lake itself may be relative to the
    repository.

    Examples
    --------
    >>> location("t", "/data/lake", None)
    '/data/lake/t'
    """
    if "://" in path or path.startswith("/") or lake is None:
        return path
    base = lake if "://" in lake or lake.startswith("/") or repo is None else str((repo / lake).resolve())
    return f"{base.rstrip('/')}/{path}"
