"""Columns of clicks as 64-bit numbers, so that rows of a whole folder can be compared in arrays. Knows
nothing of what equal rows mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from feature_repo.contract.tables import CLICK_COLUMNS

# Two different rows have one number once in 370,000 folders of ten million rows; such a row would be refused
# with its reason, not lost.
_MIX = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(31)
GIVEN = (*CLICK_COLUMNS[1:], "extra")  # what a row says besides its event id


def column_hash(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """Return a number a value, the same in every run; 0 where the value is missing or empty.

    Parameters
    ----------
    column : pa.ChunkedArray or pa.Array
        Strings.

    Returns
    -------
    ndarray uint64, shape (rows,)

    Examples
    --------
    >>> found = column_hash(pa.array(["a", None, "a", "None", ""]))
    >>> bool(found[0] == found[2] != found[3]), found[1].item(), found[4].item()
    (True, 0, 0)
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    encoded = array.dictionary_encode()
    hashes = np.fromiter(map(_hash, encoded.dictionary.to_pylist()), np.uint64, len(encoded.dictionary))
    codes = np.asarray(pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False), dtype=np.int64)
    return np.append(hashes, np.uint64(0))[codes]


def _hash(text: str) -> int:
    return int(xxhash.xxh3_64_intdigest(text.encode())) if text else 0


def mixed(*columns: np.ndarray) -> np.ndarray:
    """Make one number of several, in which their order counts; uint64, shape (rows,).

    Examples
    --------
    >>> one, two = np.array([1], np.uint64), np.array([2], np.uint64)
    >>> bool(mixed(one, two) != mixed(two, one))
    True
    """
    found = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        found = (found ^ column.astype(np.uint64)) * _MIX
        found = found ^ (found >> _SHIFT)
    return found


@dataclass
class RowHashes:
    """What is remembered of every accepted click of a folder, in the order of its files: some 50 bytes a row.

    Attributes
    ----------
    key : ndarray uint64
        Of the event id that the file gives; else of session, item and time, of which one is derived.
    content : ndarray uint64
        Of all that the row says besides its event id.
    session, user : ndarray uint64
        0 = none given.
    time : ndarray int64
        Microseconds UTC.
    line : ndarray int64
        In its file.
    given : ndarray bool
        Whether the file gave the event id.
    block : ndarray int32
        Number of the block.
    """

    key: np.ndarray
    content: np.ndarray
    session: np.ndarray
    user: np.ndarray
    time: np.ndarray
    line: np.ndarray
    given: np.ndarray
    block: np.ndarray

    def __len__(self) -> int:
        return len(self.key)


@dataclass
class HashCollector:
    """Gathers ``RowHashes`` block by block."""

    parts: list[RowHashes] = field(default_factory=list)

    def add(self, rows: pa.Table, lines: np.ndarray, given: np.ndarray) -> None:
        """Remember a block of rows (schema ``CLICK_ROWS``, every event id filled in) with their lines."""
        time = np.asarray(rows.column("event_time").cast(pa.int64()).to_numpy())
        hashes = {name: column_hash(rows.column(name)) for name in GIVEN if name != "event_time"}
        content = mixed(*(time if name == "event_time" else hashes[name] for name in GIVEN))
        block = np.full(rows.num_rows, len(self.parts), dtype=np.int32)
        key = mixed(hashes["session_id"], hashes["item_id"], time)
        if given.any():
            key = np.where(given, column_hash(rows.column("event_id")), key)
        self.parts.append(
            RowHashes(
                key,
                content,
                hashes["session_id"],
                hashes["user_id"],
                time,
                np.asarray(lines, dtype=np.int64),
                given,
                block,
            )
        )

    def joined(self) -> RowHashes:
        """Return all rows so far; the parts are let go."""
        parts, self.parts = self.parts, []
        return RowHashes(*(_joined(parts, name) for name in RowHashes.__dataclass_fields__))


def _joined(parts: list[RowHashes], name: str) -> np.ndarray:
    kinds = {"time": np.int64, "line": np.int64, "given": bool, "block": np.int32}
    none = np.zeros(0, dtype=kinds.get(name, np.uint64))
    return np.concatenate([none, *(getattr(part, name) for part in parts)])
