"""Which clicks of a folder repeat others, and what their event ids are good for. Works on the hashes of a
folder's rows; knows no text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from feature_repo.contract.dataset.hashes import RowHashes, mixed

# What becomes of a row; every other row is kept as it is.
REPEAT, CONFLICT, KEYED, OVERLAP = 1, 2, 3, 4
# Below, a doubled event id is a fault of that row, which is refused; above, ids count from 1 again for every
# session or user.
RESTART_SHARE, RESTART_ROWS = 0.01, 2
Scope = Literal["", "user", "session", "row"]


def _empty() -> np.ndarray:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Repeats:
    """Rows that are not kept as they are, in the order of the folder.

    Attributes
    ----------
    rows : ndarray int64
        Places of the rows.
    action : ndarray int8
        ``REPEAT``: says in every column what an earlier row of the same file says; refused. ``CONFLICT``: has
        the event id of an earlier
        row that says something else; refused. ``KEYED``: kept, its id is made unique. ``OVERLAP``: kept with
        an id of its own, since an
        earlier file of the split holds the same click.
    first : ndarray int64
        The earlier row.
    scope : str
        Within what event ids are unique, where they restart: ``user``, ``session``, ``row`` (in nothing: only
        the whole row tells); empty
        where they do not.
    restarted : int
        Rows with the event id of another click, where ids restart.
    """

    rows: np.ndarray = field(default_factory=_empty)
    action: np.ndarray = field(default_factory=_empty)
    first: np.ndarray = field(default_factory=_empty)
    scope: Scope = ""
    restarted: int = 0


def find_repeats(rows: RowHashes, splits: np.ndarray, *, by_user: bool) -> Repeats:
    """Compare all rows of a folder.

    Parameters
    ----------
    rows : RowHashes
    splits : ndarray int8, shape (rows,)
        Part of the user's own split.
    by_user : bool
        Whether a session is (user, session).

    Returns
    -------
    Repeats
        The first of rows with one event id keeps it, so that ids stay when the file grows.
    """
    order = np.argsort(rows.key, kind="stable")
    same = rows.key[order][1:] == rows.key[order][:-1]
    if not same.any():
        return Repeats()
    suspects = np.sort(order[np.append(same, False) | np.append(False, same)])
    key, content, places = rows.key[suspects], rows.content[suspects], np.arange(len(suspects))
    alike, alike_here, holder = (
        first_of(key, content),
        first_of(key, content, splits[suspects]),
        first_of(key),
    )
    repeat = alike_here != places
    overlap = ~repeat & (alike != places)
    other = ~repeat & ~overlap & (holder != places)
    conflict = other & rows.given[suspects]
    scope, left, origin = _scope(rows, suspects, ~repeat & ~overlap, int(conflict.sum()), by_user)
    conflict &= left
    action = np.select([repeat, overlap, conflict, other], [REPEAT, OVERLAP, CONFLICT, KEYED], 0).astype(
        np.int8
    )
    first = np.select([repeat, overlap, conflict], [alike_here, alike, origin], holder)
    touched = action != 0
    return Repeats(
        suspects[touched],
        action[touched],
        suspects[first[touched]],
        scope,
        int((other & rows.given[suspects]).sum()) if scope else 0,
    )


def first_of(*columns: np.ndarray) -> np.ndarray:
    """For each row return the place of the first row that is the same in all columns.

    Examples
    --------
    >>> first_of(np.array([7, 8, 7], np.uint64)).tolist()
    [0, 1, 0]
    """
    _, index, inverse = np.unique(mixed(*columns), return_index=True, return_inverse=True)
    return np.asarray(index[inverse])


def _scope(
    rows: RowHashes, suspects: np.ndarray, distinct: np.ndarray, conflicts: int, by_user: bool
) -> tuple[Scope, np.ndarray, np.ndarray]:
    """Return within what event ids are unique, which rows are not even then, and the rows that they
    repeat.
    """
    key, places = rows.key[suspects], np.arange(len(suspects))
    most = RESTART_SHARE * len(rows)
    nowhere = np.ones(len(suspects), dtype=bool)
    if conflicts < RESTART_ROWS or conflicts <= most:
        return "", nowhere, first_of(key)
    user, session = rows.user[suspects], rows.session[suspects]
    candidates: dict[Scope, tuple[np.ndarray, ...]] = {"user": (user,)} if user.any() else {}
    candidates["session"] = (session, user) if by_user else (session,)
    for scope, columns in candidates.items():
        # Only rows that say something new count: an exact repeat is a repeat under any rule.
        masked = np.where(distinct, 0, places + 1).astype(np.uint64)
        origin = first_of(key, masked, *columns)
        left = distinct & (origin != places)
        if int((left & rows.given[suspects]).sum()) <= most:
            return scope, left, origin
    return "row", np.zeros(len(suspects), dtype=bool), first_of(key)
