"""Open-loop client of the click topics: sends at fixed moments, waits for the answers, counts from the
intended moment. Knows nothing of the project.

Runs under any Python with kafka-python or confluent-kafka (which is taken where both are: it costs a tenth of
the processor, so that two cores measure the worker and not the client). Orders come as one JSON argument,
results go out as one JSON line.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

SESSIONS = 2_000
POPULAR = 20_000  # only so many items are clicked, popular ones more often
MARK = b'"event_id":"'
PATIENCE_SECONDS = 20.0


def clicks(items: list[str], count: int, seed: int) -> Iterator[tuple[bytes, bytes, str]]:
    """Key, value and event id of synthetic clicks: many short sessions, popular items more often."""
    dice, run = random.Random(seed), uuid.uuid4().hex[:6]
    weights = [1 / (rank + 10) for rank in range(min(len(items), POPULAR))]
    chosen = dice.choices(items[: len(weights)], weights, k=count)
    for number, item in enumerate(chosen):
        session, event = f"{run}-{dice.randrange(SESSIONS)}", f"{run}-{number}"
        body = {
            "event_id": event,
            "session_id": session,
            "item_id": item,
            "event_time": int(time.time() * 1000),
            "schema_version": 1,
        }
        yield session.encode(), json.dumps(body, separators=(",", ":")).encode(), event


def event_of(value: bytes) -> bytes:
    """The event id of an answer or an echoed click, without parsing kilobytes of JSON."""
    start = value.index(MARK) + len(MARK)
    return value[start : value.index(b'"', start)]


class Confluent:
    """Both ends by confluent-kafka."""

    def __init__(self, bootstrap: str, clicks_topic: str, answers_topic: str, partitions: int) -> None:
        from confluent_kafka import Consumer, Producer, TopicPartition

        self._topic = clicks_topic
        self._reader = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "client",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
            }
        )
        ends = [
            self._reader.get_watermark_offsets(TopicPartition(answers_topic, number), timeout=10)[1]
            for number in range(partitions)
        ]
        self._reader.assign([TopicPartition(answers_topic, number, end) for number, end in enumerate(ends)])
        self._writer = Producer(
            {"bootstrap.servers": bootstrap, "linger.ms": 0, "acks": 1, "partitioner": "murmur2_random"}
        )

    def send(self, key: bytes, value: bytes) -> None:
        self._writer.produce(self._topic, value, key)
        self._writer.poll(0)

    def receive(self) -> list[bytes]:
        message = self._reader.poll(0.1)
        return [message.value()] if message is not None and message.error() is None else []

    def flush(self) -> None:
        self._writer.flush(30)


class Python:
    """Both ends by kafka-python."""

    def __init__(self, bootstrap: str, clicks_topic: str, answers_topic: str, partitions: int) -> None:
        from kafka import KafkaConsumer, KafkaProducer, TopicPartition

        self._topic = clicks_topic
        self._reader = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None, fetch_max_wait_ms=100)
        names = [TopicPartition(answers_topic, number) for number in range(partitions)]
        self._reader.assign(names)
        for name, end in self._reader.end_offsets(names).items():
            self._reader.seek(name, end)  # at once; `seek_to_end` would be worked out after the first answers
        self._writer = KafkaProducer(bootstrap_servers=bootstrap, acks=1, enable_idempotence=False)

    def send(self, key: bytes, value: bytes) -> None:
        self._writer.send(self._topic, value, key)

    def receive(self) -> list[bytes]:
        return [record.value for batch in self._reader.poll(timeout_ms=100).values() for record in batch]

    def flush(self) -> None:
        self._writer.flush()


def connect(orders: dict[str, Any]) -> Confluent | Python:
    """Connect with the library that is there."""
    kinds: list[Callable[..., Confluent | Python]] = [Confluent, Python]
    for kind in kinds:
        try:
            return kind(orders["bootstrap"], orders["clicks"], orders["answers"], orders["partitions"])
        except ImportError:
            continue
    raise SystemExit("neither confluent-kafka nor kafka-python is installed here")


def measure(orders: dict[str, Any]) -> dict[str, Any]:
    """Send and wait; milliseconds from the intended moment, clicks of the settling time left out."""
    ends, rate, settle = connect(orders), orders["rate"], orders["settle"]
    items = json.loads(open(orders["items"]).read())  # noqa: SIM115 - ends with the process
    intended: dict[bytes, float] = {}
    arrived: dict[bytes, float] = {}
    done = threading.Event()

    def listen() -> None:
        while not done.is_set():
            values = ends.receive()
            now = time.monotonic()
            for value in values:
                arrived.setdefault(event_of(value), now)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    prepared = list(clicks(items, round(rate * (orders["seconds"] + settle)), orders["seed"]))
    began, behind = time.monotonic() + 0.5, 0.0
    for number, (key, value, event) in enumerate(prepared):
        moment = began + number / rate
        rest = moment - time.monotonic()
        if rest > 0:
            time.sleep(rest)
        if number >= rate * settle:
            intended[event.encode()] = moment
            behind = max(behind, -rest)
        ends.send(key, value)
    ends.flush()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and not intended.keys() <= arrived.keys():
        time.sleep(0.02)
    done.set()
    listener.join(2)
    waits = sorted((arrived[event] - moment) * 1000 for event, moment in intended.items() if event in arrived)
    at = lambda share: (
        round(waits[min(len(waits) - 1, int(share * len(waits)))], 3) if waits else float("nan")
    )
    return {
        "client": type(ends).__name__.lower(),
        "clicks": len(intended),
        "unanswered": len(intended) - len(waits),
        "p50_ms": at(0.5),
        "p90_ms": at(0.9),
        "p99_ms": at(0.99),
        "max_ms": at(1.0),
        "sent_late_ms": round(behind * 1000, 2),
    }


if __name__ == "__main__":
    sys.setswitchinterval(0.0005)
    print(json.dumps(measure(json.loads(sys.argv[1]))))
