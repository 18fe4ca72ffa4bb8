"""The as-of join, ours beside Feast's stock Spark store: correctness against the plain-Python oracle, then
time and shuffle bytes.

    python benchmarks/pit.py [--part cases|cost] [--cases 200000] [--sizes 100000,1000000] [--rounds 3]

One Spark session with 1 GB of driver memory; both stores read the same Delta tables and take turns; every
read is written to Spark's no-op sink. One part alone leaves the other's figures in the result as they are.
`assets` come from INTENTSTORE_ASSETS or .intentstore/assets.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import Entity, FeatureStore, FeatureView, Field, RepoConfig, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat
from feast.types import Array, Float32, Int64, String

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from _report import RESULTS, write_result
from feature_repo.contract.settings import load_settings
from oracles.asof import HistoryRow, as_of
from spark_jobs.session import spark_session

DIM, ENTITY_ROWS, KEYS = 384, 20_000, 2_000
START = datetime(2024, 1, 1, tzinfo=UTC)
KINDS = {"stock": "spark", "ours": "feature_repo.stores.DeltaOfflineStore"}
FIGURES = {False: "created column set", True: "no created column"}


def open_stores(
    folder: Path, views: dict[str, FeatureView], entities: list[Entity], tag: str
) -> dict[str, FeatureStore]:
    """One registry a store, with the same views."""
    stores = {}
    for kind, offline in KINDS.items():
        config = RepoConfig(
            project=f"{tag}_{kind}",
            provider="local",
            registry=str(folder / f"{tag}_{kind}.db"),
            entity_key_serialization_version=3,
            offline_store={"type": offline},
            online_store={"type": "sqlite", "path": str(folder / f"{tag}_{kind}.sqlite")},
        )
        stores[kind] = FeatureStore(config=config)
        stores[kind].apply([*entities, *views.values()])
    return stores


def view(
    name: str, path: Path, entities: list[Entity], fields: list[Field], created: str | None = "created"
) -> FeatureView:
    source = SparkSource(
        name=name,
        path=str(path),
        table_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column=created,
    )
    keys = [Field(name=entity.join_key, dtype=String) for entity in entities]
    return FeatureView(name=name, entities=entities, ttl=timedelta(0), schema=[*keys, *fields], source=source)


def random_cases(seed: int, cases: int) -> tuple[list[HistoryRow], list[tuple[tuple[str, str], int]]]:
    """Worlds of a few composite keys that collide when joined without a separator, dense in ties."""
    dice, parts = random.Random(seed), ["1", "12", "23", "3", "123"]
    history: list[HistoryRow] = []
    asked: list[tuple[tuple[str, str], int]] = []
    for world in range(cases // 10):
        keys = [(f"{world}.{dice.choice(parts)}", dice.choice(parts)) for _ in range(4)]
        for _ in range(dice.randint(1, 12)):
            event = dice.randint(0, 8)
            history.append(
                HistoryRow(
                    dice.choice(keys),
                    event * 1_000_000,
                    (event + dice.choice([0, 0, 1, 3])) * 1_000_000,
                    len(history),
                )
            )
        asked.extend((dice.choice(keys), dice.randint(-1, 10) * 1_000_000) for _ in range(10))
    return history, asked


def correctness(spark: Any, folder: Path, cases: int) -> list[dict[str, Any]]:
    """Run the same cases on both stores, with and without a created column, and count what is not as the
    oracle says.
    """
    history, asked = random_cases(5, cases)
    moment = lambda us: START + timedelta(microseconds=us)
    rows = pa.table(
        {
            "a": [row.key[0] for row in history],
            "b": [row.key[1] for row in history],
            "n": pa.array([row.payload for row in history], pa.int64()),
            "event_timestamp": [moment(row.event_us) for row in history],
            "created": [moment(row.created_us) for row in history],
        }
    )
    spark.createDataFrame(rows).coalesce(2).write.format("delta").save(str(folder / "cases"))
    entities = [Entity(name=name, join_keys=[name], value_type=ValueType.STRING) for name in ("a", "b")]
    fields = [Field(name="n", dtype=Int64)]
    views = {
        "cases": view("cases", folder / "cases", entities, fields),
        "untimed": view("untimed", folder / "cases", entities, fields, None),
    }
    stores = open_stores(folder, views, entities, "cases")
    frame = pd.DataFrame(
        {
            "a": [key[0] for key, _ in asked],
            "b": [key[1] for key, _ in asked],
            "event_timestamp": [moment(us) for _, us in asked],
        }
    )
    frame["row"] = np.arange(len(frame))
    report = []
    for name, without in (("cases", False), ("untimed", True)):
        plain = (
            [HistoryRow(row.key, row.event_us, None, row.payload) for row in history] if without else history
        )
        right = as_of(plain, asked)
        for kind, store in stores.items():
            answer = store.get_historical_features(entity_df=frame.copy(), features=[f"{name}:n"]).to_df()
            wrong = set(range(len(asked))) - set(answer["row"])
            for number, value in zip(answer["row"], answer["n"], strict=True):
                allowed = right[number]
                if (pd.isna(value) and allowed) or (not pd.isna(value) and int(value) not in allowed):
                    wrong.add(number)
            report.append(
                {
                    "what": f"{kind}: cases against the oracle, {FIGURES[without]}",
                    "cases": len(asked),
                    "rows_out": len(answer),
                    "wrong": len(wrong),
                }
            )
    for row in report:
        print(row, flush=True)
    return report


def write_table(spark: Any, path: Path, rows: int) -> None:
    """Write `rows` feature rows of KEYS keys with one scalar and one random vector."""

    def fill(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            ids = batch.column("id").to_numpy()
            dice = np.random.default_rng(int(ids[0]))
            flat = pa.array(dice.random(len(ids) * DIM, dtype=np.float32))
            vectors = pa.ListArray.from_arrays(
                pa.array(np.arange(0, len(flat) + 1, DIM, dtype=np.int32)), flat
            )
            times = pa.array(1_704_067_200_000_000 + ids * 1_000_000, pa.timestamp("us", tz="UTC"))
            keys = pa.array([f"k{number % KEYS}" for number in ids.tolist()])
            yield pa.RecordBatch.from_arrays(
                [keys, times, times, pa.array(ids), vectors],
                names=["user_id", "event_timestamp", "created", "n", "vec"],
            )

    frame = spark.range(0, rows, 1, 8).mapInArrow(
        fill, "user_id string, event_timestamp timestamp, created timestamp, n long, vec array<float>"
    )
    frame.write.format("delta").save(str(path))


def shuffled_bytes(spark: Any) -> int:
    """Shuffle bytes written by this session so far."""
    executors = spark.sparkContext._jsc.sc().statusStore().executorList(False)
    return sum(int(executors.apply(number).totalShuffleWrite()) for number in range(executors.size()))


def cost(spark: Any, folder: Path, sizes: list[int], rounds: int) -> list[dict[str, Any]]:
    """Time both stores in turns on the smallest size, and ours on every size."""
    user = Entity(name="user_id", join_keys=["user_id"], value_type=ValueType.STRING)
    fields = [Field(name="n", dtype=Int64), Field(name="vec", dtype=Array(Float32))]
    for size in sizes:
        write_table(spark, folder / f"t{size}", size)
    views = {f"t{size}": view(f"t{size}", folder / f"t{size}", [user], fields) for size in sizes}
    stores = open_stores(folder, views, [user], "cost")
    found = []
    for size in sizes:
        dice = np.random.default_rng(size)
        seconds = dice.integers(0, size, ENTITY_ROWS)
        asked = pd.DataFrame(
            {
                "user_id": [f"k{key}" for key in dice.integers(0, KEYS, ENTITY_ROWS)],
                "event_timestamp": pd.to_datetime(1_704_067_200 + seconds, unit="s", utc=True),
            }
        )
        kinds = list(KINDS) if size == min(sizes) else ["ours"]
        taken: dict[str, list[tuple[float, int]]] = {kind: [] for kind in kinds}
        for _ in range(rounds + 1):  # the first round warms both up and is left out
            for kind in kinds:
                before, start = shuffled_bytes(spark), time.perf_counter()
                job = stores[kind].get_historical_features(
                    entity_df=asked.copy(), features=[f"t{size}:n", f"t{size}:vec"]
                )
                job.to_spark_df().write.format("noop").mode("overwrite").save()
                taken[kind].append((time.perf_counter() - start, shuffled_bytes(spark) - before))
        print(
            size,
            {kind: [round(seconds, 1) for seconds, _ in runs] for kind, runs in taken.items()},
            flush=True,
        )
        for kind, runs in taken.items():
            runs = runs[1:]
            found.append(
                {
                    "what": f"{kind}: {size} feature rows x {ENTITY_ROWS} entity rows, {DIM} floats",
                    "seconds": float(np.median([run[0] for run in runs])),
                    "lowest": min(run[0] for run in runs),
                    "shuffle_mb": float(np.median([run[1] for run in runs])) / 1e6,
                    "rounds": len(runs),
                }
            )
    return found


def ratios(rows: list[dict[str, Any]], sizes: list[int]) -> list[dict[str, Any]]:
    """Our figures over stock's and over size, against the targets of the issue."""
    by_name = {row["what"].split(" feature rows")[0]: row for row in rows if "seconds" in row}
    stock, ours = by_name[f"stock: {min(sizes)}"], by_name[f"ours: {min(sizes)}"]
    found = [
        {"what": "seconds ours / stock", "ratio": ours["seconds"] / stock["seconds"], "target": "<= 0.5"},
        {
            "what": "shuffle bytes ours / stock",
            "ratio": ours["shuffle_mb"] / stock["shuffle_mb"],
            "target": "<= 0.167",
        },
    ]
    for size in sizes[1:]:
        growth = by_name[f"ours: {size}"]["seconds"] / ours["seconds"] / (size / min(sizes))
        found.append(
            {
                "what": f"seconds at {size} over linear growth from {min(sizes)}",
                "ratio": growth,
                "target": "<= 1.2",
            }
        )
    return found


