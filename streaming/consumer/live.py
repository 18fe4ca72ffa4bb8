"""Live features of sessions, to the online store: the newer row wins there, so repeating is harmless. What it
refuses is owed, and written again from the stored states.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

from feature_repo.contract import session
from feature_repo.contract.endpoints import online_store_url
from feature_repo.contract.session import SessionState
from feature_repo.contract.settings import Settings
from feature_repo.stores.packed.client import OnlineStoreError
from feature_repo.stores.packed.live import LiveFeatureWriter, LiveRow
from streaming.consumer.partitions import Partitions
from streaming.consumer.pipeline import Outcome
from streaming.consumer.records import Outbox
from streaming.metrics import ConsumerMetrics

log = logging.getLogger("intentstore.consumer")
RETRY_SECONDS = 0.2


class LiveFeatures:
    """Writes the features of sessions that changed.

    Parameters
    ----------
    settings : Settings
        The online store.
    partitions : Partitions
        What is owed of a partition that went is its next owner's to write.
    metrics : ConsumerMetrics
        Counts refusals, and tells whether the input is paused for them.
    """

    def __init__(self, settings: Settings, partitions: Partitions, metrics: ConsumerMetrics) -> None:
        self._writer = LiveFeatureWriter(online_store_url(settings), cluster=settings.online.cluster)
        self._partitions, self._metrics = partitions, metrics
        self._owed: list[tuple[int, Outbox]] = []
        self._retry_at = 0.0

    @property
    def owing(self) -> bool:
        """Whether the store has not taken everything yet; nothing more may be read meanwhile."""
        return bool(self._owed)

    def owe(self, left: Iterable[tuple[int, Outbox]]) -> None:
        """Take on what a broken-off batch may have left unwritten, by partition."""
        self._owed += left

    def forget(self) -> None:
        """Owe nothing any more: the partitions go, and their stores know."""
        self._owed = []

    def write(self, outcome: Outcome) -> None:
        """Write what a batch changed; what the store refuses is owed."""
        try:
            self._put(
                _row(name, state, batch.features.get(name))
                for batch in outcome.partitions.values()
                for name, state in batch.states.items()
                if state.count
            )
        except OnlineStoreError as error:
            self._refused(error)
            self._owed = [(partition, batch.outbox) for partition, batch in outcome.partitions.items()]

    def settle(self) -> bool:
        """Try again what is owed, now and then; gives whether everything is written now."""
        if time.monotonic() < self._retry_at:
            return False
        with self._partitions.lock:
            stores = self._partitions.stores
            rows = [
                _row(*pair)
                for partition, outbox in self._owed
                if partition in stores
                for pair in stores[partition].states(outbox.sessions).items()
                if pair[1].count
            ]
        try:
            self._put(rows)
        except OnlineStoreError as error:
            self._refused(error)
            return False
        self._owed = []
        self._metrics.paused.set(0)
        return True

    def _put(self, rows: Iterable[LiveRow]) -> None:
        if rows := list(rows):
            self._writer.write(rows)

    def _refused(self, error: Exception) -> None:
        self._metrics.sink_errors.labels("online").inc()
        if not self._metrics.paused._value.get():
            log.warning(
                "the online store does not take features (%s); the input is paused until it does", error
            )
        self._metrics.paused.set(1)
        self._retry_at = time.monotonic() + RETRY_SECONDS


def _row(session_id: str, state: SessionState, features: dict[str, Any] | None = None) -> LiveRow:
    """Give a session's row; ``features`` saves working them out a second time."""
    return LiveRow(
        session_id,
        state.event_timestamp_us,
        state.created_us,
        features or session.features(state),
        session.event_features(state),
    )
