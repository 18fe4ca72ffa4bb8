"""The session fold: clicks in arrival order to features. Knows nothing of Spark, Kafka or Feast.

One implementation serves batch and live, so that both agree bit for bit. The state is immutable and bounded;
times are integer microseconds since 1970 UTC, so no rounding depends on where it runs.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import msgspec

from feature_repo.contract.settings import SessionSettings

MICROSECONDS = 1_000_000
# event ids remembered for duplicates: five times the items kept, a few hundred bytes packed
SEEN_EVENTS = 256
STATE_VERSION = 1


class FoldConfig(msgspec.Struct, frozen=True):
    """The rules of the fold.

    Attributes
    ----------
    gap_us : int or None
        A click more than this after the newest one starts a new session; None keeps one session for ever.
    max_items : int
        How many of the latest clicks (by event time) are kept.
    """

    gap_us: int | None = None
    max_items: int = 50

    @classmethod
    def from_settings(cls, settings: SessionSettings) -> FoldConfig:
        """Take the rules from the settings (minutes become microseconds)."""
        gap = None if settings.gap_minutes is None else round(settings.gap_minutes * 60 * MICROSECONDS)
        return cls(gap_us=gap, max_items=settings.max_items)


class FoldClick(msgspec.Struct, frozen=True, gc=False):
    """One click as the fold sees it; times in microseconds UTC.

    ``arrival_time_us`` is when it could be known: the Kafka record's time, or for files the event time
    itself.
    """

    event_id: str
    item_id: str
    event_time_us: int
    arrival_time_us: int


# strings and integers only: no cycle to look for
class SessionState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Everything the fold remembers of one session id.

    Attributes
    ----------
    items, times : tuple
        The last ``max_items`` clicks of the current session by event time; equal times stay in arrival order.
    seen : tuple of str
        Event ids of the latest ``SEEN_EVENTS`` accepted clicks, in arrival order.
    count : int
        Distinct clicks of the current session, those that fell out of ``items`` included.
    start_us : int
        Earliest event time of the current session.
    late : int
        Clicks of the current session that arrived after a newer one; also those too old to belong to it.
    event_timestamp_us : int
        Newest event time seen; the features' event time.
    created_us : int
        Arrival of the last accepted click, strictly increasing, so that no two rows of a session tie.
    """

    items: tuple[str, ...] = ()
    times: tuple[int, ...] = ()
    seen: tuple[str, ...] = ()
    count: int = 0
    start_us: int = 0
    late: int = 0
    event_timestamp_us: int = 0
    created_us: int = 0


_EMPTY = SessionState()
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(tuple[int, SessionState])


def empty() -> SessionState:
    """Return the state before the first click.

    Returns
    -------
    SessionState
        With no items; ``features`` of it raises.
    """
    return _EMPTY


