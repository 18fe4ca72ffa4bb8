"""Follows the recommendations topic in a background thread and hands the records on. Belongs to no consumer
group, commits nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from streaming.http.board import StoredAnswer
from streaming.topics.following import Following
from streaming.topics.foreign import answer_of

log = logging.getLogger("intentstore.http")
HISTORY_RECORDS = 20_000  # read again per partition at the start: the sessions of the last minutes
POLL_MS = 500
POLL_RECORDS = 2_000
# between polls: kafka-python pays 1.5 ms of CPU a poll, which would be taken from the requests
PAUSE_SECONDS = 0.02
CHECK_SECONDS = 2.0  # between looks at the end offsets, which tell lag and whether the broker answers
ANSWER_MS = 5_000  # a broker that does not answer within this is told as gone


class AnswerReader:
    """Reads all partitions of one topic from shortly before its end, for ever.

    Parameters
    ----------
    make_consumer : callable
        Gives a new kafka-python consumer with no topics and no group.
    topic : str
        Name of the topic.
    deliver : callable
        Takes lists of answers, on the reader's thread.

    Attributes
    ----------
    problem : str
        Why it is not up to date; empty once it caught up with what the topic held at the start.
    lag : int
        Records behind the end at the last look.
    foreign : int
        Records that others wrote there, left out.
    """

    def __init__(
        self,
        make_consumer: Callable[[], Any],
        topic: str,
        deliver: Callable[[list[StoredAnswer]], object],
        history: int = HISTORY_RECORDS,
    ) -> None:
        self._make, self._topic, self._deliver, self._history = make_consumer, topic, deliver, history
        self._positions: dict[int, int] = {}
        self._following = Following("answer-reader", self._follow, self._failed)
        self.broker_problem = "the broker has not answered yet"
        self.problem = "answers are being restored"
        self.lag = self.foreign = 0

    def start(self) -> None:
        """Start reading."""
        self._following.start()

    def close(self) -> None:
        """Stop reading and close the connection."""
        self._following.close()

    def _failed(self, error: Exception) -> None:
        problem = (
            f"topic '{self._topic}' cannot be read ({type(error).__name__}: {str(error)[:200]}); "
            "check kafka.bootstrap_servers"
        )
        if problem != self.broker_problem:  # told once, not at every try
            log.warning("%s", problem)
        self.broker_problem = problem

    def _follow(self) -> None:
        consumer = self._make()
        try:
            goal = self._assign(consumer)
            checked = time.monotonic()
            while not self._following.stop.is_set():
                records = [
                    record
                    for part in consumer.poll(timeout_ms=POLL_MS, max_records=POLL_RECORDS).values()
                    for record in part
                ]
                if records:
                    self._take(records)
                restoring = any(self._positions.get(partition, 0) < end for partition, end in goal.items())
                if not restoring:
                    self.problem = ""
                if time.monotonic() - checked >= CHECK_SECONDS:
                    checked = time.monotonic()
                    if self._look(consumer):
                        return  # partitions were added: begin again with all of them
                if records and not restoring:
                    self._following.stop.wait(PAUSE_SECONDS)
        finally:
            consumer.close()

    def _assign(self, consumer: Any) -> dict[int, int]:
        """Assign every partition, seek to where reading goes on, and give the end offsets to catch up
        with.
        """
        from kafka import TopicPartition

        numbers = consumer.partitions_for_topic(self._topic)
        if not numbers:
            raise LookupError(
                f"topic '{self._topic}' does not exist; start the consumer, or create the topic"
            )
        partitions = [TopicPartition(self._topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        first, ends = (
            consumer.beginning_offsets(partitions, ANSWER_MS),
            consumer.end_offsets(partitions, ANSWER_MS),
        )
        for partition in partitions:
            end = ends[partition]
            wanted = self._positions.get(partition.partition, end - self._history)
            start = min(max(wanted, first[partition]), end)
            self._positions[partition.partition] = start
            consumer.seek(partition, start)
        self.broker_problem = ""
        return {partition.partition: end for partition, end in ends.items()}

    def _take(self, records: list[Any]) -> None:
        ours = [record for record in records if answer_of(record.key, record.value) is not None]
        answers = [StoredAnswer(record.key, record.value, record.partition, record.offset) for record in ours]
        if len(ours) < len(records):
            if not self.foreign:  # told once
                log.warning(
                    "topic '%s' holds records that are no answers; they are left out and counted", self._topic
                )
            self.foreign += len(records) - len(ours)
        for record in records:
            self._positions[record.partition] = record.offset + 1
        self._deliver(answers)

    def _look(self, consumer: Any) -> bool:
        """Refresh lag and health; say whether the topic has new partitions."""
        assigned = consumer.assignment()
        ends = consumer.end_offsets(list(assigned), ANSWER_MS)
        # transaction markers take offsets too, so the client's own position is the truth
        for partition in assigned:
            self._positions[partition.partition] = max(
                self._positions[partition.partition], consumer.position(partition)
            )
        self.lag = sum(max(0, end - self._positions[partition.partition]) for partition, end in ends.items())
        self.broker_problem = ""
        return len(consumer.partitions_for_topic(self._topic) or ()) > len(assigned)
