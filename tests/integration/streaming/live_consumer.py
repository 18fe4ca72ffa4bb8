"""What tests of the consumer share: clicks, a consumer in this process, and the soak's oracle as the
judge.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from feature_repo.contract.settings import Settings
from feature_repo.stores.packed.live import LiveFeatureReader
from oracles.consumer_state import stored_features
from streaming.clients import client_options
from streaming.consumer.app import assemble
from streaming.metrics import ConsumerMetrics
from streaming.serving.models import Models

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
import soak
import soak_oracle

NOW_MS = 1_760_000_000_000


def click(number: int, session: str, item: str = "i", **changes: Any) -> tuple[bytes | None, bytes | None]:
    body = {
        "event_id": f"e{number}",
        "session_id": session,
        "item_id": item,
        "event_time": NOW_MS + number * 1000,
        "schema_version": 1,
        **changes,
    }
    return session.encode(), json.dumps(body).encode()


def send(settings: Settings, records: list[tuple[bytes | None, bytes | None]], **options: Any) -> None:
    from kafka import KafkaProducer

    with KafkaProducer(**client_options(settings), max_request_size=64 << 20, **options) as producer:
        for key, value in records:
            producer.send(settings.kafka.clicks_topic, value, key)
        producer.flush()


def consume(
    settings: Settings,
    models: Models | None = None,
    metrics: ConsumerMetrics | None = None,
    idle_seconds: float = 0.8,
    **options: Any,
) -> dict[str, int]:
    consumer = assemble(
        settings,
        models or Models(lambda: None),
        metrics or ConsumerMetrics(),
        until_idle_seconds=idle_seconds,
        **options,
    )
    consumer.run()
    return consumer.totals


def judge(settings: Settings, folders: Sequence[Path] = ()) -> dict[str, int]:
    kafka, expected = (
        settings.kafka,
        soak_oracle.truth(soak.read_topic(settings, settings.kafka.clicks_topic)),
    )
    names = sorted(expected.sessions)
    assert settings.online.url is not None
    online = dict(
        zip(names, LiveFeatureReader(settings.online.url.get_secret_value()).read(names), strict=True)
    )
    return {
        **soak_oracle.check_answers(expected, soak.read_topic(settings, kafka.recommendations_topic)),
        **soak_oracle.check_letters(expected, soak.read_topic(settings, kafka.dead_letter_topic)),
        **soak_oracle.check_features(expected, online, "online"),
        **soak_oracle.check_features(expected, stored_features(settings, folders), "state"),
        **soak_oracle.check_score_log(expected, settings.home / "score_log"),
    }


def apart(settings: Settings, name: str, **streaming: Any) -> Settings:
    """The settings of a consumer with a state folder of its own."""
    changed = {"state_dir": settings.home / f"state-{name}", **streaming}
    return settings.model_copy(update={"streaming": settings.streaming.model_copy(update=changed)})


def mixed(run: str) -> list[tuple[bytes | None, bytes | None]]:
    records = [click(number, f"{run}-{number % 17}", f"i{number % 29}") for number in range(400)]
    records += records[100:110]  # duplicates
    records += [
        click(1000 + number, f"{run}-{number}", "late", event_time=NOW_MS - number * 120_000)
        for number in range(12)
    ]
    records += [(b"k", value) for value in soak.POISON] + [
        (b"k", soak.LARGE_POISON),
        (b"\xff\x00", b"\x80"),
        (None, b"{}"),
    ]
    return records
