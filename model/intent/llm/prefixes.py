"""Which token prefixes are computed once: prompts of one prefix, and prefixes of one session, share the head
of their tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

LONGEST_TAIL: Final = 48  # tokens; a prompt joins a row when so little is left to compute of it
LOOK_BACK: Final = 24  # rows of the same beginning that a prompt is compared with


class Branch(NamedTuple):
    """A prompt that goes on from a row.

    Attributes
    ----------
    number : int
        Of the prompt.
    kept : int
        Tokens of the row that are the prompt's own.
    tail : list of int
        What follows them.
    """

    number: int
    kept: int
    tail: list[int]


@dataclass
class Row:
    """One head of tokens that is computed once, and the prompts that go on from some point of it.

    Attributes
    ----------
    ids : list of int
        Tokens after the common beginning of all prompts.
    branches : list of Branch
        One a prompt.
    """

    ids: list[int]
    branches: list[Branch] = field(default_factory=list)


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many leading tokens are equal.

    Examples
    --------
    >>> common_length([1, 2, 3], [1, 2, 4])
    2
    """
    limit = min(len(first), len(second))
    if first[:limit] == second[:limit]:
        return limit
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if first[:middle] == second[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def rows_of(prompts: Sequence[list[int]], beginning: int) -> list[Row]:
    """Group prompts into rows.

    Parameters
    ----------
    prompts : sequence of lists of token ids
        None empty.
    beginning : int
        Tokens that all prompts share; they are computed before and are no part of the rows.

    Returns
    -------
    list of Row
        Every prompt is a branch of exactly one row, and keeps at least one token for its tail.

    Examples
    --------
    >>> [(row.ids, len(row.branches)) for row in rows_of([[9, 1, 2, 3, 5], [9, 1, 2, 3, 6], [9, 1, 2, 7]], 1)]
    [([1, 2, 3], 3)]
    """
    order = sorted(range(len(prompts)), key=lambda number: prompts[number])
    rows: list[Row] = []
    for place in _longest_first(prompts, order, beginning):
        ids = prompts[place][beginning:]
        best, kept = None, -1
        for row in rows[-LOOK_BACK:]:
            shared = min(common_length(row.ids, ids), len(ids) - 1)
            if shared > kept and len(ids) - shared <= LONGEST_TAIL and (shared > 0 or not row.ids):
                best, kept = row, shared
        if best is None:
            best, kept = Row(ids[:-1]), len(ids) - 1
            rows.append(best)
        best.branches.append(Branch(place, kept, ids[kept:]))
    for row in rows:
        row.ids = row.ids[: max(branch.kept for branch in row.branches)] if len(row.branches) > 1 else row.ids
        _trim(row)
    return rows


def _longest_first(prompts: Sequence[list[int]], order: list[int], beginning: int) -> list[int]:
    """Neighbours in token order stand together; among those of one beginning the longest opens the row."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number in order:
        groups.setdefault(tuple(prompts[number][beginning : beginning + 8]), []).append(number)
    return [
        number for group in groups.values() for number in sorted(group, key=lambda one: -len(prompts[one]))
    ]


def _trim(row: Row) -> None:
    """The branch that opened the row need not be computed in it beyond what the others use: its rest becomes
    its tail.
    """
    if len(row.branches) < 2:
        return
    first, kept, tail = row.branches[0]
    used = max(branch.kept for branch in row.branches[1:])
    if used < kept:
        row.branches[0] = Branch(first, used, row.ids[used:kept] + tail)
        row.ids = row.ids[:used]
