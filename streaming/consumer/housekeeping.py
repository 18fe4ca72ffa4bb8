"""What the consumer does beside batches: score-log files, what a killed process left of them, session expiry,
lag, sizes, and the watchdog for partitions that stand still.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from feature_repo.contract.settings import Settings
from streaming.consumer.partitions import Partitions
from streaming.consumer.score_log import ScoreLog
from streaming.consumer.stranded import Stranded
from streaming.errors import StuckError
from streaming.metrics import ConsumerMetrics

log = logging.getLogger("intentstore.consumer")
ROLL_SECONDS = 5.0  # a score-log row is in a file this soon, when there is time
LAG_SECONDS = 5.0
SWEEP_SECONDS = 1.0
SWEEP_SESSIONS = 500  # looked at per sweep: about 5 ms
_HOUR_US = 3_600_000_000


class Housekeeping:
    """Runs what is due; called after every poll, by the poll thread."""

    def __init__(
        self, settings: Settings, partitions: Partitions, score_log: ScoreLog, metrics: ConsumerMetrics
    ) -> None:
        self._settings, self._partitions, self._score_log, self._metrics = (
            settings,
            partitions,
            score_log,
            metrics,
        )
        now = time.monotonic()
        self._roll_at, self._lag_at, self._sweep_at = (
            now + ROLL_SECONDS,
            now + LAG_SECONDS,
            now + SWEEP_SECONDS,
        )
        self._progress: dict[int, tuple[int, float]] = {}
        self._restoring = False
        self._stranded = Stranded(settings, score_log)

    def run(self, consumer: Any, busy: bool) -> None:
        """Do what is due.

        Raises
        ------
        StuckError
            A partition has had records for ``streaming.watchdog_seconds`` and none of them came, or ends
            before where it was read.
        """
        now = time.monotonic()
        if now >= self._roll_at or self._score_log.full():
            self._roll_at = now + ROLL_SECONDS
            self.roll_all()
            self._look_for_stranded()
        elif not busy:
            self._look_for_stranded()
        if now >= self._sweep_at and not busy:
            self._sweep_at = now + SWEEP_SECONDS
            self._sweep()
        if now >= self._lag_at:
            self._lag_at = now + LAG_SECONDS
            self._lag(consumer, now)
        self._metrics.waiting.set(len(self._partitions.waiting))
        restoring = self._partitions.restoring()
        if self._restoring and not restoring:
            log.info("all partitions answer again")
        self._restoring = restoring
        self._metrics.ready.set(0 if restoring else 1)

    def roll_all(self) -> None:
        """Write every partition's score-log rows to files."""
        with self._partitions.lock:
            for partition, store in self._partitions.stores.items():
                self._metrics.score_rows.inc(self._score_log.roll(partition, store))

    def _look_for_stranded(self) -> None:
        """Once partitions are given out, the other stores of this disk are nobody's."""
        with self._partitions.lock:
            held = set(self._partitions.stores)
        if held:
            self._metrics.score_rows.inc(self._stranded.turn(held))

    def _sweep(self) -> None:
        oldest = time.time_ns() // 1000 - round(self._settings.streaming.session_ttl_hours * _HOUR_US)
        with self._partitions.lock:
            for store in self._partitions.stores.values():
                self._metrics.expired.inc(store.sweep(oldest, SWEEP_SESSIONS))

    def _lag(self, consumer: Any, now: float) -> None:
        from kafka import TopicPartition
        from kafka.errors import KafkaError

        with self._partitions.lock:
            at = {partition: store.next_offset or 0 for partition, store in self._partitions.stores.items()}
            sizes = {partition: store.size() for partition, store in self._partitions.stores.items()}
        try:
            ends = (
                consumer.end_offsets(
                    [TopicPartition(self._settings.kafka.clicks_topic, partition) for partition in at]
                )
                if at
                else {}
            )
        except KafkaError as error:
            log.warning("the topic's ends cannot be read (%s)", error)
            return
        for name, end in ends.items():
            partition = name.partition
            if end < at[partition]:  # new clients look whether it is the same topic
                raise StuckError(
                    f"{name.topic}-{partition} ends at offset {end}, before {at[partition]}, up to which it "
                    "was read"
                )
            behind = end - at[partition]
            before, since = self._progress.get(partition, (-1, now))
            moved = before != at[partition] or not behind or bool(consumer.paused())
            self._progress[partition] = (at[partition], now if moved else since)
            self._metrics.lag.labels(partition).set(behind)
            newest = self._partitions.newest_us.get(partition, 0)
            self._metrics.lag_seconds.labels(partition).set(
                max(time.time() - newest / 1e6, 0.0) if behind and newest else 0.0
            )
            self._metrics.state_keys.labels(partition).set(sizes[partition]["keys"])
            self._metrics.state_bytes.labels(partition).set(sizes[partition]["bytes"])
            if now - self._progress[partition][1] > self._settings.streaming.watchdog_seconds:
                self._progress = {}
                raise StuckError(f"{name.topic}-{partition} stands still at offset {at[partition]} of {end}")
