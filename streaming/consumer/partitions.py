"""The partitions this consumer holds: their stores, where each goes on, and what happens when one comes or
goes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from feature_repo.contract.settings import Settings
from streaming.consumer import recovery
from streaming.consumer.recovery import Plan
from streaming.consumer.score_log import ScoreLog
from streaming.consumer.sinks import KafkaSink, SendError
from streaming.consumer.state import Outbox, PartitionStore
from streaming.metrics import ConsumerMetrics

log = logging.getLogger("intentstore.partitions")


class Partitions:
    """Stores by partition. The poll thread opens and uses them; the client's thread may take them away, so
    both hold ``lock``.

    Parameters
    ----------
    settings : Settings
        Topic, group, state folder.
    score_log : ScoreLog
        Recovered when a partition comes.
    metrics : ConsumerMetrics
        Counts comings and goings.
    accept_loss : bool
        Rebuild from what is left of a trimmed topic.
    """

    def __init__(
        self, settings: Settings, score_log: ScoreLog, metrics: ConsumerMetrics, accept_loss: bool = False
    ) -> None:
        self._settings, self._score_log, self._metrics, self._accept_loss = (
            settings,
            score_log,
            metrics,
            accept_loss,
        )
        self._topic, self._group = settings.kafka.clicks_topic, settings.streaming.group
        self.lock = threading.Lock()
        self.stores: dict[int, PartitionStore] = {}
        self.answer_from: dict[int, int] = {}
        # waits for answers under way, so that the next owner finds them
        self.before_release: Callable[[], None] = lambda: None
        # broker's time of the last record processed, for the lag in seconds
        self.newest_us: dict[int, int] = {}

    def release(self, partitions: Iterable[int], kind: str) -> None:
        """Close the stores of partitions that go; everything of them is on disk already. Any thread."""
        with self.lock:
            if kind == "revoked":
                self._wait()
            for partition in partitions:
                store = self.stores.pop(partition, None)
                self.answer_from.pop(partition, None)
                if store is not None:
                    self._score_log.forget(partition)
                    store.close()
                    self._metrics.rebalances.labels(kind).inc()
                    log.info("%s-%d %s at offset %s", self._topic, partition, kind, store.next_offset)

    def _wait(self) -> None:
        try:
            self.before_release()
        except SendError as error:
            log.warning("%s; the next owner sends it from the outbox", error)

    def adopt(self, consumer: Any, sink: KafkaSink) -> list[tuple[int, Outbox]]:
        """Open the stores of partitions that came, seek to where they go on, and send what a crash left
        unsent. Poll thread only.

        Parameters
        ----------
        consumer : KafkaConsumer
            Holding the assignment.
        sink : KafkaSink
            For what was left unsent.

        Returns
        -------
        list of (int, Outbox)
            Partitions whose live features must be written again.

        Raises
        ------
        StateLostError
            See ``recovery.plan``.
        SendError
            The broker did not take what was left unsent.
        """
        fresh = sorted(
            partition.partition
            for partition in consumer.assignment()
            if partition.partition not in self.stores
        )
        if not fresh:
            return []
        opened = {partition: PartitionStore(self._folder(partition)) for partition in fresh}
        try:
            plans = self._plans(consumer, opened)
            left = self._resend(opened, plans, sink)
            self._seek(consumer, plans)
        except BaseException:
            for store in opened.values():
                store.close()
            raise
        for partition, store in opened.items():
            self._score_log.adopt(partition, store)
            self._metrics.rebalances.labels("assigned").inc()
        with self.lock:
            self.stores.update(opened)
            self.answer_from.update({partition: one.answer_from for partition, one in plans.items()})
        return left

    def restoring(self) -> bool:
        """Whether some partition is still folding clicks that were answered before."""
        with self.lock:
            return any(
                (self.stores[partition].next_offset or 0) < start
                for partition, start in self.answer_from.items()
            )

    def close(self) -> None:
        """Close every store."""
        self.release(list(self.stores), "closed")

    def _folder(self, partition: int) -> Any:
        return self._settings.state_dir / self._group / f"{self._topic}-{partition}"

    def _plans(self, consumer: Any, opened: Mapping[int, PartitionStore]) -> dict[int, Plan]:
        from kafka import TopicPartition

        names = {partition: TopicPartition(self._topic, partition) for partition in opened}
        committed = {partition: consumer.committed(name) for partition, name in names.items()}
        begins, ends = (
            consumer.beginning_offsets(list(names.values())),
            consumer.end_offsets(list(names.values())),
        )
        doubtful = [
            p for p, store in opened.items() if store.next_offset is None or store.next_offset != committed[p]
        ]
        answered = (
            recovery.sent_through(
                self._settings, self._settings.kafka.recommendations_topic, doubtful, self._group
            )
            if doubtful
            else {}
        )
        plans = {}
        for partition, store in opened.items():
            plans[partition] = recovery.plan(
                f"{self._topic}-{partition}",
                stored=store.next_offset,
                committed=committed[partition],
                answered=answered.get(partition, -1),
                beginning=begins[names[partition]],
                end=ends[names[partition]],
                accept_loss=self._accept_loss,
            )
            log.info("%s-%d comes: %s", self._topic, partition, plans[partition])
        return plans

    def _resend(
        self, opened: Mapping[int, PartitionStore], plans: Mapping[int, Plan], sink: KafkaSink
    ) -> list[tuple[int, Outbox]]:
        left = [(partition, opened[partition].outbox()) for partition, one in plans.items() if one.resend]
        if not any(outbox.answers or outbox.letters for _, outbox in left):
            return left
        numbers = [partition for partition, _ in left]
        kafka = self._settings.kafka
        answers = recovery.sent_through(self._settings, kafka.recommendations_topic, numbers, self._group)
        letters = recovery.sent_through(self._settings, kafka.dead_letter_topic, numbers, self._group)
        sink.begin()
        sent = sum(
            sink.send(partition, outbox, answers[partition], letters[partition]) for partition, outbox in left
        )
        sink.flush()
        if sink.transactional:
            sink.commit({}, None)
        self._metrics.resent.inc(sent)
        log.info("sent %d messages that a broken-off batch had left", sent)
        return left

    def _seek(self, consumer: Any, plans: Mapping[int, Plan]) -> None:
        from kafka import TopicPartition

        still = consumer.assignment()
        for partition, one in plans.items():
            name = TopicPartition(self._topic, partition)
            if name in still:
                consumer.seek(name, one.position)
