"""The consumer: polls clicks from Kafka, hands them to the pipeline, stores, sends and commits. The only
module that drives a Kafka consumer.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from feature_repo.contract.settings import Settings
from streaming.clients import BROKER_WAIT_SECONDS, finish_join
from streaming.consumer.commits import Commits
from streaming.consumer.counting import count
from streaming.consumer.housekeeping import Housekeeping
from streaming.consumer.live import LiveFeatures
from streaming.consumer.moves.adoption import group_layout
from streaming.consumer.moves.repartition import Moved
from streaming.consumer.partitions import Partitions
from streaming.consumer.pipeline import Outcome, Pipeline, RawRecord
from streaming.consumer.score_log import ScoreLog, pack
from streaming.consumer.sinks import KafkaSink, SendError
from streaming.consumer.source import kafka_consumer, raw_records, rebalance_listener, refusal
from streaming.errors import BrokerAwayError, StateMovedError, StreamingError, StuckError
from streaming.intents.requests import IntentRequests
from streaming.metrics import ConsumerMetrics
from streaming.topics.changes import TopicWatch
from streaming.topics.fence import Fence
from streaming.topics.layout import Layout
from streaming.topics.offsets import offsets_of

log = logging.getLogger("intentstore.consumer")
POLL_MS = 200  # how long an idle poll waits; the delay of SIGTERM and of housekeeping
# being idle counts from the first assignment after a join, or from here when other members hold everything
JOIN_SECONDS = 15.0
RESTART_SECONDS = 1.0  # between two tries with new Kafka clients
MAX_RESTARTS = 20  # in a row without one good batch


class Consumer:
    """One consumer process.

    Parameters
    ----------
    settings : Settings
        All of it.
    pipeline : Pipeline
        What is done with records.
    metrics : ConsumerMetrics
        What is counted.
    accept_loss : bool
        See ``recovery.plan``.
    until_idle_seconds : float, optional
        End when nothing came for so long.
    drain : tuple of (Layout, Fence), optional
        Read alone, and only what was sent by this layout; see ``streaming.consumer.moves.repartition``.
    follow : callable, optional
        Sees that states are where their keys go, when partitions were added; gets what says whether to give
        up. None = stop then.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        metrics: ConsumerMetrics,
        *,
        accept_loss: bool = False,
        until_idle_seconds: float | None = None,
        drain: tuple[Layout, Fence] | None = None,
        follow: Callable[[Callable[[], bool]], Moved] | None = None,
    ) -> None:
        self._settings, self._pipeline, self._metrics, self._until_idle = (
            settings,
            pipeline,
            metrics,
            until_idle_seconds,
        )
        self._topic = settings.kafka.clicks_topic
        self._score_log = score_log = ScoreLog(settings.home / "score_log", self._topic)
        self._watch = watch = TopicWatch(settings)
        self._partitions = Partitions(settings, score_log, metrics, accept_loss, lambda: watch.outputs)
        self._live = LiveFeatures(settings, self._partitions, metrics)
        self._house = Housekeeping(settings, self._partitions, score_log, metrics)
        self._commits = Commits(settings, self._partitions, metrics)
        self._requests: IntentRequests | None = None
        self._unsettled = False  # whether the broker may not have taken the last batch yet
        self._restarts = 0
        self._away_since: float | None = None  # no broker has answered
        self._drain = drain
        self._moving, self._follow = "", follow
        # the change that was followed, until partitions come: what a move does not mend must not be tried for
        # ever
        self._followed = ""
        self._last_record = self._unassigned_since = 0.0  # each join sets them
        self.stopping = False
        self.totals: dict[str, int] = {
            "answered": 0,
            "duplicates": 0,
            "refused": 0,
            "restored": 0,
            "aside": 0,
        }

    def run(self) -> None:
        """Consume until told to stop, or idle.

        Raises
        ------
        StreamingError
            What only a person can mend: lost state, tripped breaker, no broker for a long time.
        """
        from kafka.errors import KafkaError

        while not self.stopping:
            try:
                if self._moving and self._follow is not None:
                    self._add(self._follow(lambda: self.stopping).drained)
                    self._moving, self._followed = "", self._moving
                self._with_clients()
            except (SendError, StuckError, KafkaError) as error:
                if isinstance(error, KafkaError) and not error.retriable:
                    raise refusal(error) from error
                if self._drain is not None:
                    raise  # whoever moves states asks for its turn again
                self._restarts += not isinstance(error, StuckError)
                if self._restarts > MAX_RESTARTS:
                    raise StreamingError(
                        f"gave up after {MAX_RESTARTS} tries with new Kafka clients: {error}"
                    ) from error
                self._metrics.restarts.labels("stuck" if isinstance(error, StuckError) else "send").inc()
                log.warning("%s; going on with new Kafka clients", error)
                time.sleep(RESTART_SECONDS)
            except StateMovedError as error:
                if self._follow is None or str(error) == self._followed:
                    raise
                log.warning("%s; the states are moved now", error)
                self._moving = str(error)
            except BrokerAwayError as error:
                self._away_since = self._away_since or time.monotonic()
                if time.monotonic() - self._away_since > BROKER_WAIT_SECONDS:
                    raise
                log.warning("%s; trying again", error)
                time.sleep(RESTART_SECONDS)

    def _with_clients(self) -> None:
        streaming = self._settings.streaming
        fenced = streaming.transactional or self._drain is not None
        name = (
            f"{streaming.group}-{streaming.instance_id or os.getpid()}"
            if self._drain is None
            else f"{streaming.group}.repartition"
        )
        with contextlib.ExitStack() as closing:  # in the opposite order
            sink = KafkaSink(self._settings, name if fenced else None)
            closing.callback(sink.close, 2.0)
            consumer = kafka_consumer(self._settings)
            closing.callback(consumer.close, autocommit=False, timeout_ms=2000)
            closing.callback(self._watch.close)
            closing.callback(self._let_go)
            requests = IntentRequests(self._settings, sink.aside)
            self._requests = requests if requests.wanted and not sink.transactional else None
            self._join(consumer)
            self._away_since = None
            self._unassigned_since = time.monotonic()
            # what came before this join, a move of states that took minutes too, is no idle time
            self._last_record = self._unassigned_since + JOIN_SECONDS
            self._commits = Commits(self._settings, self._partitions, self._metrics)
            self._partitions.before_release = lambda: self._await(sink, lambda: True)
            while not self.stopping:
                self._turn(consumer, sink)
            self._finish(consumer, sink)

    def _let_go(self) -> None:
        self._partitions.before_release = lambda: None  # what is unsettled now is sent again from the outbox
        self._partitions.close()
        self._live.forget()
        self._unsettled = False

    def _join(self, consumer: Any) -> None:
        """Ask the group for partitions; who drains takes all of the old ones."""
        from kafka import TopicPartition

        if self._drain is not None:
            layout, _ = self._drain
            self._partitions.begin(layout, drains=True)
            self._watch.open(layout, drains=True)
            consumer.assign(
                [TopicPartition(self._topic, partition) for partition in range(layout.partitions)]
            )
            self._partitions.give(range(layout.partitions))
            return
        layout = group_layout(self._settings, consumer, self._partitions.accept_loss)
        self._partitions.begin(layout)
        self._watch.open(layout)
        # a member that joins without knowing the topic may be left without partitions for ever
        consumer.partitions_for_topic(self._topic)
        consumer.subscribe([self._topic], listener=rebalance_listener(self._partitions))

    def _turn(self, consumer: Any, sink: KafkaSink) -> None:
        """One turn of the loop: poll, process, and what is due beside it."""
        self._watch.turn()
        if self._live.owing:
            consumer.pause(*consumer.assignment())
        self._metrics.start()
        polled = consumer.poll(timeout_ms=POLL_MS)
        if finish_join(consumer):
            log.info("a join of the group that was broken off goes on")
        began = time.monotonic()
        self._metrics.done("poll")
        held = set(self._partitions.stores)
        self._live.owe(self._partitions.adopt(consumer, sink))
        if set(self._partitions.stores) - held:
            self._last_record, self._followed = time.monotonic(), ""
        self._check_assigned(began)
        # What this poll gave of a partition that came only now was read from the group's commit, not from
        # where our state goes on.
        known = {name: batch for name, batch in polled.items() if name.partition in held}
        if self._drain is not None:
            known = self._drain[1].cut(consumer, known, self._watch.partitions)
        if self._live.owing:
            self._settle_live(consumer)
        elif known:
            self._batch(consumer, sink, known)
        else:
            self._settle(sink)
        self._house.run(consumer, bool(polled))
        if self._commits.due(began) and not self._live.owing:
            self._settle(sink)
            self._commits.commit(consumer)
        self._pace(began, bool(polled))

    def _check_assigned(self, now: float) -> None:
        """Join again when nothing is assigned for long: harmless for a true standby, the cure for a join that
        went wrong.
        """
        if self._partitions.stores or self._partitions.waiting:
            self._unassigned_since = now
        elif now - self._unassigned_since > self._settings.streaming.watchdog_seconds:
            raise StuckError(
                f"no partition of '{self._topic}' was assigned for "
                f"{self._settings.streaming.watchdog_seconds:.0f} s"
            )

    # One batch, in this order; a crash after any step is repaired at the next start:
    #   1 decode, drop duplicates, fold   2 score   3 wait for the broker, until it has taken the batch before
    #   4 state, next offset, outbox and score-log rows in one write   5 send   6 live features
    #   7 commit (four times a second, and only when the broker has taken everything)
    # Before 4 nothing has happened. After it the outbox holds the very bytes to send; those that the output
    # topics do not hold yet are sent again. 3 stands there, and not behind 5, so that the broker works while
    # the next batch is scored; the outbox is replaced by 4 and not before.
    def _batch(self, consumer: Any, sink: KafkaSink, polled: Mapping[Any, Sequence[Any]]) -> None:
        with self._partitions.lock:
            stores = self._partitions.stores
            records = {
                name.partition: raw_records(name.partition, batch, stores[name.partition].next_offset)
                for name, batch in polled.items()
                if name.partition in stores
            }
            records = {partition: batch for partition, batch in records.items() if batch}
            if not records:
                return
            self._metrics.start()
            outcome = self._pipeline.process(records, stores, self._partitions.plans, self._watch.check)
            self._await(sink, lambda: self.stopping)
            self._metrics.done("flush")
            for partition, batch in outcome.partitions.items():
                stores[partition].write(
                    batch.next_offset,
                    batch.states,
                    batch.outbox,
                    [(offset, pack(row)) for offset, row in batch.rows],
                )
            self._metrics.done("store")
            sink.begin()
            for partition, batch in outcome.partitions.items():
                sink.send(partition, batch.outbox)
            self._unsettled = True
            self._metrics.done("send")
        if sink.transactional:
            self._transaction(consumer, sink, outcome)
        self._live.write(outcome)
        self._metrics.done("live")
        for partition, batch in outcome.partitions.items():
            self._score_log.add(partition, batch.rows)
        self._metrics.done("log")
        if self._requests is not None:
            self._metrics.intent_requests.inc(self._requests.offer(outcome.sessions))
        self._count(records, outcome)
        self._pipeline.check_breaker()

    def _settle(self, sink: KafkaSink, stop: Callable[[], bool] | None = None) -> None:
        """Wait until the broker has taken what was sent."""
        with self._partitions.lock:
            self._await(sink, stop or (lambda: self.stopping))

    def _await(self, sink: KafkaSink, stop: Callable[[], bool]) -> None:
        if self._unsettled:
            sink.flush(stop)
            self._unsettled, self._restarts = False, 0

    def _settle_live(self, consumer: Any) -> None:
        """Try again what the online store refused; the input stays paused meanwhile."""
        if self._live.settle():
            self._rewind(consumer)
            consumer.resume(*consumer.assignment())

    def _rewind(self, consumer: Any) -> None:
        """Read on after what is stored: records that a poll gave while the input was paused were not looked
        at.
        """
        for name in consumer.assignment():
            store = self._partitions.stores.get(name.partition)
            if store is not None and store.next_offset is not None:
                consumer.seek(name, store.next_offset)

    def _transaction(self, consumer: Any, sink: KafkaSink, outcome: Outcome) -> None:
        with self._partitions.lock:
            logs = {partition: self._partitions.layout(partition) for partition in self._partitions.stores}
            after = {
                p: batch.next_offset
                for p, batch in outcome.partitions.items()
                if self._partitions.committable(p, batch.next_offset)
            }
        sink.commit(offsets_of(self._topic, after, logs), consumer.group_metadata())
        self._unsettled = False

    def _finish(self, consumer: Any, sink: KafkaSink) -> None:
        """Leave nothing undone at a proper end: answers under way, score-log files and the last commit."""
        from kafka.errors import KafkaError

        self._settle(sink, lambda: True)
        self._house.roll_all()
        if self._drain is not None:
            self._drain[1].note(consumer)
        self._commits.forget()
        if not self._live.owing:
            self._commits.commit(consumer)
            try:
                consumer.poll(timeout_ms=POLL_MS, max_records=1)  # lets the asynchronous commit finish
            except KafkaError as error:
                log.warning("the last commit may not have arrived (%s); the state knows better anyway", error)

    def _count(self, records: Mapping[int, Sequence[RawRecord]], outcome: Outcome) -> None:
        self._last_record = time.monotonic()
        for partition, batch in records.items():
            self._partitions.newest_us[partition] = batch[-1].timestamp_us
        self._add(count(self._metrics, records, outcome))

    def _add(self, totals: Mapping[str, int]) -> None:
        self.totals = {name: number + totals.get(name, 0) for name, number in self.totals.items()}

    def _pace(self, began: float, busy: bool) -> None:
        """Keep polls apart: a poll costs a millisecond of CPU whether it brings one record or fifty."""
        if busy:
            rest = self._settings.streaming.linger_ms / 1000 - (time.monotonic() - began)
            if rest > 0:
                time.sleep(rest)
        elif (
            self._until_idle is not None
            and time.monotonic() - self._last_record > self._until_idle
            and not self._live.owing
        ):
            self.stopping = True