def apply(state: SessionState, click: FoldClick, config: FoldConfig) -> SessionState:
    """Fold one click into the state.

    Parameters
    ----------
    state : SessionState
        Before the click.
    click : FoldClick
        The next one in arrival order.
    config : FoldConfig
        Gap and bound; must be the same for all clicks of a log.

    Returns
    -------
    SessionState
        After the click; the very same object (``is``) when the event id was seen before.

    Notes
    -----
    A click older than the current session's start by more than the gap belongs to a session that is over: it
    is counted as late and changes no other feature. A late click within the session is inserted at its event
    time.

    Examples
    --------
    >>> config = FoldConfig(gap_us=600 * MICROSECONDS, max_items=3)
    >>> state = empty()
    >>> for n, (item, second) in enumerate([("a", 0), ("c", 20), ("b", 10)]):
    ...     state = apply(
    ...         state, FoldClick(f"e{n}", item, second * MICROSECONDS, second * MICROSECONDS), config
    ...     )
    >>> state.items, state.late, apply(state, FoldClick("e1", "c", 0, 0), config) is state
    (('a', 'b', 'c'), 1, True)
    >>> apply(state, FoldClick("e9", "z", 10_000 * MICROSECONDS, 0), config).items
    ('z',)
    """
    if click.event_id in state.seen:
        return state
    time = click.event_time_us
    seen = (*state.seen[-(SEEN_EVENTS - 1) :], click.event_id)
    created = max(click.arrival_time_us, state.created_us + 1)
    gap = config.gap_us
    if not state.count or (gap is not None and time - state.event_timestamp_us > gap):
        return SessionState((click.item_id,), (time,), seen, 1, time, 0, time, created)
    late = state.late + (time < state.event_timestamp_us)
    if gap is not None and state.start_us - time > gap:
        return SessionState(
            state.items,
            state.times,
            seen,
            state.count,
            state.start_us,
            late,
            state.event_timestamp_us,
            created,
        )
    # the usual case, spelled out for speed: the newest click goes to the end
    if time >= state.event_timestamp_us:
        items, times = (
            (*state.items, click.item_id)[-config.max_items :],
            (*state.times, time)[-config.max_items :],
        )
        return SessionState(items, times, seen, state.count + 1, state.start_us, state.late, time, created)
    at = bisect_right(state.times, time)
    items = (*state.items[:at], click.item_id, *state.items[at:])[-config.max_items :]
    times = (*state.times[:at], time, *state.times[at:])[-config.max_items :]
    return SessionState(
        items,
        times,
        seen,
        state.count + 1,
        min(state.start_us, time),
        late,
        max(state.event_timestamp_us, time),
        created,
    )


def features(state: SessionState) -> dict[str, Any]:
    """Give the features of a session, named as ``columns.SESSION_FEATURE_FIELDS``.

    Parameters
    ----------
    state : SessionState
        With at least one click.

    Returns
    -------
    dict
        ``items`` list of str; counts int; shares and seconds float; ``session_start`` int microseconds UTC.

    Raises
    ------
    ValueError
        If the state holds no click.

    Examples
    --------
    >>> state = apply(empty(), FoldClick("e0", "a", 5 * MICROSECONDS, 5 * MICROSECONDS), FoldConfig())
    >>> features(state)["click_count"], features(state)["duration_seconds"]
    (1, 0.0)
    """
    if not state.count:
        raise ValueError("a session without clicks has no features; apply a click first")
    kept = len(state.items)
    distinct = len(set(state.items))
    spread = state.times[-1] - state.times[0]
    return {
        "items": list(state.items),
        "last_item": state.items[-1],
        "click_count": state.count,
        "distinct_items": distinct,
        "repeat_share": (kept - distinct) / kept,
        "duration_seconds": (state.event_timestamp_us - state.start_us) / MICROSECONDS,
        "mean_gap_seconds": spread / (kept - 1) / MICROSECONDS if kept > 1 else 0.0,
        "last_gap_seconds": (state.times[-1] - state.times[-2]) / MICROSECONDS if kept > 1 else 0.0,
        "late_clicks": state.late,
        "session_start": state.start_us,
    }


def encode(state: SessionState) -> bytes:
    """Pack a state for storage.

    Returns
    -------
    bytes
        MessagePack of (version, state); ``decode`` gives back an equal state.
    """
    return _ENCODER.encode((STATE_VERSION, state))


def decode(data: bytes) -> SessionState:
    """Unpack a stored state.

    Raises
    ------
    ValueError
        If the bytes are no state, or one of another version; the remedy is to rebuild the store from the
        topic.
    """
    try:
        version, state = _DECODER.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(
            f"stored session state cannot be read ({error}); delete the state folder to rebuild it from the "
            "topic"
        ) from None
    if version != STATE_VERSION:
        raise ValueError(
            f"stored session state has version {version}, this program reads {STATE_VERSION}; delete the "
            "state folder to rebuild it from the topic"
        )
    return state
