"""Live features for the HTTP side, through the one reader of the online store that every part uses."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from feature_repo.stores.packed.live import LiveFeatureReader
from streaming.http.engine import NOT_FOUND, OUTSIDE_MAX_AGE, PRESENT, SessionRow

PROBE = "readiness probe"  # an id that no session has; only whether the store answers matters


class LiveRows:
    """Reads session rows and says whether they may still be used. Used on one thread.

    Parameters
    ----------
    make_reader : callable
        Gives the reader; called at the first read, and again after a failure, so that an address that comes
        later is found.
    max_age_us : int or None
        Rows with an older event time are OUTSIDE_MAX_AGE; None = no bound.
    """

    def __init__(self, make_reader: Callable[[], LiveFeatureReader], max_age_us: int | None) -> None:
        self._make, self._max_age = make_reader, max_age_us
        self._reader: LiveFeatureReader | None = None

    def read_rows(self, session_ids: Sequence[str]) -> list[SessionRow]:
        """Read rows in one round trip; raises what the reader raises."""
        if self._reader is None:
            self._reader = self._make()
        reader = self._reader
        try:
            found = reader.read(session_ids)
        except Exception:
            self._reader = None
            reader.close()
            raise
        oldest = None if self._max_age is None else time.time_ns() // 1000 - self._max_age
        rows = []
        for row in found:
            if row is None:
                rows.append(SessionRow(NOT_FOUND))
                continue
            event_us, created_us = int(row.pop("event_timestamp_us")), int(row.pop("created_us"))
            outside = oldest is not None and event_us < oldest
            rows.append(
                SessionRow(
                    OUTSIDE_MAX_AGE if outside else PRESENT, event_us, created_us, None if outside else row
                )
            )
        return rows

    def problem(self) -> str:
        """Say why the store does not answer; empty when it does."""
        try:
            self.read_rows([PROBE])
        except Exception as error:  # noqa: BLE001
            # whatever it is, it is the reason why the store is not ready
            return f"{type(error).__name__}: {str(error)[:200]}"
        return ""

    def close(self) -> None:
        """Return the connections."""
        if self._reader is not None:
            self._reader.close()
