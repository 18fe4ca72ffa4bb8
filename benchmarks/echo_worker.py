"""The floor of click -> answer: a kafka-python worker that sends every value back, one burst and one flush a
batch. No work of ours in it.

``python benchmarks/echo_worker.py BOOTSTRAP CLICKS ANSWERS GROUP PACING_MS``: polls are at least so far apart
(0 = as they come).
"""

from __future__ import annotations

import signal
import sys
import time


def main(bootstrap: str, clicks: str, answers: str, group: str, pacing: str) -> None:
    """Echo until SIGTERM."""
    from kafka import KafkaConsumer, KafkaProducer

    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    consumer = KafkaConsumer(
        clicks, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest"
    )
    producer, apart = KafkaProducer(bootstrap_servers=bootstrap), float(pacing) / 1000
    while not stopped:
        polled = consumer.poll(timeout_ms=200)
        began = time.monotonic()
        for batch in polled.values():
            for record in batch:
                producer.send(answers, record.value, record.key, partition=record.partition)
        if polled:
            producer.flush()
            time.sleep(max(0.0, apart - (time.monotonic() - began)))


if __name__ == "__main__":
    main(*sys.argv[1:])
