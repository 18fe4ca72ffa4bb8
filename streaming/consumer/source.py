"""The Kafka consumer as this project configures it: cooperative, static where named, and never committing by
itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from feature_repo.contract.settings import Settings
from streaming.clients import BOOTSTRAP_TIMEOUT_MS, client_options, no_broker
from streaming.consumer.partitions import Partitions
from streaming.consumer.pipeline import RawRecord
from streaming.errors import StreamingError

SESSION_TIMEOUT_MS = 6_000  # after a kill -9 without a static id, others take over this soon


def raw_records(partition: int, batch: Sequence[Any], next_offset: int | None) -> list[RawRecord]:
    """Give the client's records as ours, without those before ``next_offset``: a fetch that was under way
    before a seek may bring them.
    """
    first = next_offset or 0
    return [
        RawRecord(partition, r.offset, max(r.timestamp, 0) * 1000, r.key, r.value)
        for r in batch
        if r.offset >= first
    ]


def kafka_consumer(settings: Settings) -> Any:
    """Connect a consumer of the configured group.

    Raises
    ------
    BrokerAwayError
        The broker does not answer.
    """
    from kafka import KafkaConsumer
    from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
    from kafka.errors import KafkaError

    streaming = settings.streaming
    try:
        return KafkaConsumer(
            **client_options(settings),
            group_id=streaming.group,
            group_instance_id=streaming.instance_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            partition_assignment_strategy=[CooperativeStickyAssignor],
            max_poll_records=streaming.max_records,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=SESSION_TIMEOUT_MS // 3,
            metrics_enabled=False,
            bootstrap_timeout_ms=BOOTSTRAP_TIMEOUT_MS,
        )
    except KafkaError as error:
        raise no_broker("consumer", settings, error) from None


def refusal(error: Exception) -> StreamingError:
    """Say in one line what a refusal of the client or the broker means, and what helps; for errors that no
    repetition mends.

    Examples
    --------
    >>> print(refusal(ValueError("no rights")))
    Kafka refuses (ValueError: no rights); check kafka.* in the settings, the rights of the user and the
    topics, then start again
    """
    from kafka.errors import UnsupportedCodecError

    if isinstance(error, UnsupportedCodecError):
        return StreamingError(
            f"clicks come compressed in a way that cannot be read here ({error}); install "
            "kafka-python[lz4,snappy,zstd], or set compression.type = uncompressed on the clicks topic, so "
            "that the broker unpacks new ones; then start again"
        )
    name = type(error).__name__
    return StreamingError(
        f"Kafka refuses ({name}: {error}); check kafka.* in the settings, the rights of the user and the "
        "topics, then start again"
    )


def rebalance_listener(partitions: Partitions) -> Any:
    """Make the listener that closes the stores of partitions that go."""
    from kafka import ConsumerRebalanceListener

    class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
        """Runs on the client's thread: closes stores, which frees them for the next owner; the poll thread
        opens new ones.
        """

        def on_partitions_revoked(self, revoked: Any) -> None:
            partitions.release([name.partition for name in revoked], "revoked")

        def on_partitions_assigned(self, assigned: Any) -> None:
            partitions.give(name.partition for name in assigned)

        def on_partitions_lost(self, lost: Any) -> None:
            partitions.release([name.partition for name in lost], "lost")

    return Listener()
