"""The partitions this consumer holds: their stores, where each goes on, and what happens when one comes or
goes.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from feature_repo.contract.settings import Settings
from streaming.consumer import recovery
from streaming.consumer.moves.adoption import Adoption
from streaming.consumer.records import Outbox
from streaming.consumer.recovery import Plan
from streaming.consumer.score_log import ScoreLog
from streaming.consumer.sinks import KafkaSink, SendError
from streaming.consumer.state import PartitionStore
from streaming.errors import StreamingError
from streaming.metrics import ConsumerMetrics
from streaming.topics.layout import Layout

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
    outputs : callable
        Gives how many partitions the output topics have; a clicks partition beyond waits.
    """

    def __init__(
        self,
        settings: Settings,
        score_log: ScoreLog,
        metrics: ConsumerMetrics,
        accept_loss: bool,
        outputs: Callable[[], int],
    ) -> None:
        self._settings, self._score_log, self._metrics, self.accept_loss = (
            settings,
            score_log,
            metrics,
            accept_loss,
        )
        self._topic, self._group = settings.kafka.clicks_topic, settings.streaming.group
        self.lock = threading.Lock()
        self.stores: dict[int, PartitionStore] = {}
        self.plans: dict[int, Plan] = {}
        self._adoption: Adoption | None = None
        # What the group gave us, each time with another number: a partition that goes, or goes and comes
        # back, while its store is being opened is told from one that stayed. The client's own assignment
        # names a lost partition a little longer.
        self._given: dict[int, int] = {}
        self._gifts = itertools.count()
        # waits for answers under way, so that the next owner finds them
        self.before_release: Callable[[], None] = lambda: None
        self._outputs = outputs
        self.waiting: set[int] = set()
        # broker's time of the last record processed, for the lag in seconds
        self.newest_us: dict[int, int] = {}

    def release(self, partitions: Iterable[int], kind: str) -> None:
        """Close the stores of partitions that go; everything of them is on disk already, and their score-log
        rows are written to files, as the store may not be opened here again. Any thread.
        """
        with self.lock:
            sent = self._wait() if kind == "revoked" else False
            for partition in partitions:
                self._given.pop(partition, None)
                self.waiting.discard(partition)
                self._drop(partition, kind, sent)

    def give(self, partitions: Iterable[int]) -> None:
        """Note partitions that came; ``adopt`` opens their stores. Any thread."""
        with self.lock:
            self._given.update((partition, next(self._gifts)) for partition in partitions)

    def _drop(self, partition: int, kind: str, sent: bool = False) -> None:
        store = self.stores.pop(partition, None)
        self.plans.pop(partition, None)
        if store is not None:
            self._score_log.forget(partition)
            self._write_rows(partition, store, sent)
            store.close()
            self._metrics.rebalances.labels(kind).inc()
            log.info("%s-%d %s at offset %s", self._topic, partition, kind, store.next_offset)

    def _write_rows(self, partition: int, store: PartitionStore, sent: bool) -> None:
        """Write score-log rows to a file, without those of a batch that the broker may not have taken."""
        try:
            unsure = set() if sent else {offset for offset, _, _ in store.outbox().answers}
            self._metrics.score_rows.inc(self._score_log.hand_over(partition, store, unsure))
        except StreamingError as error:
            log.warning("%s; the rows stay in the store", error)

    def _wait(self) -> bool:
        """Give whether the broker has taken everything."""
        try:
            self.before_release()
        except SendError as error:
            log.warning("%s; the next owner sends it from the outbox", error)
            return False
        return True

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
        StateMovedError
            See ``layout.check_partitions``.
        SendError
            The broker did not take what was left unsent.
        """
        from kafka.errors import CommitFailedError, RebalanceInProgressError

        assert self._adoption is not None, "begin comes first"
        fresh = self._answerable(consumer, sink)
        if not fresh:
            return []
        opened: dict[int, PartitionStore] = {}
        try:
            # one after the other, so that those opened before one that fails are closed
            for partition in fresh:
                opened[partition] = PartitionStore(self._folder(partition))
            plans, left = self._adoption.take(consumer, opened, sink)
            self._seek(consumer, plans)
        except BaseException as error:
            for partition, store in opened.items():
                self._score_log.forget(partition)
                store.close()
            if not isinstance(error, CommitFailedError | RebalanceInProgressError):
                raise
            log.info(
                "the group is giving out partitions anew (%s); those that stay come in the next turn", error
            )
            return []
        self._metrics.rebalances.labels("assigned").inc(len(opened))
        with self.lock:
            self.stores.update(opened)
            self.plans.update(plans)
            gone = {partition for partition, number in fresh.items() if self._given.get(partition) != number}
            for partition in gone:
                self._drop(partition, "lost")
        return [(partition, outbox) for partition, outbox in left if partition not in gone]

    def begin(self, layout: Layout, drains: bool = False) -> None:
        """Take partitions over by this layout from now on, be it a past one; to be called for each new set of
        clients, before the first assignment.
        """
        with self.lock:
            self._given.clear()
        self._adoption = Adoption(
            self._settings, layout, self._score_log, self._metrics, self.accept_loss, drains
        )

    def layout(self, partition: int) -> Layout:
        """Give the log of a partition that is held."""
        marks = self.stores[partition].marks
        assert marks is not None, "written when it came"
        return marks.layout

    def committable(self, partition: int, position: int) -> bool:
        """Whether this position of a held partition may be committed, see ``recovery.may_commit``."""
        plan = self.plans.get(partition)
        return plan is not None and recovery.may_commit(position, plan.answer_from, plan.letter_from)

    def _answerable(self, consumer: Any, sink: KafkaSink) -> dict[int, int]:
        """Give the partitions that came and can be answered, as numbered in ``give``; others are paused until
        their outputs are there.
        """
        from kafka import TopicPartition

        with self.lock:
            given = {
                partition: number for partition, number in self._given.items() if partition not in self.stores
            }
        assigned = consumer.assignment() if given else set()
        fresh = {
            partition: number
            for partition, number in given.items()
            if TopicPartition(self._topic, partition) in assigned
        }
        if not fresh:
            return {}
        waiting = {one for one in fresh if not (one < self._outputs() and sink.takes(one))}
        if waiting != self.waiting:
            log.warning(
                "partitions %s of '%s' wait for their output partitions",
                sorted(waiting) or "none",
                self._topic,
            )
            with self.lock:
                self.waiting = waiting & self._given.keys()
        consumer.pause(*(TopicPartition(self._topic, partition) for partition in waiting))
        ready = {partition: fresh[partition] for partition in sorted(fresh.keys() - waiting)}
        consumer.resume(*(TopicPartition(self._topic, partition) for partition in ready))
        return ready

    def restoring(self) -> bool:
        """Whether some partition is still folding clicks that were answered before, or waits."""
        with self.lock:
            mine = any(
                not self.committable(partition, store.next_offset or 0)
                for partition, store in self.stores.items()
            )
            return bool(self.waiting) or mine

    def close(self) -> None:
        """Close every store."""
        self.release(list(self.stores), "closed")

    def _folder(self, partition: int) -> Path:
        return self._settings.state_dir / self._group / f"{self._topic}-{partition}"

    def _seek(self, consumer: Any, plans: Mapping[int, Plan]) -> None:
        from kafka import TopicPartition

        still = consumer.assignment()
        for partition, one in plans.items():
            name = TopicPartition(self._topic, partition)
            if name in still:
                consumer.seek(name, one.position)
