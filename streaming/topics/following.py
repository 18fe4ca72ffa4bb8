"""A background thread that follows a topic while its process lives. Knows nothing of what is read."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Following:
    """Runs a follower in a thread of its own, and again after whatever it raises.

    Parameters
    ----------
    name : str
        Of the thread.
    follow : callable
        Connects, and reads until ``stop`` is set; returning earlier means to begin again.
    on_failure : callable
        Hears what was raised, before each further try.
    retry_seconds : float
        Before a further try.

    Attributes
    ----------
    stop : threading.Event
        Set when the follower must end.
    """

    def __init__(
        self,
        name: str,
        follow: Callable[[], None],
        on_failure: Callable[[Exception], None],
        retry_seconds: float = 1.0,
    ) -> None:
        self._follow, self._on_failure, self._retry_seconds = follow, on_failure, retry_seconds
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.stop = threading.Event()

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def close(self, seconds: float = 10.0) -> None:
        """Stop reading, and wait so long for the end of what is under way."""
        self.stop.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self.stop.is_set():
            try:
                self._follow()
            except Exception as error:  # noqa: BLE001
                # whatever the client raises, the remedy is a new connection at the same place
                self._on_failure(error)
                self.stop.wait(self._retry_seconds)
