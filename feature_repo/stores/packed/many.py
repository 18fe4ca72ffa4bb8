"""Many feature rows to packed values at once, column by column: the same bytes as `PackedSchema.encode`.
Knows nothing of Feast, Arrow or a server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from feature_repo.stores.packed.codec import HEAD, HEADER, MAGIC, PackedSchema
from feature_repo.stores.packed.slots import SCALARS, PackedValueError


@dataclass(frozen=True)
class Scalars:
    """Numbers of one feature.

    Attributes
    ----------
    values : ndarray, shape (n,)
        Of the kind's own dtype; what stands at nulls does not matter.
    null : ndarray, shape (n,), bool, optional
        None = no nulls.
    """

    values: np.ndarray
    null: np.ndarray | None = None


@dataclass(frozen=True)
class Blobs:
    """Lists or texts of one feature, as `slots.heap_bytes` gives them.

    Attributes
    ----------
    blobs : sequence of bytes or None
        One a row; ``None`` = null.
    counts : sequence of int or None
        Entries of each list; None = the number of bytes.
    """

    blobs: Sequence[bytes | None]
    counts: Sequence[int] | np.ndarray | None = None


def encode_rows(
    schema: PackedSchema, columns: Mapping[str, Scalars | Blobs], event_us: np.ndarray, created_us: np.ndarray
) -> list[bytes]:
    """Pack n rows.

    Parameters
    ----------
    schema : PackedSchema
    columns : mapping
        Every feature of the view by name.
    event_us, created_us : ndarray, shape (n,), int64
        Microseconds UTC; `codec.NO_CREATED` where there is no creation time.

    Returns
    -------
    list of bytes
        Byte for byte what `schema.encode` gives for each row.

    Raises
    ------
    PackedValueError
        Missing or unknown feature, or numbers of another dtype than the kind's.
    """
    if columns.keys() != schema.index.keys():
        schema.refuse_names(columns)
    rows = np.zeros(len(event_us), _row_dtype(schema))
    rows["head"]["magic"], rows["head"]["schema"] = MAGIC, np.frombuffer(schema.hash, "<i8")[0]
    rows["head"]["event"], rows["head"]["created"] = event_us, created_us
    heap_end = np.full(len(rows), schema.heap_at, dtype=np.int64)
    parts: list[Sequence[bytes | None]] = []
    for number, (name, kind) in enumerate(schema.fields):
        column, slot = columns[name], rows["body"][name]
        if isinstance(column, Scalars):
            null = column.null
            if kind not in SCALARS or column.values.dtype != slot.dtype:
                raise PackedValueError(
                    f"view '{schema.view}': feature '{name}' is given as {column.values.dtype}, it is a "
                    f"{kind}; correct the writer"
                )
            slot[:] = column.values if null is None else np.where(null, slot.dtype.type(0), column.values)
        else:
            null, heap_end = _place(column, slot, heap_end)
            parts.append(column.blobs)
        if null is not None:
            rows["body"]["__nulls"][:, number // 64] |= null.astype(np.uint64) << np.uint64(number % 64)
    return _joined(rows.tobytes(), rows.dtype.itemsize, parts)


def _place(column: Blobs, slot: np.ndarray, heap_end: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Fill the slots of a list or text; return where it is null, and where the heap of each row ends now."""
    null = None
    if None in column.blobs:
        null = np.fromiter((blob is None for blob in column.blobs), bool, len(column.blobs))
    sizes = np.fromiter(
        (0 if blob is None else len(blob) for blob in column.blobs), np.int64, len(column.blobs)
    )
    counts = sizes if column.counts is None else np.asarray(column.counts, np.int64)
    slot["at"] = heap_end if null is None else np.where(null, 0, heap_end)
    slot["count"] = counts if null is None else np.where(null, 0, counts)
    return null, heap_end + sizes + (-sizes) % 8


def _joined(heads: bytes, size: int, parts: Sequence[Sequence[bytes | None]]) -> list[bytes]:
    starts = range(0, len(heads), size)
    if not parts:
        return [heads[start : start + size] for start in starts]
    if len(parts) == 1:
        (blobs,) = parts
        return [
            heads[start : start + size] + _padded(blob) for start, blob in zip(starts, blobs, strict=True)
        ]
    return [
        heads[start : start + size] + b"".join(map(_padded, row))
        for start, row in zip(starts, zip(*parts, strict=True), strict=True)
    ]


def _padded(blob: bytes | None) -> bytes:
    if not blob:
        return b""
    over = len(blob) % 8
    return blob + b"\0" * (8 - over) if over else blob


@lru_cache(maxsize=64)
def _row_dtype(schema: PackedSchema) -> np.dtype[Any]:
    return np.dtype(
        {
            "names": ["head", "body"],
            "formats": [HEAD, schema.slot_dtype],
            "offsets": [0, HEADER.size],
            "itemsize": schema.heap_at,
        }
    )
