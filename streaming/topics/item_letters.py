"""Refused records of the items topic, to the dead letters: by one member of a group, so that each goes there
once however many processes follow the topic.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from feature_repo.contract.items.messages import ItemError, decode_item
from feature_repo.contract.settings import Settings
from streaming.clients import BOOTSTRAP_TIMEOUT_MS, client_options, finish_join
from streaming.topics.dead_letters import headers_of
from streaming.topics.ensure import MAX_MESSAGE_BYTES
from streaming.topics.following import Following

log = logging.getLogger("intentstore.items")
POLL_MS = 500
RETRY_SECONDS = 2.0
SEND_SECONDS = 30.0
CLOSE_SECONDS = 5.0
GROUP_SUFFIX = ".items"


class ItemLetters:
    """A background thread that sends refused records to the dead letters and commits behind them; a crash in
    between sends a letter twice, which readers of the letters show once.

    Parameters
    ----------
    settings : Settings
        Broker, topics, group.
    on_refused : callable, optional
        Called with the reason of each.
    """

    def __init__(self, settings: Settings, on_refused: Callable[[str], object] = lambda reason: None) -> None:
        self._settings, self._on_refused = settings, on_refused
        self._group = settings.streaming.group + GROUP_SUFFIX
        self._following = Following("item-letters", self._follow, self._failed, RETRY_SECONDS)
        self._said = ""

    def start(self) -> None:
        """Start looking."""
        self._following.start()

    def close(self) -> None:
        """Stop, after what is under way."""
        self._following.close(CLOSE_SECONDS)

    def _failed(self, error: Exception) -> None:
        # what was not committed is looked at again, by this process or another member
        problem = f"{type(error).__name__}: {str(error)[:200]}"
        if problem != self._said:
            log.warning("refused items wait for the dead letters (%s); trying again", problem)
        self._said = problem

    # In this order; a crash after any step is repaired by reading again from the commit:
    #   1 read   2 letters of refused records, flushed   3 commit
    def _follow(self) -> None:
        from kafka import KafkaConsumer

        consumer = KafkaConsumer(
            self._settings.kafka.items_topic,
            **client_options(self._settings),
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS,
        )
        producer: Any = None
        try:
            while not self._following.stop.is_set():
                polled = consumer.poll(timeout_ms=POLL_MS)
                finish_join(consumer)
                refused = [
                    letter
                    for records in polled.values()
                    for record in records
                    if (letter := self._letter(record))
                ]
                if refused:
                    producer = producer or self._producer()
                    sent = [
                        producer.send(self._settings.kafka.dead_letter_topic, **letter) for letter in refused
                    ]
                    producer.flush(timeout=SEND_SECONDS)
                    for future in sent:
                        future.get(timeout=SEND_SECONDS)
                if polled:
                    consumer.commit()
        finally:
            if producer is not None:
                producer.close(timeout=2.0)
            consumer.close(autocommit=False, timeout_ms=2000)

    def _letter(self, record: Any) -> dict[str, Any] | None:
        try:
            decode_item(record.value, record.key)
        except ItemError as error:
            self._on_refused(error.reason)
            now_us = time.time_ns() // 1000
            headers = headers_of(error, record.topic, record.partition, record.offset, now_us)
            key = record.key if record.key is not None or record.value is not None else b""
            source = "source", f"{self._group}/{record.offset}".encode()
            return {"value": record.value, "key": key, "headers": [*headers, source]}
        return None

    def _producer(self) -> Any:
        from kafka import KafkaProducer

        return KafkaProducer(
            **client_options(self._settings),
            acks="all",
            enable_idempotence=True,
            max_request_size=2 * MAX_MESSAGE_BYTES,
            compression_type="gzip",
            bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS,
        )
