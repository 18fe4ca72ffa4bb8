"""Records of the items topic: what is taken, what is refused and why."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.contract.items.messages import (
    MAX_ATTRIBUTES_BYTES,
    ItemError,
    ItemUpdate,
    decode_item,
    encode_item,
)

scalars = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
)
words = st.from_regex(r"\A[a-z]+( [a-z]+)?\Z")
updates = st.builds(
    ItemUpdate,
    item_id=words,
    title=st.none() | words,
    category=st.none() | words,
    available=st.booleans(),
    attributes=st.none() | st.dictionaries(words, scalars | st.lists(scalars).map(tuple), max_size=4),
    extra=st.dictionaries(words.map("x_".__add__), scalars, max_size=3),
)


@given(updates)
def test_what_is_written_is_read_again_unknown_fields_too(update):
    assert decode_item(encode_item(update), update.item_id.encode()) == update


def test_a_record_without_a_value_withdraws_its_key():
    found = decode_item(None, "Ä 7".encode())
    assert (found.item_id, found.available, found.withdrawn) == ("Ä 7", False, True)
    assert encode_item(found) is None


def test_what_is_left_out_is_not_said_and_an_item_is_available_unless_told_otherwise():
    found = decode_item(b'{"item_id":"7"}', b"7")
    assert (found.title, found.category, found.attributes, found.available) == (None, None, None, True)
    assert decode_item(b'{"item_id":"7","title":" a\\n b ","attributes":{"p":null}}', b"7") == ItemUpdate(
        "7", "a b", attributes={}
    )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"available": "yes"}, "bad_available"),
        ({"available": 1}, "bad_available"),
        ({"available": None}, "bad_available"),
        ({"attributes": {"text": "x" * MAX_ATTRIBUTES_BYTES}}, "too_large"),
        ({"attributes": {"text": "x" * 1_000_000}}, "too_large"),
        ({"attributes": ["price"]}, "bad_attributes"),
        ({"attributes": {"price": {"eur": 1}}}, "bad_attributes"),
        ({"attributes": {"price": [[1]]}}, "bad_attributes"),
        ({"title": 7}, "wrong_shape"),
        ({"title": "x" * 10_001}, "too_large"),
        ({"item_id": ""}, "bad_id"),
        ({"item_id": 7}, "wrong_shape"),
        ({"item_id": "8"}, "wrong_key"),
        ({"schema_version": 2}, "unknown_schema_version"),
        ({"schema_version": True}, "unknown_schema_version"),
    ],
)
def test_a_broken_field_is_refused_by_name(fields, reason):
    with pytest.raises(ItemError) as refused:
        decode_item(json.dumps({"item_id": "7", **fields}).encode(), b"7")
    assert refused.value.reason == reason and len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("value", "key", "reason"),
    [
        (b"{", b"7", "not_json"),
        (b"[]", b"7", "wrong_shape"),
        (b"\xff", b"7", "not_utf8"),
        (b'{"item_id":"7"}', None, "wrong_key"),
        (None, None, "bad_id"),
        (None, b" ", "bad_id"),
        (None, b"\xff", "wrong_key"),
        (b" " * 1_000_001, b"7", "too_large"),
    ],
)
def test_a_record_that_is_no_item_is_refused_by_name(value, key, reason):
    with pytest.raises(ItemError) as refused:
        decode_item(value, key)
    assert refused.value.reason == reason
