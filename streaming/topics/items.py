"""Follows the items topic in a background thread: what it says of every item, as one object at any moment.
Belongs to no consumer group, commits nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from feature_repo.contract.items.fold import ItemFold, LiveItems, Placed
from feature_repo.contract.items.messages import ItemError, decode_item
from feature_repo.contract.settings import Settings
from streaming.topics import ensure as topics
from streaming.topics.following import Following
from streaming.topics.item_store import ItemStore
from streaming.topics.tails import reader_of

log = logging.getLogger("intentstore.items")
POLL_MS = 250
POLL_RECORDS = 5_000
PAUSE_SECONDS = 0.05  # between polls: kafka-python pays 1.5 ms of CPU a poll
LOOK_SECONDS = 2.0  # between looks at the end offsets
STORE_SECONDS = 10.0  # between two writes of what is known
ANSWER_MS = 5_000
_CLIENT = {"bootstrap_timeout_ms": ANSWER_MS, "reconnect_backoff_max_ms": 1_000, "fetch_max_wait_ms": 500}


class ItemFeed:
    """What the items topic says, now.

    It begins with what this home stored and reads on from there: a compacted topic may have replaced an
    accepted record by a refused one, and a broker may drop records without a value after a while.

    Parameters
    ----------
    settings : Settings
        Broker, topic, and the home where what is known is kept.

    Attributes
    ----------
    problem : str
        Why it is not up to date; empty once it caught up with what the topic held at the start.
    refused : int
        Records passed over since the start, as they break the contract.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._topic = settings, settings.kafka.items_topic
        self._store = ItemStore(settings)
        self._fold = ItemFold()
        self._now = self._fold.now()
        self._positions: dict[int, int] = {}
        self._changed, self._stored_at = False, time.monotonic()
        self._said: set[str] = set()
        self._up = threading.Event()
        self._following = Following("items", self._follow, self._failed)
        self.problem = "the items topic has not been read yet"
        self.refused = 0

    def now(self) -> LiveItems:
        """Give what the topic says; the very same object while nothing changed."""
        return self._now

    def start(self) -> None:
        """Start reading."""
        self._following.start()

    def wait(self, seconds: float) -> bool:
        """Wait until it caught up with what the topic held at the start; gives whether it did."""
        return self._up.wait(seconds)

    def close(self) -> None:
        """Stop reading, and keep what is known."""
        self._following.close()

    def _failed(self, error: Exception) -> None:
        problem = (
            f"topic '{self._topic}' cannot be read ({type(error).__name__}: {str(error)[:200]}); "
            "items stay as they were"
        )
        if problem != self.problem:  # told once, not at every try
            log.warning("%s", problem)
        self.problem = problem

    def _follow(self) -> None:
        topics.ensure(self._settings, same_width=False)
        self._begin(topics.topic_id(self._settings, self._topic))
        with reader_of(self._settings, **_CLIENT) as reader:
            goal = self._assign(reader)
            looked = time.monotonic()
            while not self._following.stop.is_set():
                polled = reader.poll(timeout_ms=POLL_MS, max_records=POLL_RECORDS)
                for name, records in polled.items():
                    self._take(name.partition, records)
                if not self._up.is_set() or self.problem:
                    self._check_goal(reader, goal)
                if time.monotonic() - looked >= LOOK_SECONDS:
                    looked = time.monotonic()
                    if self._another_log(reader):
                        break
                self._keep()
                if polled:
                    self._following.stop.wait(PAUSE_SECONDS)
            self._keep(at_once=True)

    def _begin(self, topic_id: str) -> None:
        """Take what was stored of this very topic, the first time; forget what another one said."""
        if self._store.topic_id == topic_id:
            return
        if self._store.topic_id:
            log.warning("topic '%s' was made anew; what the one before said is forgotten", self._topic)
        self._fold, self._positions = ItemFold(), {}
        stored = self._store.open(topic_id)
        self._fold.restore(stored.records)
        self._positions = dict(stored.positions)
        self._now = self._fold.now()

    def _assign(self, reader: Any) -> dict[Any, int]:
        """Read every partition on from where it is known; gives the ends to catch up with."""
        from kafka import TopicPartition

        numbers = reader.partitions_for_topic(self._topic)
        if not numbers:
            raise LookupError("it does not exist; create it, or name another by kafka.items_topic")
        names = [TopicPartition(self._topic, number) for number in sorted(numbers)]
        reader.assign(names)
        first, ends = reader.beginning_offsets(names, ANSWER_MS), reader.end_offsets(names, ANSWER_MS)
        for name in names:
            start = self._positions.get(name.partition, 0)
            if start > ends[name]:
                log.warning("%s lost its end; it is read from its beginning", name)
                self._fold.forget(name.partition)
                start = 0
            self._positions[name.partition] = max(start, first[name])
            reader.seek(name, self._positions[name.partition])
        self._now = self._fold.now()
        return dict(ends)

    def _take(self, partition: int, records: list[Any]) -> None:
        for record in records:
            try:
                update = decode_item(record.value, record.key)
            except ItemError as error:
                self.refused += 1
                if error.reason not in self._said:  # each kind once: a broken sender must not fill the log
                    self._said.add(error.reason)
                    log.warning("%s-%d@%d is passed over: %s", self._topic, partition, record.offset, error)
                continue
            self._fold.apply(Placed(partition, record.offset, record.timestamp * 1000, update))
        self._positions[partition] = records[-1].offset + 1
        self._now, self._changed = self._fold.now(), True

    def _check_goal(self, reader: Any, goal: dict[Any, int]) -> None:
        # markers and compacted records take offsets too, so the client's own position is the truth
        if all(reader.position(name) >= end for name, end in goal.items()):
            self.problem = ""
            self._up.set()

    def _another_log(self, reader: Any) -> bool:
        """Say whether the topic has new partitions, or is not the one that was read."""
        names = list(reader.assignment())
        ends = reader.end_offsets(names, ANSWER_MS)
        if any(reader.position(name) > ends[name] for name in names):
            return True
        return len(reader.partitions_for_topic(self._topic) or ()) > len(names)

    def _keep(self, at_once: bool = False) -> None:
        due = time.monotonic() - self._stored_at >= STORE_SECONDS
        if self._changed and (due or at_once):
            self._store.write(self._positions, self._fold.placed())
            self._changed, self._stored_at = False, time.monotonic()
