"""Items sent and withdrawn by HTTP: checked by the contract of the topic, never both taken and refused."""

from __future__ import annotations

import json

import pytest

from model.recommender.stock import Stock
from streaming.http.catalogue.updates import CheckedItem, ItemSender, check_items, withdrawal

SHOE = {"item_id": "7", "title": "Shoe", "attributes": {"price": 5}, "colour": "red"}


def post(drive, body, **options):
    async def scenario(setting):
        response = await setting.client.post("/v1/items", content=json.dumps(body).encode())
        return response, [one.update for one in setting.sent]

    return drive(scenario, **options)


def test_one_item_or_a_list_is_sent_as_it_came(drive):
    response, sent = post(drive, SHOE)
    assert response.status_code == 202
    assert response.json()["results"] == [{"status": "accepted", "item_id": "7", "partition": 0, "offset": 0}]
    assert [(one.item_id, one.title, one.extra) for one in sent] == [("7", "Shoe", {"colour": "red"})]
    response, sent = post(drive, [SHOE, {"item_id": "8", "available": "no"}, {"item_id": "9"}])
    assert response.status_code == 207
    results = response.json()["results"]
    assert [one.get("error", {}).get("code", one["status"]) for one in results] == [
        "accepted",
        "bad_available",
        "accepted",
    ]
    assert [one.item_id for one in sent] == ["7", "9"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"item_id": "7", "available": 1}, "bad_available"),
        ({"item_id": "7", "attributes": {"text": "x" * 70_000}}, "too_large"),
        ({"item_id": "7", "attributes": "price"}, "bad_attributes"),
        ({"title": "nameless"}, "wrong_shape"),
        ([{"item_id": ""}, {"item_id": 3}], "all_refused"),
        ([], "bad_count"),
    ],
)
def test_what_breaks_the_contract_is_one_clear_answer(drive, body, code):
    response, sent = post(drive, body, max_body_bytes=1_000_000)
    assert (response.status_code, response.json()["error"]["code"], sent) == (400, code, [])


def test_a_body_of_a_megabyte_is_refused_before_it_is_read(drive):
    response, _ = post(drive, {"item_id": "7", "attributes": {"text": "x" * 1_000_000}})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("path", "item"),
    [("7", "7"), ("a%2Fb", "a/b"), ("nobody%20knows", "nobody knows"), ("nearest", "nearest")],
)
def test_an_item_is_withdrawn_by_a_record_without_a_value(drive, path, item):
    async def scenario(setting):
        return await setting.client.delete(f"/v1/items/{path}"), list(setting.sent)

    response, (sent,) = drive(scenario)
    assert response.status_code == 202
    assert (sent.update.item_id, sent.value, sent.update.withdrawn) == (item, None, True)


def test_both_ask_for_the_token_where_there_is_one(drive):
    async def scenario(setting):
        return [
            (await setting.client.post("/v1/items", json=SHOE)).status_code,
            (await setting.client.delete("/v1/items/7")).status_code,
            (await setting.client.delete("/v1/items/7", headers={"authorization": "Bearer t"})).status_code,
        ]

    assert drive(scenario, tokens=("t",)) == [401, 401, 202]


def test_items_say_whether_they_may_be_shown_and_their_attributes(get):
    stock = Stock(frozenset({"2"}), {"1": {"price": 5, "languages": ["en", "de"]}})
    found = get("/v1/items?id=1&id=2&id=nobody", stock=lambda: stock).json()["items"]
    assert [(one["item_id"], one.get("available", True), one["known"]) for one in found] == [
        ("1", True, True),
        ("2", False, True),
        ("nobody", True, False),
    ]
    assert found[0]["attributes"] == {"price": 5, "languages": ["en", "de"]}


def test_without_a_broker_every_item_is_told_failed_with_the_remedy():
    def no_broker():
        raise ConnectionError("nobody listens")

    (checked,), _ = check_items(json.dumps(SHOE).encode())
    assert isinstance(checked, CheckedItem)
    ((first, second),) = ItemSender(no_broker, "items")([[checked, withdrawal("8")]])
    assert (first.status, first.error.code, second.item_id) == ("failed", "broker_unavailable", "8")
    assert "latest record counts" in first.error.message


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("equal=price", "bad_parameter"),
        ("below=price:cheap", "bad_parameter"),
        ("below=price:5&above=price:5", "contradicting_limits"),
        ("equal=nothing:5", "unknown_attribute"),
    ],
)
def test_rules_on_attributes_that_make_no_sense_are_refused_by_name(get, query, code):
    response = get(f"/v1/recommend?item_id=1&{query}")
    assert (response.status_code, response.json()["error"]["code"]) == (400, code)
