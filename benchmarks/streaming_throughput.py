"""Catch-up of a backlog by one and by two consumer processes, all outputs on; and, in the same run, peers on
the same backlog.

``python benchmarks/streaming_throughput.py [--model DIR] [--backlog 100000] [--processes 1,2] [--repeats 3]
[--transactional] [--peers PYTHON]``

The rate is that of the answers as the broker got them, over the middle nine tenths, so that start and join do
not count. ``--peers`` names an interpreter with quixstreams and confluent-kafka (``peer_streaming.py``).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# the package `streaming` before the benchmark of that name
sys.path[:] = [str(HERE.parent), *(path for path in sys.path if path != str(HERE.parent))]

from _streaming import commit_of, consumer, cpu_seconds, medians, settings_of, wait_for, write_items  # noqa: E402
from echo_client import clicks  # noqa: E402

from _report import write_result  # noqa: E402
from feature_repo.contract.settings import Settings  # noqa: E402
from streaming.clients import client_options  # noqa: E402
from streaming.services import services as broker  # noqa: E402
from streaming.topics import ensure as topics  # noqa: E402

PEERS = ("quix", "confluent")


def fill(settings: Settings, items: list[str], count: int) -> None:
    """Write the backlog."""
    from kafka import KafkaProducer

    topics.ensure(settings)
    with KafkaProducer(**client_options(settings), linger_ms=20, batch_size=1 << 18) as producer:
        for key, value, _ in clicks(items, count, seed=1):
            producer.send(settings.kafka.clicks_topic, value, key)
        producer.flush()


def answer_times(settings: Settings) -> list[float]:
    """Seconds at which each answer was sent, in order."""
    from kafka import KafkaConsumer, TopicPartition

    reader = KafkaConsumer(**client_options(settings), group_id=None, isolation_level="read_committed")
    names = [
        TopicPartition(settings.kafka.recommendations_topic, number)
        for number in range(settings.kafka.partitions)
    ]
    reader.assign(names)
    ends, times = reader.end_offsets(names), []
    reader.seek_to_beginning(*names)
    while any(reader.position(name) < ends[name] for name in names):
        times += [
            record.timestamp / 1000
            for batch in reader.poll(timeout_ms=500, max_records=5000).values()
            for record in batch
        ]
    reader.close()
    return sorted(times)


def catch_up(
    settings: Settings, options: argparse.Namespace, items: list[str], processes: int
) -> dict[str, Any]:
    """Answer a backlog; from the answers' own times."""
    fill(settings, items, options.backlog)
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(consumer(settings, options.model, number)) for number in range(processes)
        ]
        wait_for(
            lambda: commit_of(settings) >= options.backlog,
            "the end of the backlog",
            60 + options.backlog / 200,
            every=1.0,
        )
        cpu, memory = sum(map(cpu_seconds, workers)), max(worker.memory_info().rss for worker in workers)
    times = answer_times(settings)
    middle = times[len(times) // 20 : len(times) * 19 // 20]
    return {
        "clicks": len(times),
        "unanswered": options.backlog - len(times),
        "clicks_per_s": len(middle) / (middle[-1] - middle[0]),
        "cpu_us_per_click": cpu / len(times) * 1e6,
        "rss_mb": memory / 1e6,
    }


def peer(kind: str, settings: Settings, options: argparse.Namespace, items: list[str]) -> dict[str, Any]:
    """The same backlog for a peer."""
    fill(settings, items, options.backlog)
    kafka = settings.kafka
    folder = settings.home / settings.streaming.group
    words = [
        kind,
        str(kafka.bootstrap_servers),
        kafka.clicks_topic,
        kafka.recommendations_topic,
        str(options.backlog),
        str(folder),
    ]
    done = subprocess.run(
        [options.peers, str(HERE / "peer_streaming.py"), *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{kind} failed: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def cases_of(options: argparse.Namespace) -> list[tuple[str, Any]]:
    """Name and function of everything that is run."""
    cases: list[tuple[str, Any]] = [
        (
            f"consumer, {number} process(es)",
            lambda settings, items, number=number: catch_up(settings, options, items, number),
        )
        for number in options.processes
    ]
    if options.transactional:
        cases.append(
            ("consumer, transactional", lambda settings, items: catch_up(settings, options, items, 1))
        )
    if options.peers:
        cases += [
            (f"{kind} (peer)", lambda settings, items, kind=kind: peer(kind, settings, options, items))
            for kind in PEERS
        ]
    return cases


def main() -> int:
    """Run from the command line, with services of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    numbers = lambda text: [int(word) for word in text.split(",") if word]
    parser.add_argument(
        "--model", type=Path, help="model folder; none = answers by popularity, which the result says"
    )
    parser.add_argument("--backlog", type=int, default=100_000)
    parser.add_argument("--processes", type=numbers, default=[1, 2])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument(
        "--transactional", action="store_true", help="one process with the transactional producer beside"
    )
    parser.add_argument("--peers", help="interpreter with quixstreams and confluent-kafka")
    parser.add_argument("--name", default="streaming_throughput", help="of the result file")
    options = parser.parse_args()
    options.model = options.model.absolute() if options.model else None
    with tempfile.TemporaryDirectory(prefix="bench-throughput-") as folder:
        home = Path(folder)
        services, rows = broker.up(settings_of(home)), []
        items = json.loads(write_items(home, options.model).read_text())
        try:
            for _ in range(options.repeats):
                for name, run in cases_of(options):
                    settings = settings_of(
                        home,
                        services.bootstrap_servers,
                        services.online_store_url,
                        streaming__transactional="transactional" in name,
                    )
                    rows.append({"what": name, **run(settings, items)})
                    print(rows[-1], flush=True)
        finally:
            broker.down(settings_of(home))
    write_result(
        options.name,
        medians(rows, ("what",)),
        {"model": options.model.name if options.model else "none", "backlog": options.backlog},
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
