"""What names a session in a folder, and where sessions go over the border of the user's own split. Works on
hashes; knows no text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from feature_repo.contract.dataset.hashes import RowHashes, mixed

# of the clicks with a user, in session ids of several users; below, people share a device now and then
SHARED_SHARE = 0.1
LOGIN_US = 3600 * 1_000_000  # one change of user without a longer pause is somebody who signed in
SPLITS: tuple[str | None, ...] = (None, "train", "valid", "test")
FIRST_OWN = SPLITS.index("valid")


def session_keys(rows: RowHashes, by_user: bool) -> np.ndarray:
    """Return a number a session id; of (user, session) where ids restart per user; uint64, shape (rows,)."""
    return np.where(rows.user != 0, mixed(rows.session, rows.user), rows.session) if by_user else rows.session


def restarts_per_user(rows: RowHashes) -> np.ndarray | None:
    """Tell whether session ids count from 1 again for every user.

    They do where more than a tenth of the clicks lie in ids of three users, or of two that take turns or come
    an hour apart.

    Returns
    -------
    ndarray int64, shape (2,), optional
        Two rows of one id and different users; None where ids are good.
    """
    named = np.flatnonzero(rows.user)
    _, pairs = np.unique(mixed(rows.session[named], rows.user[named]), return_index=True)
    ids, users = np.unique(rows.session[named][pairs], return_counts=True)
    if not (users > 1).any():
        return None
    inside = named[np.isin(rows.session[named], ids[users > 1])]
    inside = inside[np.lexsort((rows.time[inside], rows.session[inside]))]
    place = np.searchsorted(ids, rows.session[inside])
    change = (place[1:] == place[:-1]) & (rows.user[inside][1:] != rows.user[inside][:-1])
    changes = np.bincount(place[1:], weights=change, minlength=len(ids))
    pauses = np.bincount(
        place[1:], weights=change & (np.diff(rows.time[inside]) > LOGIN_US), minlength=len(ids)
    )
    shared = (users > 1) & ((users > 2) | (changes > users - 1) | (pauses > 0))
    if shared[place].sum() <= SHARED_SHARE * len(named):
        return None
    at = int(np.flatnonzero(change & shared[place[1:]])[0])
    return np.sort(inside[[at, at + 1]])


@dataclass(frozen=True)
class Parts:
    """The user's own split.

    Attributes
    ----------
    own : bool
        Whether there are validation or test clicks.
    test : bool
        Whether there are test clicks.
    crossing : ndarray uint64
        Session keys with clicks in more than one part, sorted.
    apart : ndarray uint64
        Those whose later part does not begin after the earlier one ended.
    """

    own: bool = False
    test: bool = False
    crossing: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    apart: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))


def split_parts(session: np.ndarray, time: np.ndarray, splits: np.ndarray) -> Parts:
    """Find the sessions that go over the border of the user's own split.

    Parameters
    ----------
    session : ndarray uint64, shape (rows,)
        As ``session_keys`` gives them.
    time : ndarray int64, shape (rows,)
    splits : ndarray int8, shape (rows,)
        Places in ``SPLITS``.

    Returns
    -------
    Parts

    Examples
    --------
    >>> found = split_parts(np.array([5, 5, 6, 6], np.uint64), np.array([0, 1, 0, 0]), np.array([1, 3, 1, 3]))
    >>> found.own, found.crossing.tolist(), found.apart.tolist()
    (True, [5, 6], [6])
    """
    if not (splits >= FIRST_OWN).any():
        return Parts()
    order = np.lexsort((time, splits, session))
    ids, part, moment = session[order], splits[order], time[order]
    starts = np.flatnonzero(np.append(True, (ids[1:] != ids[:-1]) | (part[1:] != part[:-1])))
    begin, end, owner = moment[starts], moment[np.append(starts[1:], len(ids)) - 1], ids[starts]
    again = np.append(False, owner[1:] == owner[:-1])
    before = np.append(end[:1], end[:-1])
    third = np.append(False, again[1:] & again[:-1])  # of three parts the first may end last
    before[third] = np.maximum(before[third], end[np.flatnonzero(third) - 2])
    tested = bool((splits > FIRST_OWN).any())
    return Parts(True, tested, np.unique(owner[again]), np.unique(owner[again & (begin <= before)]))
