"""The packed online store on a real valkey through Feast's own calls: newer wins, statuses, deletion, schema,
races, loss of the server.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import redis
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, RepoConfig, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.table_format import DeltaFormat
from feast.types import Array, Float32, Int64, String

from feature_repo.stores.online.reader import OnlineReader
from feature_repo.stores.packed.client import OnlineStoreError, PackedClient
from feature_repo.stores.packed.codec import PackedSchema, PackedSchemaError
from feature_repo.stores.packed.keys import entity_key, storage_key
from feature_repo.stores.packed.live import LiveFeatureReader, LiveFeatureWriter, LiveRow
from feature_repo.stores.packed.slots import PackedValueError

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
projects = (f"p{number}" for number in itertools.count())


def views(ttl=dt.timedelta(0)):
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    make = lambda name, fields: FeatureView(
        name=name,
        entities=[user],
        ttl=ttl,
        schema=[Field(name="user_id", dtype=String), *fields],
        source=SparkSource(
            name=name,
            path=name,
            table_format=DeltaFormat(),
            timestamp_field="ts",
            created_timestamp_column="created",
        ),
    )
    number, second = (
        make("numbers", [Field(name="n", dtype=Int64)]),
        make("vectors", [Field(name="vec", dtype=Array(Float32)), Field(name="word", dtype=String)]),
    )
    return [user, number, second, FeatureService(name="both_v1", features=[number, second])]


def open_store(
    valkey, tmp_path, ttl=dt.timedelta(0), cluster=False, provider="feature_repo.stores.PackedProvider"
):
    online = {"type": "feature_repo.stores.PackedOnlineStore", "url": valkey.url, "cluster": cluster}
    config = RepoConfig(
        project=next(projects),
        provider=provider,
        registry=str(tmp_path / f"{time.time_ns()}.db"),
        entity_key_serialization_version=3,
        offline_store={"type": "feature_repo.stores.DeltaOfflineStore"},
        online_store=online,
    )
    store = FeatureStore(config=config)
    store.apply(views(ttl))
    return store


def put(store, number, seconds=0.0, created=0.0, user="u", **options):
    frame = pd.DataFrame(
        {
            "user_id": [user],
            "n": [number],
            "ts": [NOW + dt.timedelta(seconds=seconds)],
            "created": [NOW + dt.timedelta(seconds=created)],
        }
    )
    store.write_to_online_store("numbers", frame, **options)


def get(store, *users, features=("numbers:n",)):
    proto = store.get_online_features(
        features=list(features), entity_rows=[{"user_id": user} for user in users]
    ).proto
    place = list(proto.metadata.feature_names.val).index(features[0].split(":")[1])
    vector = proto.results[place]
    return [value.int64_val if value.HasField("int64_val") else None for value in vector.values], [
        FieldStatus.Name(status) for status in vector.statuses
    ]


def test_newer_event_wins_then_later_created_and_a_repeat_changes_nothing(valkey, tmp_path):
    store = open_store(valkey, tmp_path)
    for number, seconds, created, expected in [
        (1, 0, 0, 1),
        (2, -1, 9, 1),
        (3, 0, 1, 3),
        (4, 0, 0, 3),
        (5, 1, -5, 5),
        (5, 1, -5, 5),
    ]:
        put(store, number, seconds, created)
        assert get(store, "u")[0] == [expected], f"after writing {number}"


def test_rows_that_tie_on_both_times_end_the_same_in_any_order(valkey, tmp_path):
    ends = set()
    for order in itertools.permutations([1, 2, 3]):
        store = open_store(valkey, tmp_path)
        for number in order:
            put(store, number)
        ends.add(get(store, "u")[0][0])
    assert len(ends) == 1


def test_statuses_tell_missing_too_old_and_present_apart(valkey, tmp_path):
    store = open_store(valkey, tmp_path, ttl=dt.timedelta(hours=1))
    put(store, 1, user="fresh")
    put(store, 2, seconds=-3700, user="old")
    put(store, 3, seconds=-(10**8), user="years old")
    values, statuses = get(store, "fresh", "old", "years old", "never seen")
    assert values == [1, None, None, None]
    assert statuses == ["PRESENT", "OUTSIDE_MAX_AGE", "OUTSIDE_MAX_AGE", "NOT_FOUND"]
    keys = [
        storage_key(store.project, "numbers", entity_key({"user_id": user}))
        for user in ("fresh", "years old")
    ]
    lifetimes = [PackedClient(valkey.url).connection.pttl(key) for key in keys]
    assert all(7_000_000 < left <= 7_201_000 for left in lifetimes), (
        "the server drops a row after twice its ttl"
    )
    columns = OnlineReader(store, "both_v1").read({"user_id": ["fresh", "old", "never seen"]})["numbers"]
    assert columns.status.tolist() == [
        FieldStatus.PRESENT,
        FieldStatus.OUTSIDE_MAX_AGE,
        FieldStatus.NOT_FOUND,
    ]


def test_deleted_entity_stays_deleted_until_a_newer_row(valkey, tmp_path):
    store = open_store(valkey, tmp_path)
    online, view = store._get_provider().online_store, store.get_feature_view("numbers")
    put(store, 1)
    online.delete(
        store.config,
        view,
        [EntityKey(join_keys=["user_id"], entity_values=[Value(string_val="u")])],
        NOW + dt.timedelta(seconds=5),
    )
    put(store, 2, seconds=4)
    assert get(store, "u") == ([None], ["NOT_FOUND"])
    put(store, 3, seconds=6)
    assert get(store, "u") == ([3], ["PRESENT"])


def test_numpy_reader_message_reader_and_async_reader_agree(valkey, tmp_path):
    store = open_store(valkey, tmp_path)
    put(store, 7)
    frame = pd.DataFrame(
        {
            "user_id": ["u", "w"],
            "vec": [[1.0, 2.0], [3.0, 4.0]],
            "word": ["x", None],
            "ts": [NOW, NOW],
            "created": [NOW, NOW],
        }
    )
    store.write_to_online_store("vectors", frame)
    asked = {"user_id": ["u", "w", "nobody"]}
    answer = store.get_online_features(
        features=store.get_feature_service("both_v1"), entity_rows=asked
    ).to_dict()
    waited = asyncio.run(
        store.get_online_features_async(features=store.get_feature_service("both_v1"), entity_rows=asked)
    ).to_dict()
    assert answer == waited
    assert answer == {
        "user_id": ["u", "w", "nobody"],
        "n": [7, None, None],
        "vec": [[1.0, 2.0], [3.0, 4.0], None],
        "word": ["x", None, None],
    }
    columns = OnlineReader(store, "both_v1").read(asked)
    assert columns["numbers"].columns["n"].tolist() == [7, 0, 0]
    assert columns["vectors"].columns["vec"][:2].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert columns["vectors"].present["word"].tolist() == [True, False, False]


def test_row_of_a_changed_view_is_refused_and_a_rewrite_heals_it(valkey, tmp_path):
    store = open_store(valkey, tmp_path)
    put(store, 1)
    older = PackedSchema("numbers", (("n", "f64"),)).encode({"n": 1.0}, 2**50)
    key = storage_key(store.project, "numbers", entity_key({"user_id": "other"}))
    PackedClient(valkey.url).write([(key, older)])
    with pytest.raises(PackedSchemaError, match="view 'numbers': a stored value has schema"):
        get(store, "u", "other")
    newer = PackedSchema("numbers", (("n", "i64"),)).encode({"n": 5}, 2**50)
    PackedClient(valkey.url).write([(key, newer)])
    assert get(store, "u", "other")[0] == [1, 5]


def test_future_rows_and_half_rows_are_refused(valkey, tmp_path):
    store = open_store(valkey, tmp_path)
    with pytest.raises(PackedValueError, match="more than a day ahead"):
        put(store, 1, seconds=2 * 86400)
    with pytest.raises((KeyError, ValueError)):
        store.write_to_online_store(
            "vectors", pd.DataFrame({"user_id": ["u"], "word": ["x"], "ts": [NOW], "created": [NOW]})
        )
    assert get(store, "u") == ([None], ["NOT_FOUND"])


def test_view_taken_out_of_the_registry_takes_its_rows_along(valkey, tmp_path):
    store = open_store(valkey, tmp_path)
    put(store, 1)
    client = PackedClient(valkey.url)
    pattern = storage_key(store.project, "numbers", b"*")
    assert len(list(client.keys(pattern))) == 1
    store.apply(
        [],
        objects_to_delete=[store.get_feature_service("both_v1"), store.get_feature_view("numbers")],
        partial=False,
    )
    assert list(client.keys(pattern)) == []


def test_consumer_rows_are_feast_rows(valkey, lake, small):
    from feature_repo.registry import store as stores

    writer, reader = LiveFeatureWriter(valkey.url), LiveFeatureReader(valkey.url)
    others = {"session_id", "event_timestamp", "created", "event_id", "event_date"}
    row = {name: value for name, value in small.feature_row("live", 1, 1, 4).items() if name not in others}
    us = 1_700_000_000_000_001
    assert (
        writer.write([LiveRow("live", us, us, row), LiveRow("live", us - 1, us, {**row, "click_count": 1})])
        == 1
    )
    assert reader.read(["live", "none"])[1] is None
    assert (reader.read(["live"])[0]["click_count"], reader.read(["live"])[0]["event_timestamp_us"]) == (
        4,
        us,
    )
    feast_store = stores.feature_store(lake)
    asked = ["session_features:click_count", "session_features:items"]
    answer = feast_store.get_online_features(features=asked, entity_rows=[{"session_id": "live"}]).to_dict()
    assert (answer["click_count"], answer["items"]) == ([4], [["i4", "i0"]])


SECONDS_OF_RACES = 4.0  # benchmarks/online.py --races runs the same for a minute


def test_races_never_lose_the_newest_nor_tear_a_row(valkey):
    schema = PackedSchema("race", (("n", "i64"), ("vec", "list<f32>")))
    keys = [storage_key("race", "race", str(number).encode()) for number in range(8)]
    newest, lock, errors, stop = dict.fromkeys(keys, 0), threading.Lock(), [], threading.Event()

    def write(seed):
        dice, client = random.Random(seed), PackedClient(valkey.url)
        while not stop.is_set():
            rows = [(key, dice.randint(1, 10**9)) for key in dice.choices(keys, k=16)]
            client.write([(key, schema.encode({"n": us, "vec": [us % 1000] * 64}, us)) for key, us in rows])
            with lock:
                for key, us in rows:
                    newest[key] = max(newest[key], us)

    def read():
        client, seen = PackedClient(valkey.url), dict.fromkeys(keys, 0)
        while not stop.is_set():
            for key, value in zip(keys, client.read(keys), strict=True):
                if value is None:
                    continue
                row, us = schema.decode(value), schema.check(value).event_us
                if row["n"] != us or set(row["vec"].tolist()) != {us % 1000} or us < seen[key]:
                    errors.append((us, row["n"], seen[key]))
                seen[key] = us

    with ThreadPoolExecutor(16) as pool:
        work = [pool.submit(write, seed) for seed in range(8)] + [pool.submit(read) for _ in range(8)]
        stop.wait(SECONDS_OF_RACES)
        stop.set()
    assert [future.result() for future in work] == [None] * 16  # raises what a thread raised
    assert errors == []
    assert [schema.check(value).event_us for value in PackedClient(valkey.url).read(keys)] == [
        newest[key] for key in keys
    ]


def test_cluster_keeps_the_same_rules(tmp_path_factory, tmp_path, valkey):
    own = type(valkey)(tmp_path_factory.mktemp("cluster"), "--cluster-enabled", "yes")
    try:
        client = redis.Redis(port=own.port)
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
            assert own.process.poll() is None
        store = open_store(own, tmp_path, cluster=True)
        for number in range(20):
            put(store, number, user=f"u{number}")
        put(store, 99, seconds=-1, user="u3")
        put(store, 77, seconds=1, user="u4")
        found = get(store, "u3", "u4", "u19", "nobody")[0]
        asked = {"user_id": ["u3", "u4", "u19", "nobody"]}
        waited = asyncio.run(
            store.get_online_features_async(features=["numbers:n"], entity_rows=asked)
        ).to_dict()["n"]
        assert found == waited == [3, 77, 19, None]
        store.teardown()
        assert not list(client.scan_iter())
    finally:
        own.kill()


def test_whole_frames_and_single_rows_are_written_alike(valkey, tmp_path):
    rows = {
        "user_id": ["u", "w"],
        "vec": [np.array([1.0, 2.0], np.float32), None],
        "word": ["x", None],
        "ts": [NOW, NOW],
        "created": [NOW, NOW],
    }
    raw = []
    for provider in ("local", "feature_repo.stores.PackedProvider"):
        store = open_store(valkey, tmp_path, provider=provider)
        store.write_to_online_store("vectors", pd.DataFrame(rows))
        keys = [
            storage_key(store.project, "vectors", entity_key({"user_id": user})) for user in rows["user_id"]
        ]
        raw.append(PackedClient(valkey.url).read(keys))
    assert raw[0] == raw[1]
    assert None not in raw[0]


def test_frame_that_needs_feasts_own_conversions_gets_them(valkey, tmp_path):
    store = open_store(valkey, tmp_path)
    # pandas turns whole numbers beside nulls into floats
    frame = pd.DataFrame({"user_id": ["u"], "n": [7.0], "ts": [NOW], "created": [NOW]})
    store.write_to_online_store("numbers", frame)
    assert get(store, "u")[0] == [7]


def test_lost_server_is_named_and_nothing_older_comes_back(tmp_path_factory, tmp_path, valkey):
    own = type(valkey)(tmp_path_factory.mktemp("lost"))
    store = open_store(own, tmp_path)
    put(store, 2)
    own.kill()
    with pytest.raises(
        OnlineStoreError, match=f"online store redis://127.0.0.1:{own.port}/0: .*streaming up"
    ):
        get(store, "u")
    with pytest.raises(OnlineStoreError):
        put(store, 3, seconds=1)
    own.start()
    try:
        assert get(store, "u")[0] in ([2], [3], [None])
        put(store, 3, seconds=1)
        assert get(store, "u")[0] == [3]
    finally:
        own.kill()
