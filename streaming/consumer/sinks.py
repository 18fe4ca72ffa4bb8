"""Where answers and dead letters go: to Kafka, idempotently."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from feature_repo.contract.settings import Settings
from streaming.clients import BOOTSTRAP_TIMEOUT_MS, client_options, no_broker
from streaming.consumer.records import Letter, Outbox
from streaming.consumer.recovery import LOG_HEADER, SOURCE_HEADER

log = logging.getLogger("intentstore.sinks")
# a restarting broker is back long before; below the client's own 120 s, so that we report, not it
FLUSH_SECONDS = 100.0
_FLUSH_STEP_SECONDS = 1.0
# larger letters go compressed: they came in a compressed batch, and must fit the same limit
_LARGE_BYTES = 500_000
MAX_REQUEST_BYTES = 256 << 20
# One batch of answers in one request, just below the megabyte that a broker takes by default. A fuller one
# would make the client wake its sender at every further message, which cost 7 % of the processor time of a
# catch-up.
_BATCH_BYTES = 900 << 10


class SendError(RuntimeError):
    """The broker did not take a batch; it is in the outbox and goes out again with a new client."""


class KafkaSink:
    """Sends answers and dead letters, each to the partition of its click, in offset order, idempotently.

    Parameters
    ----------
    settings : Settings
        Broker, topics, group, ``streaming.transactional``.
    transactional_id : str, optional
        Makes each batch and its commit one transaction.
    """

    def __init__(self, settings: Settings, transactional_id: str | None = None) -> None:
        self._settings = settings
        self._answers_topic, self._letters_topic = (
            settings.kafka.recommendations_topic,
            settings.kafka.dead_letter_topic,
        )
        self._source = settings.streaming.group.encode().replace(b"%", b"%%") + b"/%d"
        self.logs: dict[int, bytes] = {}  # by partition: names the log whose offsets the messages speak of
        self._futures: list[Any] = []
        self._large: Any = None
        self.transactional = transactional_id is not None
        self._producer = self._make(transactional_id=transactional_id)
        if self.transactional:
            self._producer.init_transactions()

    def begin(self) -> None:
        """Start a batch."""
        self._futures = []
        if self.transactional:
            self._producer.begin_transaction()

    def send(self, partition: int, outbox: Outbox, answers_after: int = -1, letters_after: int = -1) -> int:
        """Queue what a partition's batch has to say; nothing waits here.

        Parameters
        ----------
        partition : int
            Of the clicks, and so of the answers and letters; ``logs`` must know it.
        outbox : Outbox
            What to send.
        answers_after, letters_after : int
            Offsets up to these were sent before; they are left out.

        Returns
        -------
        int
            Messages queued.
        """
        send, topic, source, futures = self._producer.send, self._answers_topic, self._source, self._futures
        before, of = len(futures), (LOG_HEADER, self.logs[partition])
        for offset, key, value in outbox.answers:
            if offset > answers_after:
                futures.append(send(topic, value, key, [(SOURCE_HEADER, source % offset), of], partition))
        for letter in outbox.letters:
            if letter.offset > letters_after:
                futures.append(self._letter(partition, letter))
        return len(futures) - before

    def flush(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Wait until the broker has taken everything.

        Parameters
        ----------
        stop : callable
            Asked every second; true gives up early.

        Raises
        ------
        SendError
            It did not, in time; the batch is still in the outbox.
        """
        from kafka.errors import KafkaError, KafkaTimeoutError

        deadline = time.monotonic() + FLUSH_SECONDS
        while True:
            try:
                self._producer.flush(timeout=_FLUSH_STEP_SECONDS)
                if self._large is not None:
                    self._large.flush(timeout=_FLUSH_STEP_SECONDS)
                break
            except KafkaTimeoutError:
                if stop() or time.monotonic() > deadline:
                    raise SendError("the broker did not take a batch in time") from None
            except KafkaError as error:
                raise SendError(f"the broker refused a batch ({error})") from error
        for future in self._futures:
            if future.exception is not None:
                raise SendError(f"the broker refused a message ({future.exception})") from future.exception
        self._futures = []

    def takes(self, partition: int) -> bool:
        """Whether the clients know this partition of both topics; they look every
        ``kafka.metadata_seconds``.
        """
        clients = [producer for producer in (self._producer, self._large) if producer is not None]
        names = (self._answers_topic, self._letters_topic)
        return all(partition in client.partitions_for(topic) for client in clients for topic in names)

    def aside(self, topic: str, value: bytes, key: bytes) -> None:
        """Send something that may be lost, and wait for nothing."""
        self._producer.send(topic, value, key)

    def commit(self, offsets: Mapping[Any, Any], group: Any) -> None:
        """End the transaction together with the group's offsets.

        Raises
        ------
        SendError
            The transaction failed or another process has taken over; the batch is still in the outbox.
        """
        from kafka.errors import KafkaError

        try:
            if offsets:
                self._producer.send_offsets_to_transaction(offsets, group)
            self._producer.commit_transaction()
        except KafkaError as error:
            raise SendError(f"the transaction failed ({error})") from error

    def close(self, seconds: float) -> None:
        """Close the clients; what is still queued goes out or is given up after this time."""
        for producer in (self._producer, self._large):
            if producer is not None:
                producer.close(timeout=seconds)

    def _letter(self, partition: int, letter: Letter) -> Any:
        producer = self._producer
        if len(letter.value or b"") + len(letter.key or b"") > _LARGE_BYTES and not self.transactional:
            self._large = self._large or self._make(compression_type="gzip")
            producer = self._large
        key = letter.key if letter.key is not None or letter.value is not None else b""
        headers = [
            *letter.headers,
            (SOURCE_HEADER, self._source % letter.offset),
            (LOG_HEADER, self.logs[partition]),
        ]
        return producer.send(self._letters_topic, letter.value, key, headers, partition)

    def _make(self, **options: Any) -> Any:
        from kafka import KafkaProducer
        from kafka.errors import KafkaError

        try:
            return KafkaProducer(
                **client_options(self._settings),
                acks="all",
                enable_idempotence=True,
                linger_ms=0,
                batch_size=_BATCH_BYTES,
                max_request_size=MAX_REQUEST_BYTES,
                metrics_enabled=False,
                bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS,
                **options,
            )
        except KafkaError as error:
            raise no_broker("producer", self._settings, error) from None
