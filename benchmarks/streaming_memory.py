"""Memory of a consumer over a long run with many sessions, and how soon it answers again after a restart with
all of their state.

``python benchmarks/streaming_memory.py [--model DIR] [--sessions 200000] [--minutes 20] [--rate 400]
[--restarts 3]``

First every session gets a click, as a backlog; then clicks on sessions at random at a rate, while the
resident memory is looked at; then the consumer is killed -9 and started again, counted from the start of the
process to the answer to a click that waited for it.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# the package `streaming` before the benchmark of that name
sys.path[:] = [str(HERE.parent), *(path for path in sys.path if path != str(HERE.parent))]

from _streaming import commit_of, consumer, cpu_seconds, settings_of, wait_for, write_items  # noqa: E402

from _report import write_result  # noqa: E402
from feature_repo.contract.settings import Settings  # noqa: E402
from streaming.clients import client_options  # noqa: E402
from streaming.services import services as broker  # noqa: E402
from streaming.topics import ensure as topics  # noqa: E402

LOOK_SECONDS = 10.0
BOUND = 0.10  # of the middle between lowest and highest, up and down


class Sender:
    """Sends clicks on sessions by number."""

    def __init__(self, settings: Settings, items: list[str]) -> None:
        from kafka import KafkaProducer

        self._producer = KafkaProducer(**client_options(settings), linger_ms=20, batch_size=1 << 18)
        self._topic, self._items, self._dice, self.sent = (
            settings.kafka.clicks_topic,
            items,
            random.Random(5),
            0,
        )

    def click(self, session: int) -> str:
        """Send one click; gives its event id."""
        name, event = f"m{session}", f"m{self.sent}"
        item = self._items[min(int(self._dice.expovariate(8) * len(self._items)), len(self._items) - 1)]
        body = {
            "event_id": event,
            "session_id": name,
            "item_id": item,
            "event_time": time.time_ns() // 1_000_000,
            "schema_version": 1,
        }
        self._producer.send(self._topic, json.dumps(body).encode(), name.encode())
        self.sent += 1
        return event

    def flush(self) -> None:
        """Wait until all are taken."""
        self._producer.flush()


def soak(sender: Sender, child: Any, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Send at the rate and look at the process."""
    rows, dice, began = [], random.Random(6), time.monotonic()
    total, look, cpu = round(options.minutes * 60 * options.rate), 0.0, cpu_seconds(child)
    for number in range(total):
        rest = began + number / options.rate - time.monotonic()
        if rest > 0.005:
            time.sleep(rest)
        sender.click(dice.randrange(options.sessions))
        if time.monotonic() - began >= look:
            rows.append(
                {
                    "minute": round((time.monotonic() - began) / 60, 2),
                    "rss_mb": round(child.memory_info().rss / 1e6, 1),
                    "clicks": number,
                }
            )
            look += LOOK_SECONDS
    sender.flush()
    rows[-1]["cores"] = round((cpu_seconds(child) - cpu) / (time.monotonic() - began), 3)
    return rows


def restart(settings: Settings, sender: Sender, options: argparse.Namespace, number: int) -> float:
    """Start the consumer beside waiting clicks; seconds to the first answer on each partition."""
    from kafka import KafkaConsumer, TopicPartition

    reader = KafkaConsumer(**client_options(settings), group_id=None, fetch_max_wait_ms=100)
    names = [
        TopicPartition(settings.kafka.recommendations_topic, partition)
        for partition in range(settings.kafka.partitions)
    ]
    reader.assign(names)
    for name, end in reader.end_offsets(names).items():
        reader.seek(name, end)
    for _ in range(50):
        sender.click(random.Random(sender.sent).randrange(options.sessions))
    sender.flush()
    began, answered = time.monotonic(), set()
    with consumer(settings, options.model, number):
        while len(answered) < len(names) and time.monotonic() - began < 120:
            answered |= {name.partition for name in reader.poll(timeout_ms=50)}
        seconds = time.monotonic() - began
        wait_for(lambda: commit_of(settings) >= sender.sent, "the end of the clicks", 60, every=0.5)
    reader.close()
    return seconds


def main() -> int:
    """Run from the command line, with services of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, help="model folder; none = answers by popularity, which the result says"
    )
    for name, kind, default in (
        ("sessions", int, 200_000),
        ("minutes", float, 20.0),
        ("rate", float, 400.0),
        ("restarts", int, 3),
    ):
        parser.add_argument(f"--{name}", type=kind, default=default)
    parser.add_argument("--name", default="streaming_memory", help="of the result file")
    options = parser.parse_args()
    options.model = options.model.absolute() if options.model else None
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as folder:
        home = Path(folder)
        services = broker.up(settings_of(home))
        settings = settings_of(home, services.bootstrap_servers, services.online_store_url)
        topics.ensure(settings)
        sender, rows = Sender(settings, json.loads(write_items(home, options.model).read_text())), []
        try:
            with consumer(settings, options.model) as child:
                for number in range(options.sessions):
                    sender.click(number)
                sender.flush()
                wait_for(
                    lambda: commit_of(settings) >= sender.sent,
                    "the end of the first clicks",
                    60 + options.sessions / 200,
                    every=2.0,
                )
                if options.minutes:
                    rows = soak(sender, child, options)
                wait_for(lambda: commit_of(settings) >= sender.sent, "the end of the clicks", 600, every=1.0)
                child.kill()
            restarts = [restart(settings, sender, options, 0) for _ in range(options.restarts)]
        finally:
            broker.down(settings_of(home))
    found = [row["rss_mb"] for row in rows]
    lowest, highest = min(found, default=0.0), max(found, default=0.0)
    extra = {
        "model": options.model.name if options.model else "none",
        "sessions": options.sessions,
        "rate": options.rate,
        "minutes": options.minutes,
        "rss_median_mb": statistics.median(found) if found else 0.0,
        "rss_lowest_mb": lowest,
        "rss_highest_mb": highest,
        "restart_seconds": restarts,
        "flat": bool(found) and highest - lowest <= BOUND * (highest + lowest),
    }
    print(extra)
    write_result(options.name, rows[:: max(1, len(rows) // 40)], extra)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
