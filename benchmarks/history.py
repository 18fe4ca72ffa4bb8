"""History without a JVM: correctness against the plain-Python oracle, then time to answer and memory.

    python benchmarks/history.py [--cases 200000] [--rounds 5]

Delta tables are written by hand; nothing here starts Java. `benchmarks/pit.py` does the same on Spark, and
tests hold the two engines to the same bytes.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import Entity, FeatureStore, FeatureView, Field, RepoConfig, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat
from feast.types import Float64, Int64, String

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import delta_files

from _report import write_result
from oracles.asof import as_of
from oracles.asof_cases import differences, random_world

TIME = pa.timestamp("us", tz="UTC")
SCALARS, KEYS = 20, 5_000
START_US = 1_704_067_200_000_000


def store_of(folder: Path, table: str, keys: list[str], fields: list[Field], ttl: timedelta) -> FeatureStore:
    entities = [Entity(name=key, join_keys=[key], value_type=ValueType.STRING) for key in keys]
    source = SparkSource(
        name=table,
        path=table,
        table_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    schema = [*(Field(name=key, dtype=String) for key in keys), *fields]
    store = FeatureStore(
        config=RepoConfig(
            project=table,
            provider="local",
            registry=str(folder / f"{table}.db"),
            entity_key_serialization_version=3,
            offline_store={
                "type": "feature_repo.stores.DeltaOfflineStore",
                "lake": str(folder),
                "engine": "local",
            },
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
        )
    )
    store.apply(
        [*entities, FeatureView(name=table, entities=entities, ttl=ttl, schema=schema, source=source)]
    )
    return store


def correctness(folder: Path, cases: int) -> list[dict[str, Any]]:
    """Ask the same cases as the tests, through Feast's own call, and count what is not as the oracle says."""
    report = []
    for seed, ttl_us, by_created in ((1, 0, False), (2, 3000, False), (3, 0, True), (4, 3000, True)):
        history, asked = random_world(seed, cases // 40, 10)
        table = f"cases{seed}"
        moment = lambda column: pa.array(column, pa.int64()).cast(TIME)
        rows = pa.table(
            {
                "a": pa.array([row.key[0] for row in history], pa.string()),
                "b": pa.array([row.key[1] for row in history], pa.string()),
                "event_timestamp": moment([row.event_us for row in history]),
                "created": moment([row.created_us for row in history]),
                "n": pa.array([row.payload for row in history], pa.int64()),
            }
        )
        delta_files.write(folder / table, [rows.slice(0, len(rows) // 2), rows.slice(len(rows) // 2)])
        ttl = timedelta(microseconds=ttl_us)
        store = store_of(folder, table, ["a", "b"], [Field(name="n", dtype=Int64)], ttl)
        frame = pd.DataFrame(
            {
                "a": pd.Series([key[0] for key, _ in asked], dtype="string"),
                "b": pd.Series([key[1] for key, _ in asked], dtype="string"),
                "event_timestamp": pd.to_datetime([at for _, at in asked], unit="us", utc=True),
            }
        )
        job = store.get_historical_features(
            entity_df=frame, features=[f"{table}:n"], filter_by_created_timestamp=by_created
        )
        found = job.to_arrow().column("n").to_pylist()
        right = as_of(history, asked, ttl_us=ttl_us, known_by_created=by_created)
        report.append(
            {
                "what": f"cases against the oracle: ttl {ttl_us} us, known by created {by_created}",
                "cases": len(asked),
                "wrong": len(differences(found, right)),
            }
        )
        print(report[-1], flush=True)
    return report


def cost(folder: Path, feature_rows: int, entity_rows: int, rounds: int) -> dict[str, Any]:
    """Time one read of 20 scalars; rounds in one process, the first among them."""
    dice, table = np.random.default_rng(feature_rows), f"t{feature_rows}x{entity_rows}"
    events = START_US + dice.integers(0, 10**9, feature_rows) * 1000
    times = pa.array(events).cast(TIME)
    rows = pa.table(
        {
            "user_id": pa.array([f"k{key}" for key in dice.integers(0, KEYS, feature_rows)]),
            "event_timestamp": times,
            "created": times,
            **{f"f{number}": dice.random(feature_rows) for number in range(SCALARS)},
        }
    )
    part = -(-feature_rows // 4)
    delta_files.write(folder / table, [rows.slice(begin, part) for begin in range(0, feature_rows, part)])
    fields = [Field(name=f"f{number}", dtype=Float64) for number in range(SCALARS)]
    store = store_of(folder, table, ["user_id"], fields, timedelta(0))
    asked = pd.DataFrame(
        {
            "user_id": [f"k{key}" for key in dice.integers(0, KEYS, entity_rows)],
            "event_timestamp": pd.to_datetime(
                START_US + dice.integers(0, 10**9, entity_rows) * 1000, unit="us", utc=True
            ),
        }
    )
    seconds, processor = [], []
    for _ in range(rounds):
        begun, used = time.perf_counter(), time.process_time()
        features = [f"{table}:f{number}" for number in range(SCALARS)]
        frame = store.get_historical_features(entity_df=asked, features=features).to_df()
        seconds.append(time.perf_counter() - begun)
        processor.append(time.process_time() - used)
    assert len(frame) == entity_rows
    row = {
        "what": f"{feature_rows} feature rows x {entity_rows} entity rows, {SCALARS} scalars",
        "first_seconds": seconds[0],
        "seconds": statistics.median(seconds),
        "processor_seconds": statistics.median(processor),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "rounds": rounds,
    }
    print(row, flush=True)
    return row


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--cases", type=int, default=200_000)
    arguments.add_argument("--rounds", type=int, default=5)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = [cost(Path(name), 100_000, 10_000, chosen.rounds)]
        rows.append(cost(Path(name), 1_000_000, 1_000_000, max(2, chosen.rounds // 2)))
        rows += correctness(Path(name), chosen.cases)
    today = datetime.now(UTC).isoformat(timespec="seconds")
    write_result("history", [{**row, "date": today} for row in rows], {"keys": KEYS})


if __name__ == "__main__":
    main()
