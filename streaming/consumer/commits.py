"""Commits of the group's offsets: asynchronous, now and then. The store is the truth; a commit tells
others.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from feature_repo.contract.settings import Settings
from streaming.consumer.partitions import Partitions
from streaming.errors import StuckError
from streaming.metrics import ConsumerMetrics
from streaming.topics.offsets import offsets_of

log = logging.getLogger("intentstore.consumer")
COMMIT_SECONDS = 0.25  # a commit a batch would cost a millisecond of CPU each
_POSITION_MS = 200


class Commits:
    """Commits what has changed since the last time.

    Parameters
    ----------
    settings : Settings
        Topic, and ``streaming.transactional``, by which commits go with the transactions and not through
        here.
    partitions : Partitions
        Only what is held is committed.
    metrics : ConsumerMetrics
        Counts commits.
    """

    def __init__(self, settings: Settings, partitions: Partitions, metrics: ConsumerMetrics) -> None:
        self._topic, self._transactional = settings.kafka.clicks_topic, settings.streaming.transactional
        self._partitions, self._metrics = partitions, metrics
        self._committed: dict[int, int] = {}
        self._next = 0.0
        self._patience_seconds = settings.streaming.watchdog_seconds
        self._failing_since: float | None = None
        self._under_way = 0  # commits that nobody has answered yet

    def due(self, now: float) -> bool:
        """Whether it is time again, by the monotonic clock."""
        return now >= self._next

    def forget(self) -> None:
        """Commit everything the next time."""
        self._committed = {}

    def commit(self, consumer: Any) -> None:
        """Tell the group how far we are, to be called when the broker has taken every answer; a failure is
        only counted.

        Raises
        ------
        StuckError
            Commits have failed for ``streaming.watchdog_seconds``: perhaps the group has forgotten us.
        """
        from kafka.errors import KafkaError

        self._next = (now := time.monotonic()) + COMMIT_SECONDS
        # the client's position also counts transaction markers, which are no records
        with self._partitions.lock:
            logs = {partition: self._partitions.layout(partition) for partition in self._partitions.stores}
        positions = {
            name.partition: consumer.position(name, timeout_ms=_POSITION_MS)
            for name in consumer.assignment()
            if name.partition in logs
        }
        changed = {
            p: offset
            for p, offset in positions.items()
            if offset is not None
            and self._committed.get(p) != offset
            and self._partitions.committable(p, offset)
        }
        if not changed or self._transactional:
            if not self._under_way:
                self._failing_since = None
            return
        if self._failing_since is not None and now - self._failing_since > self._patience_seconds:
            raise StuckError(f"commits have failed for {self._patience_seconds:.0f} s")
        self._metrics.start()
        self._committed |= changed
        self._under_way += 1
        try:
            consumer.commit_async(offsets_of(self._topic, changed, logs), self._done)
        except KafkaError as error:
            self._done(changed, error)
            return
        self._metrics.done("commit")

    def _done(self, offsets: Any, error: object) -> None:
        failed = isinstance(error, Exception)
        self._under_way -= 1
        if failed:
            self._committed = {}  # so that the next time tries again
        self._metrics.commits.labels("failed" if failed else "done").inc()
        if failed and self._failing_since is None:
            log.info("commits fail (%s: %s)", type(error).__name__, str(error)[:200])
        self._failing_since = (self._failing_since or time.monotonic()) if failed else None
