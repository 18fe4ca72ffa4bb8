"""Peers of the consumer in catch-up; runs under a Python of its own with quixstreams and confluent-kafka, and
knows nothing of the project.

``PYTHON benchmarks/peer_streaming.py quix|confluent BOOTSTRAP CLICKS ANSWERS COUNT FOLDER`` prints one JSON
line. quix counts clicks per session in its RocksDB state and does nothing else; confluent reads, parses,
counts in a dictionary and sends an answer of the same size as ours.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import uuid

ANSWER = b"x" * 2_300  # bytes of an answer with twenty items, reasons and intents


def rate_of(times: list[float]) -> dict[str, float]:
    """Clicks a second over the middle nine tenths."""
    middle = times[len(times) // 20 : len(times) * 19 // 20]
    return {
        "clicks": len(times),
        "clicks_per_s": len(middle) / (middle[-1] - middle[0]),
        "cpu_us_per_click": time.process_time() / len(times) * 1e6,
    }


def quix(bootstrap: str, clicks: str, count: int, folder: str) -> dict[str, float]:
    """Count per session with quix-streams: RocksDB state and its changelog topic, its defaults."""
    from quixstreams import Application, State

    logging.disable(logging.WARNING)
    app = Application(
        broker_address=bootstrap,
        consumer_group=f"quix-{uuid.uuid4().hex[:6]}",
        auto_offset_reset="earliest",
        state_dir=folder,
        loglevel="ERROR",
    )
    times: list[float] = []

    def counted(value: dict[str, object], state: State) -> int:
        seen = int(state.get("count", 0)) + 1
        state.set("count", seen)
        times.append(time.monotonic())
        return seen

    frame = app.dataframe(app.topic(clicks, value_deserializer="json", key_deserializer="bytes"))
    frame.apply(counted, stateful=True)
    app.run(frame, count=count, timeout=60.0)
    return rate_of(times)


def confluent(bootstrap: str, clicks: str, answers: str, count: int) -> dict[str, float]:
    """Read, parse, count and answer with the bare library."""
    from confluent_kafka import Consumer, Producer

    group = {
        "group.id": f"bare-{uuid.uuid4().hex[:6]}",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
    reader = Consumer({"bootstrap.servers": bootstrap, **group})
    writer = Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "queue.buffering.max.kbytes": 1 << 20}
    )
    reader.subscribe([clicks])
    counts: dict[str, int] = {}
    times: list[float] = []
    while len(times) < count:
        for message in reader.consume(500, 0.1):
            if message.error() is None:
                session = json.loads(message.value())["session_id"]
                counts[session] = counts.get(session, 0) + 1
                writer.produce(answers, ANSWER, message.key(), message.partition())
                times.append(time.monotonic())
        writer.flush(60)
        if times:
            reader.commit(asynchronous=True)
    reader.close()
    return rate_of(times)


if __name__ == "__main__":
    kind, broker, source, target, number, where = sys.argv[1:]
    print(
        json.dumps(
            quix(broker, source, int(number), where)
            if kind == "quix"
            else confluent(broker, source, target, int(number))
        )
    )
