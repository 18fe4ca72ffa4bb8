"""Latency and throughput of the live half: click -> answer in open loop beside a bare echo on the same broker, and catch-up of a backlog.

``python benchmarks/streaming.py [--model DIR] [--seconds 20] [--rates 50,200,500,1000] [--backlog 100000] [--processes 1,2]``

Latency is measured from the intended send time, by one kafka-python client for echo and consumer alike. The echo is a kafka-python worker that
polls at least 2 ms apart, sends each value back and flushes once a batch: what the client library costs without any of our work.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT), *(path for path in sys.path if path != str(ROOT))]  # the package `streaming` before this very file

from _report import write_result  # noqa: E402
from feature_repo.contract.settings import Settings, load_settings  # noqa: E402
from streaming import broker, topics  # noqa: E402
from streaming.clients import client_options  # noqa: E402
from streaming.lag import measure  # noqa: E402

ECHO_LINGER_SECONDS = 0.002  # the best pacing known, see docs and the issue
SETTLE_SECONDS = 3.0  # not counted: joins, first batches, caches
SESSIONS = 2_000


def settings_of(home: Path, bootstrap: str | None = None, url: str | None = None) -> Settings:
    """Settings with topics and a group of their own, so that no run meets another."""
    name = uuid.uuid4().hex[:6]
    overrides: dict[str, Any] = {
        "home": str(home), "assets": os.environ.get("INTENTSTORE_ASSETS") or str(ROOT / ".intentstore" / "assets"), "kafka.clicks_topic": f"clicks-{name}",
        "kafka.recommendations_topic": f"answers-{name}", "kafka.dead_letter_topic": f"dead-{name}", "streaming.group": f"bench-{name}",
        "kafka.bootstrap_servers": bootstrap, "online.url": url,
    }  # fmt: skip
    return load_settings(Path(os.devnull), {}, overrides)


def environment(settings: Settings) -> dict[str, str]:
    """The settings as variables of a child process."""
    kafka = settings.kafka
    values = {
        "HOME": settings.home, "ASSETS": settings.assets_dir, "KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "KAFKA__CLICKS_TOPIC": kafka.clicks_topic,
        "KAFKA__RECOMMENDATIONS_TOPIC": kafka.recommendations_topic, "KAFKA__DEAD_LETTER_TOPIC": kafka.dead_letter_topic,
        "STREAMING__GROUP": settings.streaming.group, "ONLINE__URL": settings.online.url.get_secret_value() if settings.online.url else "",
        "INTENTS__SOURCE": "encoder",
    }  # fmt: skip
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **{f"INTENTSTORE_{name}": str(value) for name, value in values.items()}}


@contextlib.contextmanager
def worker(settings: Settings, kind: str, model: Path | None, number: int = 0) -> Iterator[psutil.Process]:
    """A consumer or an echo, as a process of its own."""
    if kind == "echo":
        command = [sys.executable, __file__, "--echo"]
    else:
        command = [sys.executable, "-m", "streaming", "consume", "--instance-id", f"w{number}", *(["--model", str(model)] if model else [])]
    with (settings.home / f"{kind}-{number}.log").open("ab") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(settings), stdout=out, stderr=out, start_new_session=True)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def echo(settings: Settings) -> None:
    """Send every value back: the floor."""
    from kafka import KafkaConsumer, KafkaProducer

    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    consumer = KafkaConsumer(settings.kafka.clicks_topic, **client_options(settings), group_id=settings.streaming.group, auto_offset_reset="earliest")
    producer = KafkaProducer(**client_options(settings))
    while not stopped:
        polled = consumer.poll(timeout_ms=200)
        began = time.monotonic()
        for batch in polled.values():
            for record in batch:
                producer.send(settings.kafka.recommendations_topic, record.value, record.key, partition=record.partition)
        if polled:
            producer.flush()
            time.sleep(max(0.0, ECHO_LINGER_SECONDS - (time.monotonic() - began)))


def clicks(items: list[str], count: int, seed: int) -> Iterator[tuple[bytes, bytes, str]]:
    """Key, value and event id of synthetic clicks: many short sessions, popular items more often."""
    dice, run = random.Random(seed), uuid.uuid4().hex[:6]
    weights = [1 / (rank + 10) for rank in range(min(len(items), 20_000))]
    chosen = dice.choices(items[: len(weights)], weights, k=count)
    for number, item in enumerate(chosen):
        session, event = f"{run}-{dice.randrange(SESSIONS)}", f"{run}-{number}"
        body = {"event_id": event, "session_id": session, "item_id": item, "event_time": int(time.time() * 1000), "schema_version": 1}
        yield session.encode(), json.dumps(body).encode(), event


def latency(settings: Settings, items: list[str], rate: float, seconds: float) -> dict[str, float]:
    """Send at a rate in open loop and wait for the answers; milliseconds from the intended send time."""
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition

    answers, kafka = KafkaConsumer(**client_options(settings), group_id=None, fetch_max_wait_ms=100), settings.kafka
    names = [TopicPartition(kafka.recommendations_topic, number) for number in range(kafka.partitions)]
    answers.assign(names)
    for name, end in answers.end_offsets(names).items():
        answers.seek(name, end)  # at once; `seek_to_end` would be worked out after the first answers
    intended: dict[bytes, float] = {}
    arrived: dict[bytes, float] = {}
    done = threading.Event()

    def listen() -> None:
        marker = b'"event_id":"' if settings.streaming.group else b""
        while not done.is_set():
            polled = answers.poll(timeout_ms=100)
            now = time.monotonic()
            for batch in polled.values():
                for record in batch:
                    start = record.value.replace(b'": "', b'":"', 1).index(marker) + len(marker)
                    value = record.value.replace(b'": "', b'":"', 1)
                    arrived.setdefault(value[start : value.index(b'"', start)], now)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    producer = KafkaProducer(**client_options(settings), acks=1, enable_idempotence=False)
    total = round(rate * (seconds + SETTLE_SECONDS))
    began = time.monotonic() + 0.2
    for number, (key, value, event) in enumerate(clicks(items, total, seed=round(rate))):
        moment = began + number / rate
        rest = moment - time.monotonic()
        if rest > 0:
            time.sleep(rest)
        if number >= rate * SETTLE_SECONDS:
            intended[event.encode()] = moment
        producer.send(kafka.clicks_topic, value, key)
    producer.flush()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not intended.keys() <= arrived.keys():
        time.sleep(0.05)
    done.set()
    listener.join()
    answers.close()
    producer.close()
    waits = np.array([(arrived[event] - moment) * 1000 for event, moment in intended.items() if event in arrived] or [float("nan")])
    return {
        "clicks": len(intended), "unanswered": len(intended.keys() - arrived.keys()), "p50_ms": float(np.percentile(waits, 50)),
        "p99_ms": float(np.percentile(waits, 99)), "max_ms": float(waits.max()),
    }  # fmt: skip


def latencies(home: Path, services: broker.Services, options: argparse.Namespace, items: list[str]) -> list[dict[str, Any]]:
    """Echo and consumer at each rate, one after the other."""
    rows = []
    for rate in options.rates:
        floor: dict[str, float] = {}
        for kind in ("echo", "consumer"):
            settings = settings_of(home, services.bootstrap_servers, services.online_store_url)
            topics.ensure(settings)
            with worker(settings, kind, options.model) as process:
                latency(settings, items, 20, 4.0)  # until it has joined and answers
                cpu = sum(process.cpu_times()[:2])
                began = time.monotonic()
                found = latency(settings, items, rate, options.seconds)
                used = (sum(process.cpu_times()[:2]) - cpu) / (time.monotonic() - began)
            row = {"what": kind, "clicks_per_s": rate, **found, "cores": used}
            floor = floor or found
            row.update(p50_to_floor=found["p50_ms"] / floor["p50_ms"], p99_to_floor=found["p99_ms"] / floor["p99_ms"])
            rows.append(row)
            print({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}, flush=True)
    return rows


def catch_up(home: Path, services: broker.Services, options: argparse.Namespace, items: list[str], processes: int) -> dict[str, Any]:
    """Answer a backlog with all outputs on; from the first answer to the last, by the answers' own times."""
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition

    settings = settings_of(home, services.bootstrap_servers, services.online_store_url)
    topics.ensure(settings)
    with KafkaProducer(**client_options(settings), linger_ms=20, batch_size=1 << 18) as producer:
        for key, value, _ in clicks(items, options.backlog, seed=1):
            producer.send(settings.kafka.clicks_topic, value, key)
        producer.flush()
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(worker(settings, "consumer", options.model, number)) for number in range(processes)]
        deadline = time.monotonic() + 60 + options.backlog / 200
        while measure(settings).total > 0 and time.monotonic() < deadline:
            time.sleep(0.5)
        cpu = sum(sum(process.cpu_times()[:2]) for process in workers)
        memory = max(process.memory_info().rss for process in workers)
    reader = KafkaConsumer(**client_options(settings), group_id=None)
    names = [TopicPartition(settings.kafka.recommendations_topic, number) for number in range(settings.kafka.partitions)]
    reader.assign(names)
    ends, times = reader.end_offsets(names), []
    reader.seek_to_beginning(*names)
    while any(reader.position(name) < ends[name] for name in names):
        times += [record.timestamp for batch in reader.poll(timeout_ms=500, max_records=5000).values() for record in batch]
    reader.close()
    times.sort()
    trimmed = times[len(times) // 20 : len(times) * 19 // 20]  # the middle nine tenths: without the join of the second process
    return {
        "what": f"catch-up, {processes} process(es)", "clicks": len(times), "unanswered": options.backlog - len(times),
        "clicks_per_s": len(trimmed) / max((trimmed[-1] - trimmed[0]) / 1000, 1e-3), "cpu_us_per_click": cpu / len(times) * 1e6, "rss_mb": memory / 1e6,
    }  # fmt: skip


def main() -> int:
    """Run from the command line, with services of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model folder; none = answers by popularity, which the result says")
    parser.add_argument("--seconds", type=float, default=20.0)
    numbers = lambda text: [int(word) for word in text.split(",") if word]
    parser.add_argument("--rates", type=numbers, default=[50, 200, 500, 1000])
    parser.add_argument("--backlog", type=int, default=100_000)
    parser.add_argument("--processes", type=numbers, default=[1, 2])
    parser.add_argument("--echo", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.echo:
        echo(load_settings(Path(os.devnull), os.environ, {}))
        return 0
    options.model = options.model.absolute() if options.model else None
    items = [f"i{number}" for number in range(2_000)]
    if options.model:
        from model import artifact

        items = list(artifact.load(options.model).item_ids)
    with tempfile.TemporaryDirectory(prefix="bench-streaming-") as folder:
        settings = load_settings(Path(os.devnull), {}, {"home": folder, "assets": str(settings_of(Path(folder)).assets_dir)})
        services = broker.up(settings)
        try:
            rows = latencies(Path(folder), services, options, items)
            rows += [catch_up(Path(folder), services, options, items, processes) for processes in options.processes]
        finally:
            broker.down(settings)
    write_result("streaming", rows, {"model": str(options.model.name) if options.model else "none", "items": len(items), "seconds": options.seconds})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
