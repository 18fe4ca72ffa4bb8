"""Clicks on the wire: what is read, what is refused, and that writing is the inverse of reading."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.contract import messages as events
from feature_repo.contract.messages import Click, ClickError

NOW = 1_800_000_000_000_000
GOOD = {
    "event_id": "e",
    "session_id": "s",
    "item_id": "i",
    "event_time": "2024-01-01T00:00:00Z",
    "schema_version": 1,
}
names = st.text(min_size=1, max_size=40).filter(lambda text: text.strip() and text.isprintable())


def raw(**changes):
    return json.dumps({**GOOD, **changes}).encode()


def reason(value, key=b"s"):
    with pytest.raises(ClickError) as caught:
        events.decode_click(value, key, NOW)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return caught.value.reason


@given(
    names,
    names,
    names,
    st.integers(events.EARLIEST_US, NOW),
    st.dictionaries(names, st.integers() | names, max_size=3),
)
def test_writing_and_reading_are_inverse(event, session, item, time, extra):
    extra = {
        name: value
        for name, value in extra.items()
        if name not in GOOD and not (isinstance(value, int) and abs(value) > 2**60)
    }
    click = Click(event, session, item, time, 1, extra)
    assert events.decode_click(events.encode_click(click), session.encode(), NOW) == click


def test_unknown_fields_are_kept():
    assert events.decode_click(raw(page="home", nested={"a": [1]}), b"s", NOW).extra == {
        "page": "home",
        "nested": {"a": [1]},
    }


@pytest.mark.parametrize(
    ("value", "key", "expected"),
    [
        (None, b"s", "null_value"),
        (b"", b"s", "not_json"),
        (b"{", b"s", "not_json"),
        (b"[" * 100_000, b"s", "not_json"),
        (b"\xff\xfe", b"s", "not_utf8"),
        (b"[1]", b"s", "wrong_shape"),
        (b"null", b"s", "wrong_shape"),
        (b" " * 1_000_001, b"s", "too_large"),
        (raw(item_id=None), b"s", "wrong_shape"),
        (raw(event_id=7), b"s", "wrong_shape"),
        (raw(event_id=""), b"s", "bad_id"),
        (raw(item_id="  "), b"s", "bad_id"),
        (raw(item_id="x" * 1025), b"s", "bad_id"),
        (raw(event_time="yesterday"), b"s", "bad_time"),
        (raw(event_time=True), b"s", "bad_time"),
        (raw(event_time=None), b"s", "bad_time"),
        (raw(event_time=1e300), b"s", "bad_time"),
        (raw(event_time="1969-12-31T23:59:59Z"), b"s", "bad_time"),
        (raw(event_time="1999-12-31T23:59:59Z"), b"s", "bad_time"),
        (raw(event_time="9999-01-01"), b"s", "bad_time"),
        (raw(schema_version=2), b"s", "unknown_schema_version"),
        (raw(schema_version="1"), b"s", "unknown_schema_version"),
        (raw(schema_version=True), b"s", "unknown_schema_version"),
        (raw(), b"other", "wrong_key"),
        (raw(), None, "wrong_key"),
    ],
)
def test_a_bad_click_is_refused_with_its_reason(value, key, expected):
    assert reason(value, key) == expected


def test_a_missing_field_is_a_wrong_shape():
    for name in ("event_id", "session_id", "item_id"):
        assert (
            reason(json.dumps({key: value for key, value in GOOD.items() if key != name}).encode())
            == "wrong_shape"
        )


def test_an_id_of_exactly_the_limit_is_kept():
    assert len(events.decode_click(raw(item_id="x" * 1024), b"s", NOW).item_id) == 1024


@given(st.binary(max_size=200))
def test_any_bytes_give_a_click_or_a_click_error(value):
    try:
        assert isinstance(events.decode_click(value, b"s", NOW), Click)
    except ClickError as error:
        assert error.reason


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2020-02-29T12:00:00Z", 1_582_977_600_000_000),
        ("2020-02-29T14:00:00+02:00", 1_582_977_600_000_000),
        ("2020-02-29 12:00:00.000001", 1_582_977_600_000_001),
        (1_582_977_600, 1_582_977_600_000_000),
        (1_582_977_600.5, 1_582_977_600_500_000),
        (1_582_977_600_123, 1_582_977_600_123_000),
        (1_582_977_600_123_456, 1_582_977_600_123_456),
        ("1582977600", 1_582_977_600_000_000),
    ],
)
def test_times_are_read_in_every_documented_form(value, expected):
    assert events.parse_time(value) == expected


@given(st.integers(0, 4_000_000_000_000_000))
def test_a_written_time_reads_back(microseconds):
    assert events.parse_time(events.format_time(microseconds)) == microseconds


def test_a_recommendation_reads_back_and_rubbish_is_refused():
    view = events.IntentView("a film", ["i1"])
    answer = events.Recommendation(
        "e",
        "s",
        [events.RecommendedItem("i", 0.5)],
        events.Intents(view, view, "encoder"),
        "v1",
        events.Source("clicks", 0, 7),
        "t",
        "u",
    )
    assert events.decode_recommendation(events.encode_recommendation(answer)) == answer
    with pytest.raises(ValueError, match="not a recommendation"):
        events.decode_recommendation(b"{}")