def earlier(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the last result that this run has not measured again."""
    file = RESULTS / "pit.json"
    known = json.loads(file.read_text(encoding="utf-8"))["rows"] if file.exists() else []
    measured = {row["what"] for row in rows}
    return [row for row in known if row["what"] not in measured]


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--part", choices=("cases", "cost"), help="none = both")
    arguments.add_argument("--cases", type=int, default=200_000)
    arguments.add_argument("--sizes", default="100000,1000000")
    arguments.add_argument("--rounds", type=int, default=3)
    chosen = arguments.parse_args()
    sizes = sorted(int(size) for size in chosen.sizes.split(","))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        assets = os.environ.get(
            "INTENTSTORE_ASSETS", str(Path(__file__).resolve().parent.parent / ".intentstore" / "assets")
        )
        changes = {
            "home": name,
            "assets": assets,
            "spark.driver_memory": "1g",
            "spark.java_options": "-XX:TieredStopAtLevel=4",
        }
        spark = spark_session(load_settings(Path(os.devnull), {}, changes), app="pit")
        try:
            rows = correctness(spark, folder, chosen.cases) if chosen.part != "cost" else []
            if chosen.part != "cases":
                costs = cost(spark, folder, sizes, chosen.rounds)
                rows += [*costs, *ratios(costs, sizes)]
        finally:
            spark.stop()
    today = datetime.now(UTC).isoformat(timespec="seconds")
    rows = [{**row, "date": today} for row in rows]
    write_result(
        "pit",
        [*earlier(rows), *rows],
        {"driver_memory": "1g", "entity_rows": ENTITY_ROWS, "dim": DIM, "keys": KEYS},
    )


if __name__ == "__main__":
    main()
