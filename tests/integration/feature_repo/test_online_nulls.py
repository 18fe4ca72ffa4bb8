"""A missing value is null online, for each of Feast's value types, wherever it stands and whichever way the
row comes in.
"""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
import warnings
import zoneinfo

import pandas as pd
import pyarrow as pa
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, PushSource, RepoConfig, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.table_format import DeltaFormat
from feast.type_map import python_values_to_proto_values
from feast.types import VALUE_TYPES_TO_FEAST_TYPES, Int64, String

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
MOMENT = NOW - dt.timedelta(days=1)
PLAIN = {
    "BYTES": b"a\0",
    "STRING": "a",
    "INT32": 3,
    "INT64": 2**60,
    "DOUBLE": 0.1,
    "FLOAT": 0.5,
    "BOOL": True,
    "UNIX_TIMESTAMP": MOMENT,
    "MAP": {"a": 1},
    "JSON": '{"a": 1}',
    "PDF_BYTES": b"%PDF",
    "IMAGE_BYTES": b"\x89",
    "UUID": uuid.UUID(int=7),
    "TIME_UUID": uuid.uuid1(),
    "DECIMAL": decimal.Decimal("1.10"),
    "SCALAR_MAP": {7: 1},
    "ZONED_TIMESTAMP": MOMENT.astimezone(zoneinfo.ZoneInfo("Asia/Shanghai")),
}
TYPES = [kind for kind in ValueType if kind in VALUE_TYPES_TO_FEAST_TYPES and kind is not ValueType.UNKNOWN]
STATES = {"value": [1, 1], "null": [1, 0, 1], "first row null": [0, 1, 1], "all null": [0, 0]}
WAYS = ("frame", "frame that Feast converts", "push", "materialise", "message")


def sample(kind):
    base, _, form = kind.name.rpartition("_")
    if form in ("LIST", "SET"):
        return [PLAIN[base]] if form == "LIST" else {PLAIN[base]}
    return PLAIN[kind.name]


def in_delta(value):
    """A value as Arrow has it out of Delta, which knows neither UUIDs nor sets."""
    if isinstance(value, list | set):
        return [in_delta(one) for one in value]
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        return list(value.items())
    return str(value) if isinstance(value, uuid.UUID) else value


def batch_of(kind, users, values):
    x = [in_delta(value) for value in values]
    column = pa.array(x, pa.map_(pa.int64(), pa.int64())) if kind is ValueType.SCALAR_MAP else pa.array(x)
    times = pa.array([NOW] * len(users), pa.timestamp("us", "UTC"))
    return pa.RecordBatch.from_pydict(
        {"user_id": users, "n": list(range(len(users))), "x": column, "ts": times}
    )


@pytest.fixture(scope="module", params=TYPES, ids=lambda kind: kind.name)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def store(valkey, kind, tmp_path_factory):
    """A registry of one view, since Feast reads all of it again with every call."""
    config = RepoConfig(
        project=f"nulls_{kind.name}",
        provider="feature_repo.stores.PackedProvider",
        registry=str(tmp_path_factory.mktemp("nulls") / "registry.db"),
        entity_key_serialization_version=3,
        offline_store={"type": "feature_repo.stores.DeltaOfflineStore"},
        online_store={"type": "feature_repo.stores.PackedOnlineStore", "url": valkey.url},
    )
    source = SparkSource(name="table", path="table", table_format=DeltaFormat(), timestamp_field="ts")
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    fields = {"user_id": String, "n": Int64, "x": VALUE_TYPES_TO_FEAST_TYPES[kind]}
    view = FeatureView(
        name="view",
        entities=[user],
        ttl=dt.timedelta(0),
        source=PushSource(name="pushed", batch_source=source),
        online=True,
        schema=[Field(name=name, dtype=dtype) for name, dtype in fields.items()],
    )
    opened = FeatureStore(config=config)
    opened.apply([user, view])
    return opened


def frame_of(users, values):
    return pd.DataFrame({"user_id": users, "n": range(len(users)), "x": values, "ts": [NOW] * len(users)})


def key_of(user):
    return EntityKey(join_keys=["user_id"], entity_values=[Value(string_val=user)])


def messages(kind, values):
    return [Value() if value is None else python_values_to_proto_values([value], kind)[0] for value in values]


def write(store, view, kind, way, users, values):
    online = store._get_provider().online_store
    if way == "frame":
        store.write_to_online_store(view.name, frame_of(users, values))
    elif way == "push":
        store.push("pushed", frame_of(users, values))
    elif way == "frame that Feast converts":
        store.write_to_online_store(view.name, frame_of(users, values).astype({"n": "float64"}))
    elif way == "materialise":  # what Spark's workers run on the batches of a Delta table
        list(online.writer(store.config, view)(iter([batch_of(kind, users, values)])))
    else:
        rows = [
            (key_of(user), {"n": Value(int64_val=place), "x": x}, NOW, None)
            for place, (user, x) in enumerate(zip(users, messages(kind, values), strict=True))
        ]
        online.online_write_batch(store.config, view, rows, None)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("way", WAYS)
def test_a_missing_value_is_null(store, kind, state, way):
    view = store.get_feature_view("view")
    values = [sample(kind) if there else None for there in STATES[state]]
    users = [f"{way} {state} {place}" for place in range(len(values))]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        write(store, view, kind, way, users, values)
    rows = store._get_provider().online_store.online_read(
        store.config, view, [key_of(user) for user in users]
    )
    assert [features["n"].int64_val for _, features in rows] == list(range(len(values)))
    assert [features["x"] for _, features in rows] == messages(kind, values)
