"""One feature row as one packed value: header, null bits, 8-byte slots, heap. Knows nothing of Feast, Spark
or a server.

Layout, little-endian::

    0  4s magic   4 u8 flags (1 = deleted)   8  8s schema hash   16 i64 event time   24 i64 created
       (microseconds UTC)
    32 null bitmap, whole 8-byte words; bit i = field i is null
    .. one 8-byte slot a field: the scalar itself, or u32 offset + u32 count into the heap
    .. heap: strings, lists; number lists are 8-aligned, so that numpy reads them in place
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np

from feature_repo.stores.packed.slots import (
    KINDS,
    SCALARS,
    PackedValueError,
    heap_bytes,
    microseconds,
    read_slot,
)

MAGIC = b"ISP1"
HEADER = struct.Struct("<4sB3x8sqq")
HEAD = np.dtype(
    {
        "names": ["magic", "deleted", "schema", "event", "created"],
        "formats": ["S4", "u1", "<i8", "<i8", "<i8"],
        "offsets": [0, 4, 8, 16, 24],
        "itemsize": HEADER.size,
    }
)
NO_CREATED = -(2**63)  # rows without a creation time lose against any row that has one
_DELETED = 1


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
                raise PackedValueError(
                    f"view '{self.view}': feature '{name}' has kind '{kind}'; expected one of "
                    f"{', '.join(KINDS)}"
                )
        if len({name for name, _ in ordered}) != len(ordered):
            raise PackedValueError(
                f"view '{self.view}': a feature name occurs twice in {[name for name, _ in ordered]}; names "
                "must differ"
            )
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
    def slot_dtype(self) -> np.dtype[Any]:
        """Null words and slots as one numpy record, for reading many rows at once; list slots are (at,
        count).
        """
        span = np.dtype([("at", "<u4"), ("count", "<u4")])
        formats = [
            ("<u8", (self.words,)),
            *(SCALARS[kind][1] if kind in SCALARS else span for _, kind in self.fields),
        ]
        offsets = [0, *(8 * (self.words + number) for number in range(len(self.fields)))]
        names = ["__nulls", *self.index]
        return np.dtype(
            {"names": names, "formats": formats, "offsets": offsets, "itemsize": self.heap_at - HEADER.size}
        )

    @cached_property
    def blank(self) -> bytes:
        """A deleted row with room for every slot: stands in for what is missing."""
        head = HEADER.pack(MAGIC, _DELETED, self.hash, 0, NO_CREATED)
        return head + b"\xff" * (8 * self.words) + bytes(8 * len(self.fields))

    @cached_property
    def _pack(self) -> struct.Struct:
        codes = "".join(SCALARS[kind][0] if kind in SCALARS else "II" for _, kind in self.fields)
        return struct.Struct(f"{HEADER.format}{self.words}Q{codes}")

    def encode(self, values: Mapping[str, Any], event_us: int, created_us: int | None = None) -> bytes:
        """Pack one row.

        Parameters
        ----------
        values : mapping
            Every feature of the view by name; ``None`` = null. Times as aware datetime or integer
            microseconds.
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
        if values.keys() != self.index.keys():
            self.refuse_names(values)
        nulls, end = 0, self.heap_at
        arguments: list[Any] = []
        heap: list[bytes] = []
        for number, (name, kind) in enumerate(self.fields):
            value = values[name]
            if value is None:
                nulls |= 1 << number
                arguments.extend((0,) if kind in SCALARS else (0, 0))
            elif kind in SCALARS:
                arguments.append(microseconds(value) if kind == "time" else value)
            else:
                try:
                    blob, count = heap_bytes(kind, value)
                except (TypeError, ValueError, AttributeError) as error:
                    raise PackedValueError(
                        f"view '{self.view}': feature '{name}' = {value!r:.80} is no {kind} ({error}); "
                        "correct the writer"
                    ) from None
                arguments.extend((end, count))
                pad = -len(blob) % 8
                heap.append(blob + b"\0" * pad)
                end += len(blob) + pad
        words = [(nulls >> (64 * word)) & 0xFFFF_FFFF_FFFF_FFFF for word in range(self.words)]
        created = NO_CREATED if created_us is None else created_us
        try:
            head = self._pack.pack(MAGIC, 0, self.hash, event_us, created, *words, *arguments)
        except (struct.error, TypeError, OverflowError) as error:
            raise PackedValueError(
                f"view '{self.view}': a value of {dict(values)!r:.200} does not fit its type ({error}); "
                "correct the writer"
            ) from None
        return b"".join([head, *heap])

    def tombstone(self, event_us: int, created_us: int | None = None) -> bytes:
        """Pack the statement that the entity has no row from `event_us` on."""
        return HEADER.pack(
            MAGIC, _DELETED, self.hash, event_us, NO_CREATED if created_us is None else created_us
        )

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
                f"view '{self.view}': a stored value has schema {found.schema_hash.hex()}, this definition "
                f"has {self.hash.hex()}; materialise the view again (python -m feature_repo materialize "
                "--full) or read with the definition that wrote it"
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
                raise PackedValueError(
                    f"view '{self.view}' has no feature '{name}'; it has {', '.join(self.index)}"
                ) from None
            result[name] = (
                None
                if nulls >> number & 1
                else read_slot(value, self.fields[number][1], self.slots_at + 8 * number)
            )
        return result

    def refuse_names(self, values: Mapping[str, Any]) -> None:
        """Say which features of a row (or of a batch's columns) are missing and which are unknown.

        Raises
        ------
        PackedValueError
            Always.
        """
        missing = [name for name, _ in self.fields if name not in values]
        unknown = [name for name in values if name not in self.index]
        raise PackedValueError(
            f"view '{self.view}': row lacks {missing} and has unknown {unknown}; write every feature of the "
            "view, nothing else"
        )


def header(value: bytes) -> Header:
    """Read the header of a packed value.

    Raises
    ------
    PackedValueError
        When the bytes are no packed value.
    """
    if len(value) < HEADER.size or value[:4] != MAGIC:
        raise PackedValueError(
            f"{len(value)} bytes starting {value[:8]!r} are no packed feature row; another program writes "
            "under these keys"
        )
    _, flags, schema_hash, event_us, created_us = HEADER.unpack_from(value)
    return Header(bool(flags & _DELETED), schema_hash, event_us, created_us)
