"""Where the clicks of one id are cut into sessions: at a pause, and at the border of the user's own split.
The one rule of lake and loader.
"""

from __future__ import annotations

import numpy as np

SAMPLE_ROWS = 1_000_000  # more clicks are judged by a part of their sessions
LONE_SHARE = 0.9  # of sessions with one click, from which on a gap rule is taken for a mistake


def session_begins(
    new_id: np.ndarray, time: np.ndarray, gap_us: float | None, split: np.ndarray | None = None
) -> np.ndarray:
    """Tell which clicks begin a session.

    Parameters
    ----------
    new_id : ndarray bool, shape (clicks,)
        Where a click's id differs from that of the click before it; clicks are sorted by id, then time.
    time : ndarray int64, shape (clicks,)
        Microseconds UTC.
    gap_us : float or None
        A longer pause (not one as long) begins a session; None = none does.
    split : ndarray int, shape (clicks,), optional
        Part of the user's own split; a session never crosses its border. None = there is no such split.

    Returns
    -------
    ndarray bool, shape (clicks,)

    Examples
    --------
    >>> session_begins(
    ...     np.array([True, False, False, False]), np.array([0, 5, 11, 12]), 5, np.array([0, 0, 0, 1])
    ... ).tolist()
    [True, False, True, True]
    """
    begins = new_id.copy()
    if gap_us is not None:
        begins[1:] |= np.diff(time) > gap_us
    if split is not None:
        begins[1:] |= split[1:] != split[:-1]
    return begins


def lone_share(session: np.ndarray, time: np.ndarray, gap_us: float | None) -> float:
    """Return the share of sessions that would have one click, 0 to 1; of a fixed part of the ids where there
    are many clicks.

    Parameters
    ----------
    session : ndarray uint64, shape (clicks,)
        A number an id.
    time : ndarray int64, shape (clicks,)
    gap_us : float or None

    Examples
    --------
    >>> (
    ...     lone_share(np.array([1, 1, 2], np.uint64), np.array([0, 100, 0]), 10),
    ...     lone_share(np.array([1, 1], np.uint64), np.array([0, 100]), None),
    ... )
    (1.0, 0.0)
    """
    if len(session) > SAMPLE_ROWS:
        chosen = session % np.uint64(len(session) // SAMPLE_ROWS + 1) == 0
        session, time = session[chosen], time[chosen]
    if not len(session):
        return 0.0
    order = np.lexsort((time, session))
    session, time = session[order], time[order]
    begins = session_begins(np.append(True, session[1:] != session[:-1]), time, gap_us)
    lengths = np.diff(np.append(np.flatnonzero(begins), len(session)))
    return float((lengths == 1).mean())


def gap_note(session: np.ndarray, time: np.ndarray, gap_minutes: float | None) -> str:
    """Say in one line that a gap rule leaves hardly any session to learn from, where it is the rule's doing;
    empty otherwise.

    Examples
    --------
    >>> day = 86_400_000_000
    >>> gap_note(np.array([1, 1, 1], np.uint64), np.array([0, day, 2 * day]), 10.0)[:54]
    '100 % of sessions would have one click with session.ga'
    """
    if gap_minutes is None:
        return ""
    share, whole = lone_share(session, time, gap_minutes * 60e6), lone_share(session, time, None)
    if (
        share < LONE_SHARE or whole == 1 or 2 * (1 - share) > 1 - whole
    ):  # the rule takes less than half of the sessions that could be learned from
        return ""
    daily = " (the times are days)" if bool((time % 86_400_000_000 == 0).all()) else ""
    return (
        f"{100 * share:.0f} % of sessions would have one click with session.gap_minutes = "
        f"{gap_minutes:g}{daily}, {100 * whole:.0f} % without the rule; set session.gap_minutes = none "
        "(INTENTSTORE_SESSION__GAP_MINUTES=none), or a wider one"
    )
