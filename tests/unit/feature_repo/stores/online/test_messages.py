"""Packed rows and Feast agree on keys, kinds and values."""

from __future__ import annotations

import pyarrow as pa
import pytest
from feast import Entity, FeatureView, Field, ValueType
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Array, Float32, Map, String
from hypothesis import given
from hypothesis import strategies as st

from feature_repo import definitions
from feature_repo.stores.online.partition_writer import PartitionWriter
from feature_repo.stores.online.protos import from_message, schema_of, to_message
from feature_repo.stores.packed.codec import PackedSchema
from feature_repo.stores.packed.keys import entity_key, storage_key
from feature_repo.stores.packed.live import session_schema


@given(
    st.dictionaries(st.text(min_size=1), st.text() | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=3)
)
def test_entity_keys_are_feasts(keys):
    values = [Value(string_val=v) if isinstance(v, str) else Value(int64_val=v) for v in keys.values()]
    assert entity_key(keys) == serialize_entity_key(EntityKey(join_keys=list(keys), entity_values=values), 3)


def test_narrow_integer_keys_are_feasts_too():
    assert entity_key({"k": -3}, frozenset({"k"})) == serialize_entity_key(
        EntityKey(join_keys=["k"], entity_values=[Value(int32_val=-3)]), 3
    )


def test_all_views_of_an_entity_share_a_cluster_slot():
    from redis.crc import key_slot

    first, second = (storage_key("p", view, entity_key({"session_id": "s"})) for view in ("one", "two"))
    assert first != second
    assert key_slot(first) == key_slot(second)


def test_consumer_and_feast_have_one_schema_for_session_features():
    assert session_schema() == schema_of(definitions.session_features)
    assert session_schema().hash == schema_of(definitions.session_features).hash


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("str", Value(string_val="ä")),
        ("bytes", Value(bytes_val=b"\0")),
        ("i32", Value(int32_val=-1)),
        ("i64", Value(int64_val=2**62)),
        ("bool", Value(bool_val=True)),
        ("f64", Value(double_val=0.1)),
        ("f32", Value(float_val=0.5)),
        ("time", Value(unix_timestamp_val=1_700_000_000)),
    ],
)
def test_messages_come_back_as_they_were(kind, message):
    schema = PackedSchema("v", (("x", kind),))
    assert (
        to_message(kind, schema.decode(schema.encode({"x": from_message(kind, message)}, 1))["x"]) == message
    )


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=400))
def test_vectors_come_back_as_they_were(vector):
    message = Value()
    message.float_list_val.SetInParent()
    message.float_list_val.val.extend(vector)
    schema = PackedSchema("v", (("x", "list<f32>"),))
    assert (
        to_message(
            "list<f32>", schema.decode(schema.encode({"x": from_message("list<f32>", message)}, 1))["x"]
        )
        == message
    )


def test_other_feast_types_are_kept_whole():
    source = SparkSource(name="s", path="s", file_format="parquet", timestamp_field="t")
    entity = Entity(name="e", join_keys=["k"], value_type=ValueType.STRING)
    view = FeatureView(
        name="v",
        entities=[entity],
        source=source,
        schema=[
            Field(name="m", dtype=Map),
            Field(name="a", dtype=Array(Float32)),
            Field(name="k", dtype=String),
        ],
    )
    assert dict(schema_of(view).fields)["m"] == "proto"
    message = Value()
    message.map_val.val["x"].int64_val = 3
    schema = PackedSchema("v", (("m", "proto"),))
    assert (
        to_message("proto", schema.decode(schema.encode({"m": from_message("proto", message)}, 1))["m"])
        == message
    )


def test_arrow_rows_are_packed_as_single_rows_are():
    schema = PackedSchema("v", (("vec", "list<f32>"), ("t", "time"), ("name", "str")))
    writer = PartitionWriter(
        "redis://127.0.0.1:1/0",
        False,
        "p",
        schema,
        (("vec", "vec"), ("t", "t"), ("name", "n")),
        (("k", "k"),),
        frozenset(),
        "event",
        "created",
        0,
    )
    time = pa.timestamp("us", tz="UTC")
    batch = pa.RecordBatch.from_pydict(
        {
            "k": ["a", "b"],
            "vec": pa.array([[1.0, 2.0], None], pa.list_(pa.float32())),
            "t": pa.array([7, 8], time),
            "n": ["x", None],
            "event": pa.array([10, 11], time),
            "created": pa.array([None, 12], time),
        }
    )
    expected = [
        ({"vec": [1.0, 2.0], "t": 7, "name": "x"}, 10, None),
        ({"vec": None, "t": 8, "name": None}, 11, 12),
    ]
    assert list(writer.rows(batch)) == [
        (storage_key("p", "v", entity_key({"k": key})), schema.encode(*row))
        for key, row in zip("ab", expected, strict=True)
    ]
    assert next(iter(writer.rows(batch.slice(1))))[1] == schema.encode(*expected[1])
