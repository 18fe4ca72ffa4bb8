"""Whole batches, from Arrow and from Feast's messages, are packed to the very bytes that single rows are."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from feast.protos.feast.types.Value_pb2 import FloatList, Int64List, StringList, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.stores.online.arrow_columns import column_of, times_of
from feature_repo.stores.online.message_columns import columns_of
from feature_repo.stores.online.partition_writer import PartitionWriter
from feature_repo.stores.packed.codec import NO_CREATED, PackedSchema
from feature_repo.stores.packed.many import Blobs, Scalars, encode_rows
from feature_repo.stores.packed.slots import PackedValueError

ARROW = {
    "i64": pa.int64(),
    "i32": pa.int32(),
    "f64": pa.float64(),
    "f32": pa.float32(),
    "bool": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"),
    "str": pa.string(),
    "bytes": pa.binary(),
    "list<f32>": pa.list_(pa.float32()),
    "list<i64>": pa.list_(pa.int64()),
    "list<str>": pa.list_(pa.string()),
    "list<bool>": pa.list_(pa.bool_()),
}
SCHEMA = PackedSchema("v", tuple((f"f {kind}", kind) for kind in ARROW))
floats = st.floats(width=32, allow_nan=False)
VALUES = {
    "i64": st.integers(-(2**63), 2**63 - 1),
    "i32": st.integers(-(2**31), 2**31 - 1),
    "f64": st.floats(allow_nan=False),
    "f32": floats,
    "bool": st.booleans(),
    "time": st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2100, 1, 1), timezones=st.just(dt.UTC)),
    "str": st.text(max_size=20),
    "bytes": st.binary(max_size=20),
    "list<f32>": st.lists(floats, max_size=9),
    "list<i64>": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
    "list<str>": st.lists(st.text(max_size=5), max_size=3),
    "list<bool>": st.lists(st.booleans(), max_size=9),
}
rows_of_all_kinds = st.lists(
    st.fixed_dictionaries({f"f {kind}": st.none() | values for kind, values in VALUES.items()}),
    min_size=1,
    max_size=6,
)


def one_by_one(rows):
    return [SCHEMA.encode(row, 100 + number, None if number % 2 else 7) for number, row in enumerate(rows)]


def times(rows):
    return np.arange(100, 100 + len(rows)), np.array(
        [NO_CREATED if number % 2 else 7 for number in range(len(rows))]
    )


@given(rows_of_all_kinds)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_arrow_columns_give_the_bytes_of_single_rows(rows):
    whole = pa.table(
        {name: pa.array([row[name] for row in [*rows, *rows]], ARROW[name[2:]]) for name in rows[0]}
    )
    (batch,) = whole.slice(len(rows)).combine_chunks().to_batches()  # a slice: offsets do not start at 0
    columns = {name: column_of(batch.column(name), kind) for name, kind in SCHEMA.fields}
    assert encode_rows(SCHEMA, columns, *times(rows)) == one_by_one(rows)


def message(kind, value):
    """Feast's message of a value; whole seconds for times, as Feast has them."""
    if value is None:
        return Value()
    lists = {
        "list<f32>": ("float_list_val", FloatList),
        "list<i64>": ("int64_list_val", Int64List),
        "list<str>": ("string_list_val", StringList),
    }
    if kind in lists:
        field, made = lists[kind]
        return Value(**{field: made(val=value)})
    fields = {
        "i64": "int64_val",
        "i32": "int32_val",
        "f64": "double_val",
        "f32": "float_val",
        "bool": "bool_val",
        "str": "string_val",
        "bytes": "bytes_val",
    }
    return (
        Value(unix_timestamp_val=int(value.timestamp())) if kind == "time" else Value(**{fields[kind]: value})
    )


