"""The as-of join said in plain Python: the reference that tests and benchmarks hold the Spark join to. Slow
on purpose, free of Spark.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class HistoryRow:
    """One feature row: key parts (``None`` = null), times in microseconds, and what it holds."""

    key: tuple[Hashable, ...]
    event_us: int
    created_us: int | None
    payload: Hashable


def as_of(
    history: Sequence[HistoryRow],
    asked: Sequence[tuple[tuple[Hashable, ...], int]],
    *,
    ttl_us: int = 0,
    known_by_created: bool = False,
) -> list[frozenset[Hashable]]:
    """Say for each (key, time) which payloads are right.

    Parameters
    ----------
    history : sequence of HistoryRow
    asked : sequence of (key, microseconds)
    ttl_us : int
        Greatest age; 0 = no limit.
    known_by_created : bool
        Whether a row counts only from its creation time on.

    Returns
    -------
    list of frozenset
        Empty = no feature; several only where rows tie on key, event time and created with different contents
        (then any one of them, always the same).

    Examples
    --------
    >>> rows = [HistoryRow(("a",), 1, 1, "old"), HistoryRow(("a",), 2, 5, "new")]
    >>> [sorted(right) for right in as_of(rows, [(("a",), 2), (("a",), 0), ((None,), 9)])]
    [['new'], [], []]
    >>> [sorted(right) for right in as_of(rows, [(("a",), 2)], known_by_created=True)]
    [['old']]
    """
    by_key: dict[tuple[Hashable, ...], list[HistoryRow]] = defaultdict(list)
    for row in history:
        by_key[row.key].append(row)
    return [_right(by_key.get(key, []), key, at_us, ttl_us, known_by_created) for key, at_us in asked]


def _right(
    rows: list[HistoryRow], key: tuple[Hashable, ...], at_us: int, ttl_us: int, known_by_created: bool
) -> frozenset[Hashable]:
    if any(part is None for part in key):
        return frozenset()
    known = [row for row in rows if row.event_us <= at_us]
    if known_by_created:
        known = [row for row in known if row.created_us is not None and row.created_us <= at_us]
    if not known:
        return frozenset()
    best = max(_time(row) for row in known)
    if ttl_us and best[0] < at_us - ttl_us:
        return frozenset()
    return frozenset(row.payload for row in known if _time(row) == best)


def _time(row: HistoryRow) -> tuple[int, bool, int]:
    return row.event_us, row.created_us is not None, row.created_us or 0
