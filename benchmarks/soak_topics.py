"""What the soak does to topics and reads from them."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from typing import Any

from soak_fleet import Fleet, wait_until

from feature_repo.contract.settings import Settings
from streaming.clients import client_options
from streaming.topics import ensure as topics


@dataclass
class Past:
    """A clicks topic that was deleted: its records, when it ended, microseconds UTC, and the numbers of
    partitions that it had, see ``noted_widths``.
    """

    clicks: list[Any]
    ended_us: int
    widths: str


def noted_widths(settings: Settings) -> str:
    """Give what the consumers noted of the numbers of partitions of the clicks topic, as JSON."""
    file = settings.home / "topics" / f"{settings.kafka.clicks_topic}.json"
    return file.read_text(encoding="utf-8")


def librdkafka_partitioner() -> dict[str, Any]:
    """Give the producer's option that makes it choose partitions as librdkafka does by default."""
    from kafka.partitioner import DefaultPartitioner

    class Consistent(DefaultPartitioner):  # type: ignore[misc]
        """CRC32 of the key, modulo the number of partitions (``consistent_random``)."""

        def partition(
            self, topic: str, key: Any, serialized_key: bytes, value: Any, serialized_value: Any, cluster: Any
        ) -> int:
            return zlib.crc32(serialized_key) % len(cluster.partitions_for_topic(topic))

    return {"partitioner": Consistent()}


def read_topic(settings: Settings, topic: str) -> list[Any]:
    """Read a topic from its beginning to its present end, as its readers are told to: committed records
    alone. Answers of a move go in transactions, and what a killed mover left open is no answer.
    """
    from kafka import KafkaConsumer, TopicPartition

    reader = KafkaConsumer(
        **client_options(settings),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    names = [TopicPartition(topic, number) for number in sorted(reader.partitions_for_topic(topic) or ())]
    reader.assign(names)
    ends, found = reader.end_offsets(names), []
    reader.seek_to_beginning(*names)
    while any(reader.position(name) < ends[name] for name in names):
        for batch in reader.poll(timeout_ms=500, max_records=2000).values():
            found += batch
    reader.close()
    return found


def topic_names(settings: Settings) -> list[str]:
    """Ask the broker which topics there are."""
    from kafka import KafkaAdminClient

    with KafkaAdminClient(**client_options(settings)) as admin:
        return list(admin.list_topics())


def add_partitions(settings: Settings, partitions: int) -> None:
    """Give clicks, recommendations and dead letters so many partitions, and wait until they are there."""
    from kafka import KafkaAdminClient

    kafka = settings.kafka
    with KafkaAdminClient(**client_options(settings)) as admin:
        admin.create_partitions(
            dict.fromkeys(
                (kafka.clicks_topic, kafka.recommendations_topic, kafka.dead_letter_topic), partitions
            )
        )
    wait_until(lambda: topics.layout(settings).partitions == partitions)


def remake(settings: Settings, fleet: Fleet) -> tuple[Past, bool]:
    """Delete the clicks topic and make it again while no consumer runs; they must refuse it, and then go on
    with loss accepted.

    Returns
    -------
    tuple of (Past, bool)
        The topic that is gone, and whether a consumer ended with the line that names it.
    """
    from kafka import KafkaAdminClient

    name, count = settings.kafka.clicks_topic, topics.layout(settings).partitions
    past = Past(read_topic(settings, name), time.time_ns() // 1000, noted_widths(settings))
    with KafkaAdminClient(**client_options(settings)) as admin:
        admin.delete_topics([name])
    wait_until(lambda: name not in topic_names(settings))
    topics.ensure(
        settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"partitions": count})})
    )
    fleet.start("a")
    refused = fleet.running.pop("a").wait(timeout=180) == 1 and "made anew" in fleet.said("a")
    fleet.start("a", "--accept-loss")
    return past, refused
