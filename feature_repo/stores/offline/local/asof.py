"""The as-of join on numpy: for each entity row the latest feature rows known by its time. Knows arrays of
numbers only; the same rules as the join on Spark (`feature_repo.stores.offline.asof`).

  1 sort    feature rows by key, event time, created
  2 know    by creation, if asked for: the best row of a key known by each instant, a running maximum
  3 look up each entity row's key and time, by one binary search over (key, instant)
  4 ttl     drop what is older than the view's ttl
Rows that tie on key, event time and created are handed back together: their contents decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Longs: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.int64]]"
NEVER = np.iinfo(np.int64).min
"""A time that is null."""


@dataclass(frozen=True)
class History:
    """Feature rows of one view.

    Attributes
    ----------
    key : int64 array, shape (rows,)
        Number of the key; -1 where a part of it is null.
    event_us, created_us : int64 array, shape (rows,)
        Microseconds UTC; `NEVER` where null.
    """

    key: Longs
    event_us: Longs
    created_us: Longs


@dataclass(frozen=True)
class Found:
    """What entity rows see.

    Attributes
    ----------
    group : int64 array, shape (asked,)
        Number of the group of feature rows that each entity row sees; -1 = none.
    rows, group_of_row : int64 array, shape (seen,)
        The rows of all groups that are seen, by place in the history, and the group of each; rising groups.
    """

    group: Longs
    rows: Longs
    group_of_row: Longs


def find(history: History, key: Longs, at_us: Longs, *, ttl_us: int, known_by_created: bool) -> Found:
    """Look up what each entity row sees.

    Parameters
    ----------
    history : History
    key, at_us : int64 array, shape (asked,)
        Of the entity rows; keys numbered as those of the history.
    ttl_us : int
        Greatest age; 0 = no limit.
    known_by_created : bool
        Whether a row counts only from its creation time on.

    Examples
    --------
    >>> rows = History(np.array([0, 0]), np.array([1, 2]), np.array([1, 5]))
    >>> find(rows, np.array([0, 0]), np.array([2, 0]), ttl_us=0, known_by_created=False).group.tolist()
    [1, -1]
    >>> find(rows, np.array([0, 0]), np.array([2, 0]), ttl_us=0, known_by_created=True).group.tolist()
    [0, -1]
    """
    usable = (history.key >= 0) & (history.event_us != NEVER)
    if known_by_created:  # a row of unknown creation is never known to be known
        usable &= history.created_us != NEVER
    rows = np.flatnonzero(usable)
    if not len(rows):
        return Found(np.full(len(key), -1), rows, rows)
    rows = rows[np.lexsort((history.created_us[rows], history.event_us[rows], history.key[rows]))]
    keys, events, created = history.key[rows], history.event_us[rows], history.created_us[rows]
    best, instants = np.arange(len(rows)), events
    if known_by_created:
        instants = np.maximum(events, created)
        by_instant = np.lexsort((instants, keys))
        # Places rise from key to key, so that the maximum never reaches from one into the next.
        best, instants = np.maximum.accumulate(by_instant), instants[by_instant]
    place = _seen_at(keys, instants, key, at_us)
    row = best[np.maximum(place, 0)]
    seen = (key >= 0) & (place >= 0) & (keys[row] == key)
    if ttl_us:
        seen &= events[row] >= at_us - ttl_us
    begins = np.ones(len(rows), bool)
    begins[1:] = (keys[1:] != keys[:-1]) | (events[1:] != events[:-1]) | (created[1:] != created[:-1])
    group_of_row = np.cumsum(begins) - 1
    group = np.where(seen, group_of_row[row], -1)
    wanted = np.isin(group_of_row, group)
    return Found(group, rows[wanted], group_of_row[wanted])


def _seen_at(keys: Longs, instants: Longs, key: Longs, at_us: Longs) -> Longs:
    """Return the place of the last (key, instant) at or before each (key, at); it may be of another key."""
    moments = np.unique(instants)
    have = keys * len(moments) + np.searchsorted(moments, instants)
    want = key * len(moments) + np.searchsorted(moments, at_us, "right") - 1
    return np.searchsorted(have, want, "right") - 1


def key_numbers(history: Sequence[pa.ChunkedArray], asked: Sequence[pa.ChunkedArray]) -> tuple[Longs, Longs]:
    """Number the keys of feature rows and entity rows alike.

    Parameters
    ----------
    history, asked : sequence of ChunkedArray
        A column a part of the key, of equal types; none = all rows share one key.

    Returns
    -------
    tuple of int64 arrays
        -1 where a part is null.
    """
    both, missing = np.zeros(1, np.int64), np.zeros(1, bool)
    for have, want in zip(history, asked, strict=True):
        numbers = _numbers(pa.chunked_array([*have.chunks, *want.chunks], have.type))
        missing = missing | (numbers < 0)
        both = both * (numbers.max(initial=0) + 1) + numbers
        if both.max(initial=0) > 2**31:  # dense again, before another part can overflow it
            both = np.unique(both, return_inverse=True)[1]
    both = np.where(missing, -1, both)
    count = len(history[0]) if history else 0
    return both[:count], both[count:]


def _numbers(column: pa.ChunkedArray) -> Longs:
    kind = column.type
    if pa.types.is_floating(kind):  # -0.0 is 0.0, one NaN is another, as in Spark's joins
        values = column.to_numpy() + 0.0
        column = pa.chunked_array([pa.array(np.where(np.isnan(values), np.nan, values), mask=_nulls(column))])
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        column = column.cast(pa.large_string() if pa.types.is_string(kind) else pa.large_binary())
    encoded = column.combine_chunks().dictionary_encode()
    numbers: Longs = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers


def _nulls(column: pa.ChunkedArray) -> np.ndarray:
    mask: np.ndarray = column.is_null().to_numpy()
    return mask
