"""When the next request to an endpoint goes out: waits between attempts, gaps between all requests."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

from tenacity import wait_exponential_jitter
from tenacity.wait import wait_base

LONGEST_WAIT_SECONDS: Final = 20.0  # between attempts, where the server does not say
LONGEST_ASKED_SECONDS: Final = (
    120.0  # Retry-After is followed: limits by the minute; those by the hour are the next run's
)


class Wait(wait_base):
    """Exponential backoff with jitter, or what Retry-After asks for where that is longer."""

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._backoff = wait_exponential_jitter(initial=0.5, max=LONGEST_WAIT_SECONDS)

    def __call__(self, retry_state: Any) -> float:
        """Return the seconds before the next attempt."""
        error = retry_state.outcome.exception() if retry_state.outcome else None
        asked = min(LONGEST_ASKED_SECONDS, getattr(error, "retry_after", 0.0))
        return self._scale * max(asked, float(self._backoff(retry_state)))


class Pace:
    """Spaces requests evenly, over all threads."""

    def __init__(self, per_minute: float | None) -> None:
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Sleep until this thread's turn."""
        if not self._gap:
            return
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._gap
        pause = turn - time.monotonic()
        if pause > 0:
            threading.Event().wait(pause)
