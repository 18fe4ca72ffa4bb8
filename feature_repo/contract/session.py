"""The session fold: clicks in arrival order to features. Knows nothing of Spark, Kafka or Feast.

One implementation serves batch and live, so that both agree bit for bit. The state is immutable and bounded;
times are integer microseconds since 1970 UTC, so no rounding depends on where it runs.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import msgspec

from feature_repo.contract.events import tallies
from feature_repo.contract.events.rules import EventRule, EventRules
from feature_repo.contract.events.tallies import NOTHING_COUNTED, NOTHING_WAITS, Counted, Waiting
from feature_repo.contract.settings import SessionSettings
from feature_repo.contract.spellings.event_types import CLICK

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
    events : EventRules
        Which types of events are clicks.
    """

    gap_us: int | None = None
    max_items: int = 50
    events: EventRules = EventRules()

    @classmethod
    def from_settings(cls, settings: SessionSettings) -> FoldConfig:
        """Take the rules from the settings (minutes become microseconds)."""
        gap = None if settings.gap_minutes is None else round(settings.gap_minutes * 60 * MICROSECONDS)
        return cls(gap, settings.max_items, EventRules.from_settings(settings.event_types))


class FoldClick(msgspec.Struct, frozen=True, gc=False):
    """One event as the fold sees it; times in microseconds UTC.

    ``arrival_time_us`` is when it could be known: the Kafka record's time, or for files the event time
    itself. ``event_type`` None = a click.
    """

    event_id: str
    item_id: str
    event_time_us: int
    arrival_time_us: int
    event_type: str | None = None


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
        Arrival of the last click that moved the session, strictly increasing, so that no two rows of a
        session tie.
    kinds, tallies : tuple
        Events of the current session by type, clicks and others, as of its last move.
    ended : tuple of str
        Items that are not recommended again in the current session, the latest ``max_items``.
    waiting : Waiting
        Events that have not been counted yet.
    """

    items: tuple[str, ...] = ()
    times: tuple[int, ...] = ()
    seen: tuple[str, ...] = ()
    count: int = 0
    start_us: int = 0
    late: int = 0
    event_timestamp_us: int = 0
    created_us: int = 0
    kinds: tuple[str, ...] = ()
    tallies: tuple[int, ...] = ()
    ended: tuple[str, ...] = ()
    waiting: Waiting = NOTHING_WAITS

    def moved_since(self, before: SessionState) -> bool:
        """Whether the session has other features than before, and its click is to be answered; an event kept
        aside moves nothing.
        """
        return self.created_us != before.created_us

    def counted(self) -> Counted:
        """Return the fields that events by type are counted in."""
        return Counted(self.kinds, self.tallies, self.ended, self.waiting)


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
    """Fold one event into the state.

    Parameters
    ----------
    state : SessionState
        Before the event.
    click : FoldClick
        The next one in arrival order.
    config : FoldConfig
        Gap, bound and event types; must be the same for all clicks of a log.

    Returns
    -------
    SessionState
        After the event; the very same object (``is``) when the event id was seen before.

    Notes
    -----
    A click older than the current session's start by more than the gap belongs to a session that is over: it
    is counted as late and changes no other feature. A late click within the session is inserted at its event
    time. An event that is no click waits for the session's next move, and is counted then; one that ends
    interest moves the session at once where it falls into it.

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
    >>> bought = apply(state, FoldClick("e3", "b", 30 * MICROSECONDS, 0, "buy"), config)
    >>> bought.items == state.items, bought.ended, bought.moved_since(state)
    (True, ('b',), True)
    """
    if click.event_id in state.seen:
        return state
    time, gap = click.event_time_us, config.gap_us
    seen = (*state.seen[-(SEEN_EVENTS - 1) :], click.event_id)
    rule = config.events.of(click.event_type)
    begins = not state.count or (gap is not None and time - state.event_timestamp_us > gap)
    over = not begins and gap is not None and state.start_us - time > gap
    if not rule.folded and (begins or over or not rule.ends):
        return _kept_waiting(state, click, seen, rule, config)
    created = max(click.arrival_time_us, state.created_us + 1)
    if over:
        return _moved(state, seen, state.late + 1, created, state.counted())
    before = NOTHING_COUNTED if begins else state.counted()
    event = tallies.Event(rule, click.item_id, time, click.arrival_time_us)
    counted = tallies.counted(before, state.waiting, event, gap, config.max_items)
    if not rule.folded:
        return _moved(state, seen, state.late, created, counted)
    if begins:
        return SessionState((click.item_id,), (time,), seen, 1, time, 0, time, created, *counted)
    return _longer(state, click, seen, created, counted, config.max_items)


def _longer(
    state: SessionState,
    click: FoldClick,
    seen: tuple[str, ...],
    created: int,
    counted: Counted,
    max_items: int,
) -> SessionState:
    time = click.event_time_us
    # the usual case, spelled out for speed: the newest click goes to the end
    if time >= state.event_timestamp_us:
        items, times = (*state.items, click.item_id)[-max_items:], (*state.times, time)[-max_items:]
        first, newest, late = state.start_us, time, state.late
    else:
        at = bisect_right(state.times, time)
        items = (*state.items[:at], click.item_id, *state.items[at:])[-max_items:]
        times = (*state.times[:at], time, *state.times[at:])[-max_items:]
        first, newest, late = min(state.start_us, time), state.event_timestamp_us, state.late + 1
    return SessionState(items, times, seen, state.count + 1, first, late, newest, created, *counted)


def _moved(
    state: SessionState, seen: tuple[str, ...], late: int, created: int, counted: Counted
) -> SessionState:
    """Give the session with the same clicks."""
    kept = (state.items, state.times, seen, state.count, state.start_us, late, state.event_timestamp_us)
    return SessionState(*kept, created, *counted)


def _kept_waiting(
    state: SessionState, click: FoldClick, seen: tuple[str, ...], rule: EventRule, config: FoldConfig
) -> SessionState:
    event = tallies.Event(rule, click.item_id, click.event_time_us, click.arrival_time_us)
    waiting = tallies.kept(state.waiting, event, config.gap_us, config.max_items)
    return msgspec.structs.replace(state, seen=seen, waiting=waiting)


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


def event_features(state: SessionState) -> dict[str, Any]:
    """Give the events of a session by type, named as ``columns.SESSION_EVENT_FIELDS``.

    Returns
    -------
    dict
        ``event_types`` and ``event_counts`` in the same order, ``ended_items``.

    Examples
    --------
    >>> state = empty()
    >>> for n, kind in enumerate(["view", "addtocart", "view"]):
    ...     state = apply(state, FoldClick(f"e{n}", "a", n, n, kind), FoldConfig())
    >>> event_features(state)
    {'event_types': ['cart', 'view'], 'event_counts': [1, 2], 'ended_items': []}
    """
    return {
        "event_types": list(state.kinds),
        "event_counts": list(state.tallies),
        "ended_items": list(state.ended),
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
    if state.count and not state.kinds:  # of a version that took every event for a click
        return msgspec.structs.replace(state, kinds=(CLICK,), tallies=(state.count,))
    return state
