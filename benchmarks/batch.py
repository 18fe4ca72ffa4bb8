"""Synthetic clicks through ingest, sessionise and session-features: clicks a second, and how the time grows
with the size.

``python benchmarks/batch.py [--sizes 1000000,10000000] [--live-share 0.05]``. Start of Spark and a first
small run are not counted. Processor time of this process, the JVM and its Python workers stands beside the
wall time: on a shared machine only it can be compared.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from _report import write_result
from feature_repo.contract.settings import Settings, load_settings
from spark_jobs.ingest import job as ingest
from spark_jobs.job import JobResult
from spark_jobs.lake.lake import Lake
from spark_jobs.session import spark_session
from spark_jobs.sessions import cut as sessionise
from spark_jobs.sessions import features as session_features

WARM_UP = 20_000
CLICKS_PER_SESSION = 20
ITEMS = 100_000
START_US = 1_704_067_200_000_000
CHUNK = 1_000_000
LIMIT_GROWTH, LIMIT_RATE = 11.0, 40_000.0


def write_clicks(file: Path, rows: int, seed: int = 1) -> None:
    """Write a shop's log in time order: sessions of about 20 clicks some seconds apart, interleaved; popular
    items by a power law.
    """
    random = np.random.default_rng(seed)
    sessions = max(1, rows // CLICKS_PER_SESSION)
    begins = np.sort(random.integers(0, max(1, rows) * 50_000, sessions))
    owner = random.integers(0, sessions, rows)
    # within eight minutes, below the ten-minute gap
    times = begins[owner] + random.integers(0, 480_000_000, rows)
    order = np.argsort(times, kind="stable")
    items = (ITEMS * random.random(rows) ** 3).astype(np.int64)
    with file.open("wb") as out:
        for first in range(0, rows, CHUNK):
            part = order[first : first + CHUNK]
            table = pa.table(
                {"session_id": owner[part], "item_id": items[part], "event_time": START_US + times[part]}
            )
            pyarrow.csv.write_csv(table, out, pyarrow.csv.WriteOptions(include_header=first == 0))


def processor_seconds() -> float:
    """Return user and system time so far of this process and everything it started, the ended ones included;
    0 where there is no /proc.
    """
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:  # ended meanwhile
            continue
        parents[int(stat.parent.name)], ticks[int(stat.parent.name)] = (
            int(fields[1]),
            sum(map(int, fields[11:15])),
        )
    own: set[int] = set()
    found = {os.getpid()}
    while found:
        own |= found
        found = {pid for pid, parent in parents.items() if parent in own} - own
    return sum(ticks.get(pid, 0) for pid in own) / os.sysconf("SC_CLK_TCK")


def run_jobs(spark: Any, settings: Settings) -> dict[str, tuple[float, float, JobResult]]:
    """Run the three jobs; give wall seconds, processor seconds and the result of each."""
    measured = {}
    for name, job in (("ingest", ingest), ("sessionise", sessionise), ("session-features", session_features)):
        begin, used = time.perf_counter(), processor_seconds()
        result = job.run(Lake(spark, settings))
        measured[name] = (time.perf_counter() - begin, processor_seconds() - used, result)
        print(
            (
                f"  {name}: {measured[name][0]:.1f} s, {measured[name][1]:.1f} s of processor, "
                f"{result.rows:,} rows"
            ),
            flush=True,
        )
    return measured


def one_size(spark: Any, base: Settings, rows: int, folder: Path) -> dict[str, Any]:
    """Measure one size in a home of its own."""
    data, home = folder / "data", folder / "home"
    data.mkdir(parents=True)
    write_clicks(data / "clicks.csv", rows)
    settings = base.model_copy(
        update={"home": home, "dataset": base.dataset.model_copy(update={"path": data})}
    )
    print(f"{rows:,} clicks, {(data / 'clicks.csv').stat().st_size / 2**20:.0f} MiB", flush=True)
    measured = run_jobs(spark, settings)
    total = sum(seconds for seconds, _, _ in measured.values())
    shutil.rmtree(folder)
    return {
        "clicks": rows,
        **{f"{name} s": round(seconds, 2) for name, (seconds, _, _) in measured.items()},
        "total s": round(total, 2),
        "clicks/s": round(rows / total),
        **{f"{name} cpu s": round(used, 2) for name, (_, used, _) in measured.items()},
        "sessions": measured["sessionise"][2].rows,
        "held out": measured["ingest"][2].details["held_out"],
        "repeats refused": measured["ingest"][2].refused,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000000,10000000")
    parser.add_argument("--live-share", type=float, default=0.05)
    parser.add_argument("--folder", type=Path, help="where data and tables go; none = a temporary folder")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="batch-", dir=given.folder))
    # both compilers: this is large data
    spark_overrides = {"spark.driver_memory": "4g", "spark.java_options": "-XX:TieredStopAtLevel=4"}
    overrides = {"home": str(root / "spark"), "dataset.live_share": given.live_share, **spark_overrides}
    base = load_settings(None, os.environ, overrides)
    spark = spark_session(base, "intentstore batch benchmark")
    try:
        print("warm-up", flush=True)
        one_size(spark, base, WARM_UP, root / "warm")
        rows = [one_size(spark, base, int(size), root / size) for size in given.sizes.split(",")]
    finally:
        spark.stop()
        shutil.rmtree(root, ignore_errors=True)
    growth = rows[-1]["total s"] / rows[0]["total s"]
    extra = {
        "spark": base.spark.model_dump(mode="json"),
        "growth": round(growth, 2),
        "size_growth": rows[-1]["clicks"] / rows[0]["clicks"],
        "reached": {
            "growth <= 11": growth <= LIMIT_GROWTH,
            "clicks/s >= 40000": min(row["clicks/s"] for row in rows) >= LIMIT_RATE,
        },
    }
    write_result("batch", rows, extra)
    print(
        f"{rows[0]['clicks']:,} -> {rows[-1]['clicks']:,} clicks: {growth:.2f} times the time; reached: "
        f"{extra['reached']}"
    )


if __name__ == "__main__":
    main()
