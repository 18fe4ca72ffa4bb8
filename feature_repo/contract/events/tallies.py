"""Events of a session by type, as the fold keeps them: those that moved it, and those that wait to be
counted. Knows nothing of clicks in order.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

import msgspec

from feature_repo.contract.events.rules import EventRule


class Waiting(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Events kept aside since the session last moved; they count with its next move, or with the next session
    where that begins within the gap.

    Attributes
    ----------
    kinds, tallies : tuple
        Names of types, sorted, and how often.
    ended : tuple of str
        Items whose interest ended.
    newest_us : int
        Newest event time among them.
    arrived_us : int
        When the last of them arrived.
    """

    kinds: tuple[str, ...] = ()
    tallies: tuple[int, ...] = ()
    ended: tuple[str, ...] = ()
    newest_us: int = 0
    arrived_us: int = 0


class Event(NamedTuple):
    """An event as it is counted; its time and its arrival in microseconds UTC."""

    rule: EventRule
    item_id: str
    time_us: int
    arrival_us: int


class Counted(NamedTuple):
    """The last fields of a session's state: events by type, items whose interest ended, and what waits."""

    kinds: tuple[str, ...]
    tallies: tuple[int, ...]
    ended: tuple[str, ...]
    waiting: Waiting


NOTHING_WAITS = Waiting()
NOTHING_COUNTED = Counted((), (), (), NOTHING_WAITS)


def kept(waiting: Waiting, event: Event, gap_us: int | None, max_items: int) -> Waiting:
    """Let an event wait for the session's next move.

    Parameters
    ----------
    waiting : Waiting
        Before; events older than the gap belong to a session that did not go on, or never began, and are let
        go.
    event : Event
    gap_us : int or None
    max_items : int
        Ended items kept.

    Examples
    --------
    >>> kept(NOTHING_WAITS, Event(EventRule("cart", False, 0.0, False, True), "a", 5, 5), None, 50).kinds
    ('cart',)
    """
    if waiting.kinds and gap_us is not None and event.time_us - waiting.newest_us > gap_us:
        waiting = NOTHING_WAITS
    kinds, tallies = _tallied(waiting.kinds, waiting.tallies, event.rule.name, 1)
    ended = _with_ended(waiting.ended, event.item_id, max_items) if event.rule.ends else waiting.ended
    newest, arrived = max(waiting.newest_us, event.time_us), max(waiting.arrived_us, event.arrival_us)
    return Waiting(kinds, tallies, ended, newest, arrived)


def counted(before: Counted, waiting: Waiting, event: Event, gap_us: int | None, max_items: int) -> Counted:
    """Count an event that moves the session, and those that waited for it.

    Parameters
    ----------
    before : Counted
        Of the session that goes on; nothing where one begins.
    waiting : Waiting
        Counted where it lies within the gap of the event, let go where it is older, kept where it is newer.
    event : Event
    gap_us : int or None
    max_items : int
        Ended items kept.
    """
    kinds, tallies, ended, _ = before
    if waiting.kinds:
        pause = event.time_us - waiting.newest_us
        if gap_us is None or abs(pause) <= gap_us:
            for name, number in zip(waiting.kinds, waiting.tallies, strict=True):
                kinds, tallies = _tallied(kinds, tallies, name, number)
            for item in waiting.ended:
                ended = _with_ended(ended, item, max_items)
        if gap_us is None or pause >= -gap_us:
            waiting = NOTHING_WAITS
    kinds, tallies = _tallied(kinds, tallies, event.rule.name, 1)
    if event.rule.ends:
        ended = _with_ended(ended, event.item_id, max_items)
    return Counted(kinds, tallies, ended, waiting)


def _tallied(
    kinds: tuple[str, ...], tallies: tuple[int, ...], name: str, number: int
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    if kinds == (name,):  # most logs have one type
        return kinds, (tallies[0] + number,)
    at = bisect_left(kinds, name)
    if at < len(kinds) and kinds[at] == name:
        return kinds, (*tallies[:at], tallies[at] + number, *tallies[at + 1 :])
    return (*kinds[:at], name, *kinds[at:]), (*tallies[:at], number, *tallies[at:])


def _with_ended(ended: tuple[str, ...], item: str, max_items: int) -> tuple[str, ...]:
    return (*(one for one in ended if one != item), item)[-max_items:]
