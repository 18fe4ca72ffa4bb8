"""The packed row: what goes in comes out, and what does not fit is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.stores.online.reader import NOT_FOUND, OUTSIDE_MAX_AGE, PRESENT, decode_columns
from feature_repo.stores.packed.codec import NO_CREATED, PackedSchema, PackedSchemaError, header
from feature_repo.stores.packed.slots import PackedValueError

FIELDS = (
    ("z", "i64"),
    ("a", "i32"),
    ("f", "f64"),
    ("g", "f32"),
    ("t", "time"),
    ("y", "bool"),
    ("s", "str"),
    ("raw", "bytes"),
    ("v", "list<f32>"),
    ("w", "list<i64>"),
    ("words", "list<str>"),
    ("times", "list<time>"),
)
SCHEMA = PackedSchema("view", FIELDS)
i64 = st.integers(-(2**63), 2**63 - 1)
f32 = st.floats(width=32, allow_nan=False)
values = st.fixed_dictionaries(
    {
        "z": st.none() | i64,
        "a": st.none() | st.integers(-(2**31), 2**31 - 1),
        "f": st.none() | st.floats(allow_nan=False),
        "g": st.none() | f32,
        "t": st.none() | i64,
        "y": st.none() | st.booleans(),
        "s": st.none() | st.text(),
        "raw": st.none() | st.binary(),
        "v": st.none() | st.lists(f32),
        "w": st.none() | st.lists(i64),
        "words": st.none() | st.lists(st.text()),
        "times": st.none() | st.lists(i64),
    }
)


def plain(row):
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in row.items()}


@given(values, i64, st.none() | st.integers(-(2**62), 2**62))
def test_every_row_comes_back_as_it_was(row, event_us, created_us):
    packed = SCHEMA.encode(row, event_us, created_us)
    assert plain(SCHEMA.decode(packed)) == row
    head = header(packed)
    assert (head.event_us, head.created_us) == (event_us, NO_CREATED if created_us is None else created_us)


@given(st.lists(st.none() | values, max_size=6))
def test_columns_say_the_same_as_single_rows(rows):
    packed = [None if row is None else SCHEMA.encode(row, 5, 5) for row in rows]
    result = decode_columns(SCHEMA, packed, [name for name, _ in FIELDS])
    for number, row in enumerate(rows):
        assert result.status[number] == (NOT_FOUND if row is None else PRESENT)
        for name, _ in FIELDS:
            wanted = None if row is None else row[name]
            assert bool(result.present[name][number]) == (wanted is not None)
            if wanted is not None:
                found = result.columns[name][number]
                assert (found.tolist() if isinstance(found, np.ndarray | np.generic) else found) == wanted


def test_number_lists_are_views_without_a_copy():
    packed = SCHEMA.encode({name: None for name, _ in FIELDS} | {"v": [1.0, 2.0]}, 1)
    vector = SCHEMA.decode(packed, ["v"])["v"]
    assert vector.base is not None
    assert not vector.flags.writeable


def test_order_of_the_definition_means_nothing_but_names_kinds_and_view_do():
    assert PackedSchema("view", FIELDS[::-1]).hash == SCHEMA.hash
    for other in (
        PackedSchema("view2", FIELDS),
        PackedSchema("view", FIELDS[1:]),
        PackedSchema("view", (("z", "i32"), *FIELDS[1:])),
    ):
        assert other.hash != SCHEMA.hash


def test_row_of_another_schema_is_refused_not_misread():
    old = PackedSchema("view", (("z", "f64"), *FIELDS[1:]))
    packed = old.encode({name: None for name, _ in FIELDS} | {"z": 1.0}, 1)
    with pytest.raises(PackedSchemaError, match="materialise the view again"):
        SCHEMA.decode(packed)
    with pytest.raises(PackedSchemaError):
        decode_columns(SCHEMA, [packed], ["z"])


def test_too_old_rows_and_deletions_hold_no_values():
    schema = PackedSchema("v", (("n", "i64"), ("x", "f64")))
    rows = [
        schema.encode({"n": 1, "x": 2.0}, 100),
        schema.encode({"n": 1, "x": 2.0}, 200),
        schema.tombstone(300),
        None,
    ]
    result = decode_columns(schema, rows, ["n", "x"], oldest_us=150)
    assert result.status.tolist() == [OUTSIDE_MAX_AGE, PRESENT, NOT_FOUND, NOT_FOUND]
    assert result.event_us.tolist() == [100, 200, 0, 0]
    assert result.present["n"].tolist() == [False, True, False, False]
    assert np.isnan(result.columns["x"][[0, 2, 3]]).all()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"n": 1}, r"lacks \['x'\]"),
        ({"n": 1, "x": 1.0, "q": 2}, r"unknown \['q'\]"),
        ({"n": "one", "x": 1.0}, "does not fit"),
        ({"n": 2**63, "x": 1.0}, "does not fit"),
        ({"n": 1.5, "x": 1.0}, "does not fit"),
    ],
)
def test_row_that_does_not_fit_names_what_is_wrong(row, words):
    with pytest.raises(PackedValueError, match=words):
        PackedSchema("v", (("n", "i64"), ("x", "f64"))).encode(row, 1)


def test_times_need_a_zone_and_keep_their_microseconds():
    schema = PackedSchema("v", (("t", "time"),))
    moment = datetime(2024, 10, 27, 1, 30, 0, 123457, tzinfo=UTC)
    assert schema.decode(schema.encode({"t": moment}, 1))["t"] == (
        moment - datetime(1970, 1, 1, tzinfo=UTC)
    ) // timedelta(microseconds=1)
    with pytest.raises(PackedValueError, match="no time zone"):
        schema.encode({"t": moment.replace(tzinfo=None)}, 1)


def test_foreign_bytes_are_named_as_such():
    for junk in (b"", b"hello", bytes(64)):
        with pytest.raises(PackedValueError, match="no packed feature row"):
            SCHEMA.decode(junk)
