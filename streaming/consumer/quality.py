"""Judges each answer by the next click of its session as soon as it arrives. Bounded memory, lost at a
restart; the exact figure, late clicks and all, is the `live-quality` job's.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from model.evaluate.next_click import rank_of
from streaming.running import Judged
from streaming.serving.answers import Answer

KEPT_SESSIONS = 20_000  # with twenty items each, about 60 MB; the longest silent ones go first


class _Waiting(NamedTuple):
    """An answer whose next click has not come yet."""

    newest_us: int
    items: tuple[str, ...]
    scores: tuple[float, ...]
    model_version: str


class NextClicks:
    """Keeps the latest answer of each session until its next click.

    Parameters
    ----------
    gap_us : int or None
        A click later than this begins another session, and judges nothing.
    kept : int
        Sessions.
    """

    def __init__(self, gap_us: int | None, kept: int = KEPT_SESSIONS) -> None:
        self._gap_us, self._kept = gap_us, kept
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()

    def click(self, session_id: str, item: str, time_us: int) -> Judged | None:
        """Hear of a click; gives the verdict on the answer that waited for it. A click that is older than the
        newest one that the answer knew judges nothing, and the answer goes on waiting.
        """
        one = self._waiting.get(session_id)
        if one is None or time_us < one.newest_us:
            return None
        del self._waiting[session_id]
        if self._gap_us is not None and time_us - one.newest_us > self._gap_us:
            return None
        return Judged(one.model_version, rank_of(item, one.items, one.scores, range(len(one.items))))

    def answer(self, session_id: str, newest_us: int, answer: Answer) -> None:
        """Hear of an answer, made when the newest click was of this time."""
        items = tuple([item.item_id for item in answer.items])
        scores = tuple([item.score for item in answer.items])
        self._waiting[session_id] = _Waiting(newest_us, items, scores, answer.model_version)
        self._waiting.move_to_end(session_id)
        if len(self._waiting) > self._kept:
            self._waiting.popitem(last=False)

    def __len__(self) -> int:
        return len(self._waiting)
