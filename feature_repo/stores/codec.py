"""One feature row as one packed value: header, null bits, 8-byte slots, heap. Knows nothing of Feast, Spark or a server.

Layout, little-endian::

    0  4s magic   4 u8 flags (1 = deleted)   8  8s schema hash   16 i64 event time   24 i64 created   (microseconds UTC)
    32 null bitmap, whole 8-byte words; bit i = field i is null
    .. one 8-byte slot a field: the scalar itself, or u32 offset + u32 count into the heap
    .. heap: strings, lists; number lists are 8-aligned, so that numpy reads them in place
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np

MAGIC = b"ISP1"
HEADER = struct.Struct("<4sB3x8sqq")
NO_CREATED = -(2**63)  # rows without a creation time lose against any row that has one
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_DELETED = 1

# kind -> (struct code, numpy dtype inside the slot)
SCALARS: dict[str, tuple[str, str]] = {
    "i64": ("q", "<i8"), "i32": ("i4x", "<i4"), "f64": ("d", "<f8"), "f32": ("f4x", "<f4"), "bool": ("?7x", "?"), "time": ("q", "<i8"),
}  # fmt: skip
LISTS: dict[str, str] = {
    "list<i64>": "<i8", "list<i32>": "<i4", "list<f64>": "<f8", "list<f32>": "<f4", "list<bool>": "?", "list<time>": "<i8",
}  # fmt: skip
TEXTS = ("str", "bytes", "proto")  # proto = a serialised Feast value of a type without its own kind
TEXT_LISTS = ("list<str>", "list<bytes>")
KINDS = (*SCALARS, *LISTS, *TEXTS, *TEXT_LISTS)


class PackedValueError(ValueError):
    """A row that does not fit its schema, or bytes that are no packed value; names view, field and remedy."""


class PackedSchemaError(PackedValueError):
    """A stored value was written by another version of its view."""


@dataclass(frozen=True)
class Header:
    """Times and identity of one packed value; times in microseconds UTC."""

    deleted: bool
    schema_hash: bytes
    event_us: int
    created_us: int


@dataclass(frozen=True)
class PackedSchema:
    """Names and kinds of one view's features, in name order, so that the order of a definition means nothing.

    Parameters
    ----------
    view : str
        Feature view's name.
    fields : tuple of (name, kind)
        Any order; `kind` is one of `KINDS`.

    Raises
    ------
    PackedValueError
        Unknown kind or a name that occurs twice.

    Examples
    --------
    >>> schema = PackedSchema("v", (("n", "i64"), ("emb", "list<f32>")))
    >>> value = schema.encode({"n": 3, "emb": [1.0, 2.0]}, event_us=5, created_us=6)
    >>> row = schema.decode(value)
    >>> row["n"], row["emb"].tolist(), header(value).event_us
    (3, [1.0, 2.0], 5)
    """

    view: str
    fields: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.fields))
        for name, kind in ordered:
            if kind not in KINDS:
                raise PackedValueError(f"view '{self.view}': feature '{name}' has kind '{kind}'; expected one of {', '.join(KINDS)}")
        if len({name for name, _ in ordered}) != len(ordered):
            raise PackedValueError(f"view '{self.view}': a feature name occurs twice in {[name for name, _ in ordered]}; names must differ")
        object.__setattr__(self, "fields", ordered)

    @cached_property
    def hash(self) -> bytes:
        """Eight bytes that change with the view's name and with any feature's name or kind."""
        text = "\n".join([self.view, *(f"{name}\t{kind}" for name, kind in self.fields)])
        return blake2b(text.encode(), digest_size=8).digest()

    @cached_property
    def index(self) -> dict[str, int]:
        """Feature name to slot number."""
        return {name: number for number, (name, _) in enumerate(self.fields)}

    @cached_property
    def words(self) -> int:
        """Number of 8-byte words of the null bitmap."""
        return (len(self.fields) + 63) // 64

    @cached_property
    def slots_at(self) -> int:
        """Byte offset of the first slot."""
        return HEADER.size + 8 * self.words

    @cached_property
    def heap_at(self) -> int:
        """Byte offset of the heap."""
        return self.slots_at + 8 * len(self.fields)

    @cached_property
    def _pack(self) -> struct.Struct:
        codes = "".join(SCALARS[kind][0] if kind in SCALARS else "II" for _, kind in self.fields)
        return struct.Struct(f"{HEADER.format}{self.words}Q{codes}")

    def encode(self, values: Mapping[str, Any], event_us: int, created_us: int | None = None) -> bytes:
        """Pack one row.

        Parameters
        ----------
        values : mapping
            Every feature of the view by name; ``None`` = null. Times as aware datetime or integer microseconds.
        event_us, created_us : int
            Microseconds UTC since 1970; no `created_us` loses against any at the same event time.

        Returns
        -------
        bytes

        Raises
        ------
        PackedValueError
            Missing or unknown feature, or a value of the wrong type.
        """
        if len(values) != len(self.fields) or any(name not in values for name, _ in self.fields):
            self._refuse_names(values)
        nulls, arguments, heap, end = 0, [], [], self.heap_at
        for number, (name, kind) in enumerate(self.fields):
            value = values[name]
            if value is None:
                nulls |= 1 << number
                arguments.extend((0,) if kind in SCALARS else (0, 0))
            elif kind in SCALARS:
                arguments.append(microseconds(value) if kind == "time" else value)
            else:
                try:
                    blob, count = _heap_bytes(kind, value)
                except (TypeError, ValueError, AttributeError) as error:
                    raise PackedValueError(f"view '{self.view}': feature '{name}' = {value!r:.80} is no {kind} ({error}); correct the writer") from None
                arguments.extend((end, count))
                pad = -len(blob) % 8
                heap.append(blob + b"\0" * pad)
                end += len(blob) + pad
        words = [(nulls >> (64 * word)) & 0xFFFF_FFFF_FFFF_FFFF for word in range(self.words)]
        created = NO_CREATED if created_us is None else created_us
        try:
            head = self._pack.pack(MAGIC, 0, self.hash, event_us, created, *words, *arguments)
        except (struct.error, TypeError, OverflowError) as error:
            raise PackedValueError(f"view '{self.view}': a value of {dict(values)!r:.200} does not fit its type ({error}); correct the writer") from None
        return b"".join([head, *heap])

    def tombstone(self, event_us: int, created_us: int | None = None) -> bytes:
        """Pack the statement that the entity has no row from `event_us` on."""
        return HEADER.pack(MAGIC, _DELETED, self.hash, event_us, NO_CREATED if created_us is None else created_us)

    def check(self, value: bytes) -> Header:
        """Read the header of a value that must be of this very schema.

        Raises
        ------
        PackedSchemaError
            When another version of the view wrote it.
        """
        found = header(value)
        if found.schema_hash != self.hash:
            raise PackedSchemaError(
                f"view '{self.view}': a stored value has schema {found.schema_hash.hex()}, this definition has {self.hash.hex()}; "
                "materialise the view again (python -m feature_repo materialize --full) or read with the definition that wrote it"
            )
        return found

    def decode(self, value: bytes, names: Iterable[str] | None = None) -> dict[str, Any]:
        """Unpack one row.

        Parameters
        ----------
        value : bytes
            What `encode` gave; number lists come back as read-only numpy views into it, without a copy.
        names : iterable of str, optional
            Features wanted; none = all.

        Returns
        -------
        dict
            Name to value; nulls are ``None``, times are integer microseconds.

        Raises
        ------
        PackedValueError
            Not a packed value, another schema, or an unknown name.
        """
        self.check(value)
        nulls = int.from_bytes(value[HEADER.size : self.slots_at], "little")
        result: dict[str, Any] = {}
        for name in self.index if names is None else names:
            try:
                number = self.index[name]
            except KeyError:
                raise PackedValueError(f"view '{self.view}' has no feature '{name}'; it has {', '.join(self.index)}") from None
            result[name] = None if nulls >> number & 1 else _read(value, self.fields[number][1], self.slots_at + 8 * number)
        return result

    def _refuse_names(self, values: Mapping[str, Any]) -> None:
        missing = [name for name, _ in self.fields if name not in values]
        unknown = [name for name in values if name not in self.index]
        raise PackedValueError(f"view '{self.view}': row lacks {missing} and has unknown {unknown}; write every feature of the view, nothing else")


def header(value: bytes) -> Header:
    """Read the header of a packed value.

    Raises
    ------
    PackedValueError
        When the bytes are no packed value.
    """
    if len(value) < HEADER.size or value[:4] != MAGIC:
        raise PackedValueError(f"{len(value)} bytes starting {value[:8]!r} are no packed feature row; another program writes under these keys")
    _, flags, schema_hash, event_us, created_us = HEADER.unpack_from(value)
    return Header(bool(flags & _DELETED), schema_hash, event_us, created_us)


def microseconds(value: datetime | int) -> int:
    """Turn an aware datetime (or microseconds already) into microseconds UTC, without passing through a float.

    Raises
    ------
    PackedValueError
        For a datetime without a time zone.

    Examples
    --------
    >>> microseconds(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=timezone.utc))
    1000005
    """
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise PackedValueError(f"time {value.isoformat()} has no time zone; give an aware datetime, e.g. with tzinfo=timezone.utc")
        return (value - EPOCH) // _MICROSECOND
    return int(value)


def entity_key(join_keys: Mapping[str, str | int], narrow: frozenset[str] = frozenset()) -> bytes:
    """Serialise an entity as Feast's key format 3 does (a test holds the two equal).

    Parameters
    ----------
    join_keys : mapping
        Join key name to value, string or integer.
    narrow : frozenset of str
        Join keys that are declared as 32-bit integers; others are 64-bit.

    Examples
    --------
    >>> entity_key({"item_id": "7"}).hex()
    '010000000200000007000000...'
    """
    names = sorted(join_keys)
    parts = [struct.pack("<I", len(names))]
    for name in names:
        raw = name.encode()
        parts.append(struct.pack("<II", 2, len(raw)) + raw)  # 2 = Feast's ValueType.STRING
    for name in names:
        value = join_keys[name]
        if isinstance(value, str):
            raw = value.encode()
            parts.append(struct.pack("<II", 2, len(raw)) + raw)
        elif name in narrow:
            parts.append(struct.pack("<IIi", 3, 4, value))  # 3 = ValueType.INT32
        else:
            parts.append(struct.pack("<IIq", 4, 8, value))  # 4 = ValueType.INT64
    return b"".join(parts)


def storage_key(project: str, view: str, entity: bytes) -> bytes:
    """Name of one value in the store; the braces put all views of one entity on one cluster node."""
    return b"feast:%b:%b:{%b}" % (project.encode(), view.encode(), entity)


def _heap_bytes(kind: str, value: Any) -> tuple[bytes, int]:
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


def _read(value: bytes, kind: str, slot: int) -> Any:
    if kind in SCALARS:
        return struct.unpack_from("<" + SCALARS[kind][0], value, slot)[0]
    start, count = struct.unpack_from("<II", value, slot)
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
