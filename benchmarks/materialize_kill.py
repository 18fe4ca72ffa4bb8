"""`python -m feature_repo materialize` killed (kill -9, driver, JVM and workers) in its middle, then run
again: gaps, wrong reads, failed reads.

    python benchmarks/materialize_kill.py [--rows 300000] [--kills 3]

A reader asks for the same items all the while. Each kill falls when a random share of the rows is written.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import redis

sys.path.insert(0, str(Path(__file__).resolve().parent))
from online import start_valkey

from _report import write_result
from feature_repo.contract.settings import Settings, load_settings
from feature_repo.registry import store
from feature_repo.stores.online.reader import NOT_FOUND, PRESENT, OnlineReader
from feature_repo.stores.packed.client import OnlineStoreError
from feature_repo.stores.packed.slots import PackedValueError

VIEW = "item_popularity"


class Reader(threading.Thread):
    """Reads 100 items over and over; counts reads, wrong rows and errors, and keeps each read's seconds."""

    def __init__(self, settings: Settings, rows: int) -> None:
        super().__init__(daemon=True)
        self.reader = OnlineReader(store.feature_store(settings), "item_text_v1")
        self.items = [f"i{number}" for number in range(0, rows, max(1, rows // 100))]
        self.wrong, self.errors, self.backwards, self.seconds = 0, 0, 0, list[float]()
        self.stop = threading.Event()

    def there(self) -> int:
        """Read once and check what came."""
        start = time.perf_counter()
        columns = self.reader.read({"item_id": self.items})[VIEW]
        self.seconds.append(time.perf_counter() - start)
        present = columns.status == PRESENT
        self.wrong += int((~present & (columns.status != NOT_FOUND)).sum())
        numbers = columns.columns["clicks_total"]
        self.wrong += sum(
            ok and f"i{number}" != item
            for item, number, ok in zip(self.items, numbers.tolist(), present.tolist(), strict=True)
        )
        return int(present.sum())

    def run(self) -> None:
        """Read until told to stop."""
        most = 0
        while not self.stop.is_set():
            try:
                found = self.there()
            except (OnlineStoreError, PackedValueError) as error:
                print("read failed:", error, flush=True)
                self.errors += 1
                continue
            self.stop.wait(0.005)
            self.backwards += found < most
            most = max(most, found)


def lake_of(settings: Settings, rows: int) -> None:
    """Write the table in which item i<n> has n clicks, and the registry."""
    from spark_jobs.session import spark_session

    spark = spark_session(settings, app="materialize_kill")
    columns = [
        "concat('i', id) item_id",
        "id clicks_total",
        "id clicks_1d",
        "id clicks_7d",
        "cast(id AS int) popularity_rank",
    ]
    times = [
        "timestamp_micros(1700000000000000) event_timestamp",
        "timestamp_micros(1700000000000000) created",
    ]
    spark.range(0, rows, 1, 4).selectExpr(*columns, *times).write.format("delta").save(
        str(settings.table(VIEW))
    )
    store.apply(settings)
    spark.stop()


def run_job(environment: dict[str, str], client: Any, kill_at: int | None) -> dict[str, Any]:
    """Run the command; with `kill_at`, kill its whole process group once so many rows are in the store."""
    command = [sys.executable, "-m", "feature_repo", "materialize", "--views", VIEW]
    process = subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    start = time.monotonic()
    while process.poll() is None and kill_at is not None:
        if client.dbsize() >= kill_at:
            os.killpg(process.pid, signal.SIGKILL)
            break
    said = process.communicate()[0].decode().strip().splitlines()
    done = json.loads(said[-1]) if process.returncode == 0 else None
    return {
        "exit": process.returncode,
        "seconds": time.monotonic() - start,
        "rows_there": client.dbsize(),
        "done": done,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--rows", type=int, default=300_000)
    arguments.add_argument("--kills", type=int, default=3)
    chosen = arguments.parse_args()
    dice, rows = random.Random(4), []
    assets = os.environ.get(
        "INTENTSTORE_ASSETS", str(Path(__file__).resolve().parent.parent / ".intentstore" / "assets")
    )
    with tempfile.TemporaryDirectory() as folder:
        server, port = start_valkey(folder)
        try:
            url = f"redis://127.0.0.1:{port}/0"
            changes = {
                "home": f"{folder}/home",
                "assets": assets,
                "online.url": url,
                "spark.driver_memory": "1g",
            }
            settings = load_settings(Path(os.devnull), {}, changes)
            lake_of(settings, chosen.rows)
            environment = {
                **os.environ,
                "INTENTSTORE_HOME": f"{folder}/home",
                "INTENTSTORE_ASSETS": assets,
                "INTENTSTORE_ONLINE__URL": url,
                "INTENTSTORE_SPARK__DRIVER_MEMORY": "1g",
            }
            client, reader = redis.Redis(port=port), Reader(settings, chosen.rows)
            reader.start()
            for number in range(chosen.kills):
                # later kills fall later, so that each has something left to write
                share = (number + dice.random()) / chosen.kills
                run = run_job(environment, client, int(share * chosen.rows) + 1)
                rows.append({"what": f"run {number + 1}, killed at {share:.0%}", **run})
            last = run_job(environment, client, None)
            there = reader.there()
            reader.stop.set()
            reader.join()
            last_done = last["done"] or {}
            rows.append({"what": "run to the end", **last})
            rows.append(
                {
                    "what": "all runs",
                    "missing_after_the_last": chosen.rows + 1 - last["rows_there"],
                    "items_read_at_the_end": f"{there} of {len(reader.items)}",
                    "wrong_rows_read": reader.wrong,
                    "failed_reads": reader.errors,
                    "reads_with_less_than_before": reader.backwards,
                    "reads": len(reader.seconds),
                    "read_p99_ms": float(np.percentile(reader.seconds, 99)) * 1000,
                    "last_wrote": last_done.get("taken"),
                }
            )
        finally:
            server.terminate()
            server.wait()
    write_result(
        "materialize_kill",
        rows,
        {"rows": chosen.rows, "note": "the store holds one key more than rows: the watermark"},
    )


if __name__ == "__main__":
    main()
