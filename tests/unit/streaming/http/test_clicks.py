"""Clicks by HTTP are checked by the very contract of the consumer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.contract.messages import ClickError, decode_click
from streaming.http.clicks import CheckedClick, ClickSender, check_clicks
from streaming.http.wire.errors import ApiError

NOW_US = 1_800_000_000_000_000
CLICK = {
    "event_id": "e",
    "session_id": "s",
    "item_id": "i",
    "event_time": "2024-01-01T00:00:00Z",
    "schema_version": 1,
}


def reason(body: bytes) -> str:
    (click,), single = check_clicks(body, NOW_US)
    assert single
    return click.reason if isinstance(click, ClickError) else "accepted"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "accepted"),
        ({"item_id": ""}, "bad_id"),
        ({"item_id": 5}, "wrong_shape"),
        ({"session_id": "x" * 1025}, "bad_id"),
        ({"session_id": None}, "wrong_shape"),
        ({"event_time": "yesterday"}, "bad_time"),
        ({"event_time": 3_000_000_000}, "bad_time"),
        ({"event_time": -1}, "bad_time"),
        ({"schema_version": 2}, "unknown_schema_version"),
        ({"colour": {"deep": [1, "ü"]}}, "accepted"),
    ],
)
def test_each_rule_of_the_contract_holds(change, expected):
    assert reason(json.dumps({**CLICK, **change}).encode()) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b'"text"', "wrong_shape"),
        (b"\xff\xfe", "not_utf8"),
        (b"{" * 100_000, "not_json"),
    ],
)
def test_a_body_that_is_no_click_is_refused_by_reason(body, expected):
    assert reason(body) == expected


@pytest.mark.parametrize(
    "body", [b"[", b"[" * 100_000, b"[]", b"[1,", b"[" + b",".join([b"1"] * 1001) + b"]", b"[\xff]"]
)
def test_a_list_that_cannot_be_taken_is_one_clear_error(body):
    with pytest.raises(ApiError) as error:
        check_clicks(body, NOW_US)
    assert error.value.status_code == 400


def test_a_list_gives_one_result_a_click_in_order():
    body = json.dumps([CLICK, {**CLICK, "item_id": ""}, 7, {**CLICK, "event_id": "e2"}]).encode()
    clicks, single = check_clicks(body, NOW_US)
    assert not single
    assert [click.reason if isinstance(click, ClickError) else click.click.event_id for click in clicks] == [
        "e",
        "bad_id",
        "wrong_shape",
        "e2",
    ]


ids = st.text(min_size=1, max_size=30).filter(lambda text: text.strip() and "\ud800" not in text)


@given(
    event=ids,
    session=ids,
    item=ids,
    time=st.integers(946_684_800, 1_800_000_000),
    extra=st.dictionaries(ids, st.integers(), max_size=3),
)
def test_what_is_sent_is_what_the_consumer_accepts(event, session, item, time, extra):
    body = json.dumps(
        [{**extra, **CLICK, "event_id": event, "session_id": session, "item_id": item, "event_time": time}],
        ensure_ascii=False,
    )
    try:
        raw = body.encode()
    except UnicodeEncodeError:
        return  # a lone surrogate is no text that could be sent
    (checked,), _ = check_clicks(raw, NOW_US)
    assert isinstance(checked, CheckedClick)
    assert decode_click(checked.value, checked.click.session_id.encode(), NOW_US) == checked.click
    assert checked.click.session_id == session


def test_without_a_broker_every_click_is_told_failed_with_the_remedy():
    def no_broker():
        raise ConnectionError("nobody listens")

    (checked,), _ = check_clicks(json.dumps(CLICK).encode(), NOW_US)
    ((result,),) = ClickSender(no_broker, "clicks")([[checked]])
    assert (result.status, result.error.code) == ("failed", "broker_unavailable")
    assert "same event_id" in result.error.message
