"""Arrow columns as columns of packed rows. Strict: a type that would need a conversion which could lose or
change something is refused.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.stores.packed.codec import NO_CREATED
from feature_repo.stores.packed.many import Blobs, Scalars
from feature_repo.stores.packed.slots import LISTS, SCALARS, PackedValueError, heap_bytes

_MICROSECONDS = pa.timestamp("us")
_TAKEN: dict[str, tuple[pa.DataType, ...]] = {
    "i64": (pa.int64(), pa.int32(), pa.int16(), pa.int8()),
    "i32": (pa.int32(), pa.int64(), pa.int16(), pa.int8()),
    "f64": (pa.float64(), pa.float32()),
    "f32": (pa.float32(), pa.float64()),
    "bool": (pa.bool_(),),
}


def column_of(array: pa.Array, kind: str) -> Scalars | Blobs:
    """Turn one Arrow column into the columns that `batch.encode_rows` takes.

    Parameters
    ----------
    array : Array, length n
        Nulls are nulls; a float's NaN stays NaN.
    kind : str
        The feature's kind (`slots.KINDS`).

    Raises
    ------
    PackedValueError
        The column's type is not the kind's.
    """
    if kind not in SCALARS and array.null_count == len(array):
        return Blobs([None] * len(array))
    if kind == "proto":  # the bytes of a column are a value to convert, not the message that is stored
        raise PackedValueError(
            f"a column of {array.type} holds values of a type that Feast alone converts; give them as "
            "messages"
        )
    if kind in SCALARS:
        return _scalars(array, kind)
    if kind in ("str", "bytes") and (
        pa.types.is_string(array.type)
        or pa.types.is_large_string(array.type)
        or pa.types.is_binary(array.type)
    ):
        return Blobs(array.cast(pa.binary()).to_pylist())
    if (
        kind in LISTS
        and kind != "list<time>"
        and (pa.types.is_list(array.type) or pa.types.is_large_list(array.type))
    ):
        return _lists(array, kind)
    return _slow(array, kind)


def times_of(array: pa.Array) -> np.ndarray:
    """Microseconds UTC of a column of times; `NO_CREATED` where null. Times without a zone are UTC (Feast's
    rule).

    Raises
    ------
    PackedValueError
        The column holds no times.
    """
    if not pa.types.is_timestamp(array.type):
        raise PackedValueError(f"a time column is {array.type}; give timestamps, best in microseconds UTC")
    micros = array.cast(pa.timestamp("us", tz=array.type.tz), safe=False).cast(pa.int64())
    return np.asarray(pc.fill_null(micros, NO_CREATED).to_numpy(zero_copy_only=False), np.int64)


def _scalars(array: pa.Array, kind: str) -> Scalars:
    null = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
    if pa.types.is_null(array.type):
        return Scalars(np.zeros(len(array), SCALARS[kind][1]), np.ones(len(array), bool))
    if kind == "time":
        return Scalars(times_of(array), null)
    if array.type not in _TAKEN[kind]:
        raise PackedValueError(f"a column of {array.type} is no {kind}; cast it first")
    if kind == "i32":
        try:
            array = array.cast(pa.int32())
        except pa.ArrowInvalid as error:
            raise PackedValueError(
                f"a column of {array.type} does not fit 32-bit integers ({error}); declare the feature as "
                "Int64"
            ) from None
    filled = (
        pc.fill_null(array, pa.scalar(False if kind == "bool" else 0, array.type))
        if array.null_count
        else array
    )
    return Scalars(filled.to_numpy(zero_copy_only=False).astype(SCALARS[kind][1], copy=False), null)


def _lists(array: pa.Array, kind: str) -> Blobs:
    values = array.values
    inner = kind[len("list<") : -1]
    if values.type not in _TAKEN[inner] or values.null_count:
        return _slow(array, kind)
    offsets = array.offsets.to_numpy()
    own = values.slice(offsets[0], offsets[-1] - offsets[0])  # of a batch that is a slice, its own part only
    flat = np.ascontiguousarray(own.to_numpy(zero_copy_only=False), LISTS[kind])
    raw, places = flat.tobytes(), ((offsets - offsets[0]) * flat.itemsize).tolist()
    blobs: list[bytes | None] = [raw[start:end] for start, end in pairwise(places)]
    if array.null_count:
        blobs = [
            blob if valid else None for blob, valid in zip(blobs, array.is_valid().to_pylist(), strict=True)
        ]
    return Blobs(blobs, np.diff(offsets))


def _slow(array: pa.Array, kind: str) -> Blobs:
    """Value by value, for the kinds that seldom occur."""
    packed: list[tuple[bytes | None, int]] = []
    for value in array.to_pylist():
        try:
            packed.append((None, 0) if value is None else _one(value, kind))
        except (TypeError, ValueError, AttributeError) as error:
            raise PackedValueError(
                f"{value!r:.80} in a column of {array.type} is no {kind} ({error}); correct the writer"
            ) from None
    return Blobs([blob for blob, _ in packed], [count for _, count in packed])


def _one(value: Any, kind: str) -> tuple[bytes, int]:
    if kind in LISTS and isinstance(value, list) and None in value:
        raise ValueError("it holds a null")
    return heap_bytes(kind, value)
