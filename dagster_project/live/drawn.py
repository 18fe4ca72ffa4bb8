"""Draws answered sessions by a fixed seed, with what was clicked next. Reads no topic, writes no page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from feature_repo.contract.messages import Click

SEED = 17  # of the draw; never changed to show nicer sessions
SESSIONS = 5
Place = tuple[int, int]  # partition and offset of a click's record


@dataclass(frozen=True)
class Sent:
    """A click as it stands in the topic."""

    place: Place
    click: Click


@dataclass(frozen=True)
class Next:
    """What followed a click in its session.

    Attributes
    ----------
    count : int
        Clicks of the session so far, this one included.
    item : str
        The item that was clicked next.
    """

    count: int
    item: str


def following(sent: Iterable[Sent], gap_us: int | None) -> dict[Place, Next]:
    """Say of every click that has a successor in its session what was clicked next.

    Parameters
    ----------
    sent : iterable of Sent
        Clicks of one session id in the order of the topic; repeated event ids are left out.
    gap_us : int, optional
        A longer pause starts a new session; none = one session an id.

    Returns
    -------
    dict

    Examples
    --------
    >>> clicks = [
    ...     Click(str(n), "s", item, time) for n, (item, time) in enumerate([("a", 0), ("b", 5), ("c", 90)])
    ... ]
    >>> following([Sent((0, n), click) for n, click in enumerate(clicks)], gap_us=10)
    {(0, 0): Next(count=1, item='b')}
    """
    found: dict[Place, Next] = {}
    last: dict[str, tuple[Sent, int]] = {}
    known: set[str] = set()
    for one in sent:
        click = one.click
        if click.event_id in known:
            continue
        known.add(click.event_id)
        before, count = last.get(click.session_id, (None, 0))
        if before is not None and (gap_us is None or click.event_time - before.click.event_time <= gap_us):
            found[before.place] = Next(count, click.item_id)
        else:
            count = 0
        last[click.session_id] = (one, count + 1)
    return found


class Draw:
    """Sessions drawn out of a stream of answers: one answer a session, the same ones whenever the same clicks
    are answered.

    Parameters
    ----------
    followed : dict
        Of `following`; answers to other clicks are never drawn, because nothing is known to compare with.
    sessions : int
        How many are drawn.
    """

    def __init__(self, followed: dict[Place, Next], sessions: int = SESSIONS) -> None:
        self.followed, self.sessions = followed, sessions
        self._kept: dict[str, tuple[str, dict[str, Any]]] = {}

    def offer(self, session_id: str, place: Place, answer: bytes) -> None:
        """Hear of an answer, as the bytes of its record."""
        after = self.followed.get(place)
        if after is None:
            return
        mark = _mark(session_id, after.count)
        if session_id in self._kept:
            if mark >= self._kept[session_id][0]:
                return
        elif len(self._kept) >= self.sessions:
            # A session's own mark, not the answer's: long sessions are not drawn more often.
            worst = max(self._kept, key=_mark)
            if _mark(session_id) >= _mark(worst):
                return
            del self._kept[worst]
        self._kept[session_id] = (
            mark,
            {
                "partition": place[0],
                "offset": place[1],
                "answer": json.loads(answer),
                "clicked_next": after.item,
            },
        )

    def drawn(self) -> list[dict[str, Any]]:
        """Return partition, offset, answer, ``clicked_next`` and its ``rank`` among the recommended items
        (none = not among them), one dict a session.
        """
        found = [self._kept[name][1] for name in sorted(self._kept, key=_mark)]
        return [one | {"rank": _rank(one["answer"], one["clicked_next"])} for one in found]


def _rank(answer: dict[str, Any], item: str) -> int | None:
    items = [one["item_id"] for one in answer["items"]]
    return items.index(item) + 1 if item in items else None


def _mark(session_id: str, count: int = 0) -> str:
    return hashlib.sha256(f"{SEED} {count} {session_id}".encode()).hexdigest()
