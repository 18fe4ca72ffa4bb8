"""Topics of a test's own on the shared broker, and what is done to them."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Any

from feature_repo.contract.key_partitions import partition_of
from feature_repo.contract.settings import Settings
from streaming.clients import client_options
from streaming.consumer.app import assemble
from streaming.metrics import ConsumerMetrics
from streaming.serving.models import Models
from streaming.topics import ensure as topics

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
from soak import read_topic

NOW_MS = 1_760_000_000_000


def on_own_topics(settings: Settings, services: Any, **changes: Any) -> Settings:
    """Settings with two-partition topics of a test's own on the shared services; nothing is made yet.
    `changes` take the place of whole sections or of `home`.
    """
    name = uuid.uuid4().hex[:8]
    kafka = {
        **settings.kafka.model_dump(),
        "bootstrap_servers": services.bootstrap_servers,
        "partitions": 2,
        "clicks_topic": f"clicks-{name}",
        "recommendations_topic": f"answers-{name}",
        "dead_letter_topic": f"dead-{name}",
        "items_topic": f"items-{name}",
    }
    online = {"url": services.online_store_url}
    return Settings.model_validate({**settings.model_dump(), "kafka": kafka, "online": online, **changes})


def own_topics(settings: Settings, services: Any, metadata_seconds: float = 30.0) -> Settings:
    """Make topics of a test's own; its settings have a group of its own too."""
    group = {"group": f"group-{uuid.uuid4().hex[:8]}", "dlq_breaker_share": 1.0}
    result = with_kafka(on_own_topics(settings, services, streaming=group), metadata_seconds=metadata_seconds)
    topics.ensure(result)
    return result


def with_kafka(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update={"kafka": settings.kafka.model_copy(update=changes)})


def click(number: int, session: str) -> tuple[bytes, bytes]:
    body = {
        "event_id": f"e{number}",
        "session_id": session,
        "item_id": f"i{number}",
        "event_time": NOW_MS + number * 1000,
        "schema_version": 1,
    }
    return session.encode(), json.dumps(body).encode()


def send(settings: Settings, topic: str, records: list[tuple[Any, ...]]) -> None:
    """Send (key, value, partition, headers) records; the last two may be left out."""
    from kafka import KafkaProducer

    with KafkaProducer(**client_options(settings)) as producer:
        for key, value, *rest in records:
            partition, headers = (*rest, None, None)[:2]
            producer.send(topic, value, key, headers, partition)
        producer.flush()


def consume(settings: Settings, **options: Any) -> dict[str, int]:
    consumer = assemble(
        settings,
        Models(lambda: None),
        options.pop("metrics", None) or ConsumerMetrics(),
        until_idle_seconds=1.5,
        **options,
    )
    consumer.run()
    return consumer.totals


def answers(settings: Settings) -> list[dict[str, Any]]:
    found = [record.value for record in read_topic(settings, settings.kafka.recommendations_topic)]
    return sorted(
        (json.loads(value) for value in found if value and value.startswith(b'{"event_id"')),
        key=lambda one: int(one["event_id"][1:]),
    )


def widen(settings: Settings, names: list[str], count: int) -> None:
    admin = topics.connect(settings)
    admin.create_partitions(dict.fromkeys(names, count))
    admin.close()


def keys_by_partition(count: int, run: str) -> dict[int, str]:
    """One session id for each partition that murmur2 names."""
    found: dict[int, str] = {}
    for number in range(10_000):
        found.setdefault(partition_of("murmur2", f"{run}-{number}".encode(), count), f"{run}-{number}")
        if len(found) == count:
            break
    return found
