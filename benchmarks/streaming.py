"""Click -> answer latency of the live half, in open loop beside a bare echo on the same broker.

``python benchmarks/streaming.py [--model DIR] [--rates 50,200,500,1000] [--seconds 12] [--repeats 3]
[--catalogues 100000,1000000]``

Counted from the intended send time by one client for echo and consumer alike (``echo_client.py``). The floor
is a kafka-python echo without any work; it is run with several pacings of its polls, and the ratios are
against the best of them, for p50 and p99 each. ``--client PYTHON`` names an interpreter with confluent-kafka
for the client, which leaves more of the machine to what is measured. Throughput: ``streaming_throughput.py``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# the package `streaming` before this very file
sys.path[:] = [str(HERE.parent), *(path for path in sys.path if path != str(HERE.parent))]

from _streaming import (  # noqa: E402
    at_realtime,
    consumer,
    cpu_seconds,
    medians,
    process,
    settings_of,
    synthetic_model,
    write_items,
)

from _report import write_result  # noqa: E402
from feature_repo.contract.settings import Settings  # noqa: E402
from streaming.services import services as broker  # noqa: E402
from streaming.topics import ensure as topics  # noqa: E402

SETTLE_SECONDS = 2.0  # not counted: first batches, caches
PACINGS_MS = (0, 1, 2, 4)


def load(
    settings: Settings, client: list[str], items: Path, rate: float, seconds: float, seed: int
) -> dict[str, Any]:
    """Run the client once."""
    kafka = settings.kafka
    orders = {
        "bootstrap": kafka.bootstrap_servers,
        "clicks": kafka.clicks_topic,
        "answers": kafka.recommendations_topic,
        "partitions": kafka.partitions,
        "rate": rate,
        "seconds": seconds,
        "settle": SETTLE_SECONDS,
        "items": str(items),
        "seed": seed,
    }
    done = subprocess.run(
        [*client, str(HERE / "echo_client.py"), json.dumps(orders)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the client failed: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def worker(
    settings: Settings, what: str, model: Path | None, prefix: list[str]
) -> contextlib.AbstractContextManager[Any]:
    """The consumer, or an echo with the pacing in its name."""
    if what.startswith("consumer"):
        return consumer(settings, model, 0, prefix)
    kafka, pacing = settings.kafka, what.split()[1]
    words = [
        str(kafka.bootstrap_servers),
        kafka.clicks_topic,
        kafka.recommendations_topic,
        settings.streaming.group,
        pacing,
    ]
    return process([*prefix, sys.executable, str(HERE / "echo_worker.py"), *words], settings, "echo")


def run_of(
    what: str,
    model: Path | None,
    home: Path,
    services: broker.Services,
    options: argparse.Namespace,
    repeat: int,
) -> list[dict[str, Any]]:
    """Start one worker and load it at every rate."""
    more = {"streaming__transactional": True} if "transactional" in what else {}
    settings, rows = settings_of(home, services.bootstrap_servers, services.online_store_url, **more), []
    topics.ensure(settings)
    items = write_items(home, model)
    prefix = at_realtime(options.realtime, services)
    client = [*prefix, options.client]
    with worker(settings, what, model, prefix) as child:
        load(settings, client, items, 50, 4.0, 0)  # until it has joined and answers
        for rate in options.rates:
            cpu, began = cpu_seconds(child), time.monotonic()
            found = load(settings, client, items, rate, options.seconds, repeat + 1)
            row = {"what": what, "model": model.name if model else "none", "clicks_per_s": rate, **found}
            rows.append(
                {**row, "worker_cores": round((cpu_seconds(child) - cpu) / (time.monotonic() - began), 3)}
            )
            print(rows[-1], flush=True)
    return rows


def with_floors(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the ratios to the best echo of the same rate; for p50 and p99 each."""
    for row in rows:
        echoes = [
            one
            for one in rows
            if one["what"].startswith("echo") and one["clicks_per_s"] == row["clicks_per_s"]
        ]
        for name in ("p50", "p99"):
            if echoes:
                row[f"{name}_to_floor"] = round(
                    row[f"{name}_ms"] / min(one[f"{name}_ms"] for one in echoes), 2
                )
    return rows


def main() -> int:
    """Run from the command line, with services of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    numbers = lambda text: [int(word) for word in text.split(",") if word]
    parser.add_argument(
        "--model", type=Path, help="model folder; none = answers by popularity, which the result says"
    )
    parser.add_argument("--rates", type=numbers, default=[50, 200, 500, 1000])
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument(
        "--catalogues", type=numbers, default=[], help="synthetic models of so many items beside"
    )
    parser.add_argument(
        "--transactional", action="store_true", help="the consumer with the transactional producer beside"
    )
    parser.add_argument(
        "--pacings", type=numbers, default=list(PACINGS_MS), help="milliseconds between polls of the echoes"
    )
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="worker, client and services at real-time priority, for machines that others use too (root)",
    )
    parser.add_argument("--client", default=sys.executable, help="interpreter of the client")
    parser.add_argument("--name", default="streaming", help="of the result file")
    options = parser.parse_args()
    model = options.model.absolute() if options.model else None
    with tempfile.TemporaryDirectory(prefix="bench-streaming-") as folder:
        home = Path(folder)
        services, rows = broker.up(settings_of(home)), []
        try:
            cases = [(f"echo {pacing} ms", None) for pacing in options.pacings] + [("consumer", model)]
            cases += [("consumer, transactional", model)] if options.transactional else []
            cases += [("consumer", synthetic_model(home, items)) for items in options.catalogues]
            for repeat in range(options.repeats):
                for what, scored in cases:
                    rows += run_of(what, scored, home, services, options, repeat)
        finally:
            broker.down(settings_of(home))
    write_result(
        options.name,
        with_floors(medians(rows, ("what", "model", "clicks_per_s"))),
        {"seconds": options.seconds, "realtime": options.realtime},
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
