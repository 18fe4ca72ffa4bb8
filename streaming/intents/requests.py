"""Near-line intents as the consumer sees them: which sessions are worth an LLM call, and the answers that
became known since. Calls no LLM.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from feature_repo.contract.session import SessionState
from feature_repo.contract.settings import ASKED_SOURCES, Settings

if TYPE_CHECKING:
    from model.recommender.loaded_model import LoadedModel

log = logging.getLogger("intentstore.near_line")
FIRST_CLICKS = 3  # a session of two titles tells an LLM no more than the encoder
# a local LLM answers about one session a second; more requests would only age in the topic
MAX_PER_SECOND = 5.0
RELOAD_SECONDS = 5.0


class IntentRequest(msgspec.Struct, frozen=True):
    """One session that is worth a call: its items, oldest first, and its newest event time in microseconds
    UTC.
    """

    session_id: str
    items: list[str]
    event_time_us: int


def worth_a_call(state: SessionState, source: str) -> bool:
    """Whether a session should be sent to the LLM now: its intents were guessed, and its length has just
    doubled (3, 6, 12, ... clicks).

    Examples
    --------
    >>> (
    ...     worth_a_call(SessionState(items=("a",) * 6, count=6), "encoder"),
    ...     worth_a_call(SessionState(items=("a",) * 7, count=7), "encoder"),
    ... )
    (True, False)
    """
    times, rest = divmod(state.count, FIRST_CLICKS)
    return source not in ASKED_SOURCES and source != "none" and rest == 0 and times.bit_count() == 1


class IntentRequests:
    """Sends requests beside the answers, never before them, and at a bounded rate; a lost request costs
    nothing but a better intent.

    Parameters
    ----------
    settings : Settings
        ``intents`` and the topic.
    send : callable
        Topic, value and key to Kafka, without waiting.
    """

    def __init__(self, settings: Settings, send: Callable[[str, bytes, bytes], Any]) -> None:
        intents = settings.intents
        self.wanted = intents.source in ASKED_SOURCES and intents.max_calls > 0
        self._topic, self._send, self._credit, self._at = (
            settings.kafka.intent_requests_topic,
            send,
            MAX_PER_SECOND,
            time.monotonic(),
        )

    def offer(self, answered: Sequence[tuple[str, SessionState, str]]) -> int:
        """Look at what a batch answered and send what is worth it.

        Parameters
        ----------
        answered : sequence of (str, SessionState, str)
            Session id, state and the source of the intents that were answered.

        Returns
        -------
        int
            Requests sent.
        """
        now = time.monotonic()
        self._credit, self._at = min(self._credit + (now - self._at) * MAX_PER_SECOND, MAX_PER_SECOND), now
        sent = 0
        for session_id, state, source in answered:
            if self._credit < 1:
                break
            if worth_a_call(state, source):
                request = IntentRequest(session_id, list(state.items), state.event_timestamp_us)
                self._send(self._topic, msgspec.json.encode(request), session_id.encode())
                self._credit -= 1
                sent += 1
        return sent


class KnownAnswers:
    """Lets the loaded model's live intents know what the near-line worker found out, by looking at its file
    now and then.
    """

    def __init__(self, settings: Settings) -> None:
        from model.intent.ground.live import ANSWERS_FILE, live_folder

        self._file: Path = live_folder(settings) / ANSWERS_FILE
        self._next, self._seen = 0.0, 0
        self._told: object = None

    def refresh(self, model: LoadedModel | None) -> int:
        """Read the file when it has changed; gives how many answers the model now knows of it."""
        now = time.monotonic()
        if model is None or now < self._next:
            return 0
        self._next = now + RELOAD_SECONDS
        intents: Any = model.intents
        if not hasattr(intents, "remember") or intents.localiser is None or not self._file.is_file():
            return 0
        stamp = self._file.stat().st_mtime_ns
        if stamp == self._seen and self._told is intents:
            return 0
        from model.intent.ground.live import read_answers

        answers = read_answers(self._file, intents.localiser.dim)
        for key, intent in answers.items():
            intents.remember(key, intent)
        self._seen, self._told = stamp, intents
        return len(answers)