@given(rows_of_all_kinds)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_messages_give_the_bytes_of_single_rows(rows):
    schema = PackedSchema("m", tuple((name, kind) for name, kind in SCHEMA.fields if kind != "list<bool>"))
    kinds = dict(schema.fields)
    plain = [
        {
            name: row[name].replace(microsecond=0) if kind == "time" and row[name] else row[name]
            for name, kind in kinds.items()
        }
        for row in rows
    ]
    columns = columns_of(
        schema, [{name: message(kinds[name], value) for name, value in row.items()} for row in plain]
    )
    single = [schema.encode(row, 100 + number, None if number % 2 else 7) for number, row in enumerate(plain)]
    assert encode_rows(schema, columns, *times(rows)) == single


@pytest.mark.parametrize("count", [0, 1, 31, 32, 4095, 4096, 600_000])
def test_vectors_of_any_length_are_cut_out_of_their_message_exactly(count):
    schema, vector = PackedSchema("v", (("vec", "list<f32>"),)), np.arange(count, dtype=np.float32)
    column = columns_of(schema, [{"vec": Value(float_list_val=FloatList(val=vector))}])
    (value,) = encode_rows(schema, column, np.array([1]), np.array([2]))
    assert value == schema.encode({"vec": vector}, 1, 2)


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (pa.array([1.5]), "i64"),
        (pa.array(["1"]), "f64"),
        (pa.array([2**40]), "i32"),
        (pa.array([1]), "f32"),
        (pa.array([1]), "str"),
        (pa.array([[1.0, None]]), "list<f32>"),
        (pa.array([["a"]]), "list<f32>"),
        (pa.array(["2024-01-01"]), "time"),
    ],
)
def test_column_of_another_type_is_refused(array, kind):
    with pytest.raises(PackedValueError):
        column_of(array, kind)


def test_column_without_any_value_is_all_null():
    empty = pa.nulls(2)
    columns = {name: column_of(empty, kind) for name, kind in SCHEMA.fields}
    nothing = dict.fromkeys(SCHEMA.index)
    assert encode_rows(SCHEMA, columns, np.array([100, 101]), np.array([7, NO_CREATED])) == one_by_one(
        [nothing, nothing]
    )


def test_missing_feature_and_wrong_dtype_are_refused():
    schema = PackedSchema("v", (("n", "i64"), ("text", "str")))
    one = np.array([1])
    with pytest.raises(PackedValueError, match=r"row lacks \['text'\]"):
        encode_rows(schema, {"n": Scalars(one)}, one, one)
    with pytest.raises(PackedValueError, match="'n' is given as int32"):
        encode_rows(schema, {"n": Scalars(one.astype(np.int32)), "text": Blobs([b""])}, one, one)


def test_times_without_a_zone_are_utc_and_nanoseconds_are_cut():
    naive = pa.array([np.datetime64("1970-01-01T00:00:01.000002999", "ns"), None])
    assert times_of(naive).tolist() == [1_000_002, NO_CREATED]


def test_writer_names_rows_as_feast_does_and_refuses_rows_without_a_time():
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey

    schema = PackedSchema("v", (("n", "i64"),))
    make = lambda keys: PartitionWriter(
        "", False, "p", schema, (("n", "n"),), keys, frozenset(), "at", None, 0
    )
    batch = pa.record_batch(
        {
            "a": ["ä"],
            "b": pa.array([3]),
            "n": pa.array([1]),
            "at": pa.array([5], pa.timestamp("us", tz="UTC")),
        }
    )
    text, number = Value(string_val="ä"), Value(int64_val=3)
    for keys, entity in [
        ((("a", "a"),), EntityKey(join_keys=["a"], entity_values=[text])),
        ((("b", "b"), ("a", "a")), EntityKey(join_keys=["a", "b"], entity_values=[text, number])),
        ((), EntityKey(join_keys=["__dummy_id"], entity_values=[Value(string_val="")])),
    ]:
        ((key, value),) = make(keys).rows(batch)
        assert key == b"feast:p:v:{%b}" % serialize_entity_key(entity, entity_key_serialization_version=3)
        assert value == schema.encode({"n": 1}, 5)
    timeless = batch.set_column(3, "at", pa.array([None], pa.timestamp("us", tz="UTC")))
    with pytest.raises(PackedValueError, match="view 'v': row 0 .a ä. without 'at'"):
        make((("a", "a"),)).rows(timeless)
