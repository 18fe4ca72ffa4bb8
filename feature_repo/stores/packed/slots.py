"""Kinds of packed values and how each lies in its slot or in the heap. Knows single fields, not rows."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# kind -> (struct code, numpy dtype inside the slot)
SCALARS: dict[str, tuple[str, str]] = {
    "i64": ("q", "<i8"),
    "i32": ("i4x", "<i4"),
    "f64": ("d", "<f8"),
    "f32": ("f4x", "<f4"),
    "bool": ("?7x", "?"),
    "time": ("q", "<i8"),
}
LISTS: dict[str, str] = {
    "list<i64>": "<i8",
    "list<i32>": "<i4",
    "list<f64>": "<f8",
    "list<f32>": "<f4",
    "list<bool>": "?",
    "list<time>": "<i8",
}
TEXTS = ("str", "bytes", "proto")  # proto = a serialised Feast value of a type without its own kind
TEXT_LISTS = ("list<str>", "list<bytes>")
KINDS = (*SCALARS, *LISTS, *TEXTS, *TEXT_LISTS)


class PackedValueError(ValueError):
    """A row that does not fit its schema, or bytes that are no packed value; names view, field and remedy."""


def microseconds(value: datetime | int) -> int:
    """Turn an aware datetime (or microseconds already) into microseconds UTC, without passing through a
    float.

    Raises
    ------
    PackedValueError
        For a datetime without a time zone.

    Examples
    --------
    >>> microseconds(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC))
    1000005
    """
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise PackedValueError(
                f"time {value.isoformat()} has no time zone; give an aware datetime, e.g. with "
                "tzinfo=timezone.utc"
            )
        return (value - EPOCH) // _MICROSECOND
    return int(value)


def heap_bytes(kind: str, value: Any) -> tuple[bytes, int]:
    """Pack one list or text for the heap: bytes, and the count that its slot holds."""
    if kind in LISTS:
        if kind == "list<time>":
            value = [microseconds(moment) for moment in value]
        array = np.ascontiguousarray(value, dtype=LISTS[kind])
        if array.ndim != 1:
            raise ValueError(f"{array.ndim} dimensions")
        return array.tobytes(), array.size
    if kind in TEXT_LISTS:
        parts: Sequence[bytes] = [part.encode() for part in value] if kind == "list<str>" else list(value)
        return struct.pack(f"<{len(parts)}I", *map(len, parts)) + b"".join(parts), len(parts)
    blob = value.encode() if kind == "str" else bytes(value)
    return blob, len(blob)


def read_slot(value: bytes, kind: str, slot: int) -> Any:
    """Read the field whose slot starts at byte `slot` of a packed row."""
    if kind in SCALARS:
        return struct.unpack_from("<" + SCALARS[kind][0], value, slot)[0]
    return read_heap(value, kind, *struct.unpack_from("<II", value, slot))


def read_heap(value: bytes, kind: str, start: int, count: int) -> Any:
    """Read one list or text from byte `start` of a packed row; number lists are views into it."""
    if kind in LISTS:
        return np.frombuffer(value, LISTS[kind], count, start)
    if kind in TEXT_LISTS:
        lengths = struct.unpack_from(f"<{count}I", value, start)
        parts, at = [], start + 4 * count
        for length in lengths:
            parts.append(value[at : at + length])
            at += length
        return [part.decode() for part in parts] if kind == "list<str>" else parts
    blob = value[start : start + count]
    return blob.decode() if kind == "str" else blob
