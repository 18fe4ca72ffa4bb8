"""The topics while the consumer runs: their partitions, and so which clicks stand where they belong. Poll
thread only.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from feature_repo.contract.key_partitions import KeyRule, Width, checked_partitioner, key_rule
from feature_repo.contract.messages import ClickError
from feature_repo.contract.settings import Settings
from streaming.topics import ensure as topics
from streaming.topics.layout import Layout, check_partitions

log = logging.getLogger("intentstore.topics")
LOOK_MS = 5_000  # no answer within this is none; clicks wait meanwhile


class TopicWatch:
    """Looks at clicks, recommendations and dead letters every ``kafka.metadata_seconds``.

    Parameters
    ----------
    settings : Settings
        Broker, topics, ``kafka.create_partitions`` and how keys are checked.

    Attributes
    ----------
    outputs : int
        Partitions that both output topics have; a clicks partition from there on has nowhere to be answered.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._topic = settings, settings.kafka.clicks_topic
        self._admin: Any = None
        self._rule: KeyRule | None = None
        self._next, self._problem, self._told = 0.0, "", False
        self._exact = False  # whether we looked since the present batch came
        self._layout: Layout | None = None
        self._drains = False
        self.outputs = 0

    def open(self, layout: Layout, drains: bool = False) -> None:
        """Look for the first time.

        Parameters
        ----------
        layout : Layout
            By which states have their places.
        drains : bool
            Whether it is one of the past, that is read to its end.

        Raises
        ------
        KafkaError
            The broker does not answer.
        StateMovedError
            The topic has more partitions.
        """
        self._layout, self._drains, self._rule = layout, drains, None
        self._look()

    def close(self) -> None:
        """Close the connection; a later look makes another."""
        if self._admin is not None:
            self._admin.close()
        self._admin = None

    def turn(self) -> None:
        """Look when it is time; a broker that does not answer is asked again the next time.

        Raises
        ------
        StateMovedError
            Partitions were added.
        """
        from kafka.errors import KafkaError

        self._exact = False
        if time.monotonic() < self._next:
            return
        try:
            self._look()
        except KafkaError as error:
            log.warning("the topics cannot be looked at (%s); their partitions are taken as they were", error)

    def check(self, key: bytes, partition: int, offset: int) -> None:
        """Refuse a click that stands on another partition than its key's.

        Raises
        ------
        ClickError
            ``wrong_partition``.
        StateMovedError
            Partitions were added: before anything of this batch is written.
        KafkaError
            The broker does not answer; nothing was decided.
        """
        if self._rule is None:
            return
        try:
            self._rule.check(key, partition, offset)
        except ClickError:
            if not self._exact:  # the topic may have grown since we looked: never refuse by an old number
                self._look()
                self._exact = True
        else:
            return
        try:
            self._rule.check(key, partition, offset)
        except ClickError as error:
            if not self._told:
                self._told = True
                log.error(
                    "%s-%d@%d: %s; such clicks are dead letters (wrong_partition), see docs/runbook.md",
                    self._topic,
                    partition,
                    offset,
                    error,
                )
            raise

    def partitions(self) -> int:
        """Ask the broker how many partitions the clicks topic has now; 0 = there is none.

        Raises
        ------
        KafkaError
            The broker does not answer.
        """
        return self._sizes().get(self._topic, 0)

    # Through an admin client and not through the consumer's: the consumer's thread may just wait for the
    # stores, which are held while keys are checked.
    def _look(self) -> None:
        from kafka.errors import KafkaError

        assert self._layout is not None, "open comes first"
        self._next = time.monotonic() + self._settings.kafka.metadata_seconds
        found = self._sizes()
        if self._topic not in found:
            return  # deleted: what reads and sends says so
        try:
            self._rule = self._rule or self._make_rule(self._layout)
        except KafkaError:
            self.close()
            raise
        kafka = self._settings.kafka
        self.outputs = min(found.get(kafka.recommendations_topic, 0), found.get(kafka.dead_letter_topic, 0))
        if self._drains:
            return  # of the new partitions nothing is read, and so nothing waits
        check_partitions(self._topic, self._layout.partitions, found[self._topic])
        problem = topics.too_narrow(self._settings, found)
        if problem and problem != self._problem:
            log.error("%s; clicks of the new partitions wait, the others go on", problem)
        self._problem = problem

    def _sizes(self) -> dict[str, int]:
        from kafka.errors import KafkaError

        try:
            self._admin = self._admin or topics.connect(self._settings, request_timeout_ms=LOOK_MS)
            return topics.sizes(self._admin, self._settings)
        except KafkaError:
            self.close()
            raise

    # Where states were moved, whatever an older number of partitions put here was read before the move; what
    # came so late that it was not would meet no state. While an older layout is read to its end, newer
    # numbers do not count: the fence sees to them.
    def _make_rule(self, layout: Layout) -> KeyRule:
        present = KeyRule(checked_partitioner(self._settings.kafka), (Width(layout.partitions),))
        if self._drains:
            return present
        from kafka import TopicPartition
        from kafka.admin import OffsetSpec

        latest = self._admin.list_partition_offsets(
            {TopicPartition(self._topic, number): OffsetSpec.LATEST for number in range(layout.partitions)}
        )
        ends = {name.partition: end.offset for name, end in latest.items()}
        noted = key_rule(self._settings.kafka, self._settings.home, layout.topic_id, layout.partitions, ends)
        return present if layout.moved else noted
