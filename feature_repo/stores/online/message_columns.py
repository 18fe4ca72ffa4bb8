"""Feast's value messages as columns of packed rows: whole columns at once where all messages are of the
expected kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter, itemgetter, methodcaller
from typing import Any

import numpy as np
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo.stores.online.protos import DIRECT, from_message
from feature_repo.stores.packed.codec import PackedSchema
from feature_repo.stores.packed.many import Blobs, Scalars
from feature_repo.stores.packed.slots import SCALARS, PackedValueError, heap_bytes

_which = methodcaller("WhichOneof", "val")
_float_lists, _raw = attrgetter("float_list_val"), methodcaller("SerializeToString")


def columns_of(schema: PackedSchema, rows: Sequence[Mapping[str, Value]]) -> dict[str, Scalars | Blobs]:
    """Turn n rows of messages into the columns that `batch.encode_rows` takes.

    Raises
    ------
    PackedValueError
        A row that lacks a feature or has one too many, or a message of another kind than its feature.
    """
    names = schema.index.keys()
    for row in rows:
        if row.keys() != names:
            schema.refuse_names(row)
    return {
        name: message_column(schema, name, kind, list(map(itemgetter(name), rows)))
        for name, kind in schema.fields
    }


def message_column(schema: PackedSchema, name: str, kind: str, messages: list[Value]) -> Scalars | Blobs:
    """Turn one feature's messages into its column.

    Raises
    ------
    PackedValueError
        A message of another kind than the feature.
    """
    found = set(map(_which, messages))
    if kind == "list<f32>" and found == {"float_list_val"}:
        return _vectors(messages)
    direct = DIRECT.get(kind)
    if direct is not None and found == {direct}:  # no nulls, and the value as it is: one pass in C
        values = map(attrgetter(direct), messages)
        if kind in SCALARS:
            return Scalars(np.fromiter(values, SCALARS[kind][1], len(messages)))
        return Blobs([value.encode() for value in values] if kind == "str" else list(values))
    return _one_by_one(schema, name, kind, messages)


def _vectors(messages: list[Value]) -> Blobs:
    # The wire format of packed floats is a tag, a length and the very bytes of the heap; both together are 2
    # to 5 bytes.
    raw = list(map(_raw, map(_float_lists, messages)))
    counts = [max(0, len(part) - 2) // 4 for part in raw]
    return Blobs(
        [part[-4 * count :] if count else b"" for part, count in zip(raw, counts, strict=True)], counts
    )


def _one_by_one(schema: PackedSchema, name: str, kind: str, messages: list[Value]) -> Scalars | Blobs:
    values = [from_message(kind, message) for message in messages]
    try:
        if kind in SCALARS:
            null = np.fromiter((value is None for value in values), bool, len(values))
            return Scalars(
                np.array([0 if value is None else value for value in values], SCALARS[kind][1]), null
            )
        packed: list[tuple[bytes | None, int]] = [
            (None, 0) if value is None else heap_bytes(kind, value) for value in values
        ]
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        example: Any = next((value for value in values if value is not None), None)
        raise PackedValueError(
            f"view '{schema.view}': feature '{name}' (as {example!r:.80}) is no {kind} ({error}); correct "
            "the writer"
        ) from None
    return Blobs([blob for blob, _ in packed], [count for _, count in packed])
