"""The live catalogue with everything real: broker, valkey, consumer, HTTP side and a trained model; how long
it takes from a record to its effect is measured.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest

from feature_repo.contract.settings import Settings
from streaming.clients import client_options
from streaming.topics import dead_letters
from streaming.topics.items import ItemFeed

AVAILABILITY_SECONDS, NEW_ITEM_SECONDS = 2.0, 10.0  # what is promised

# In this order: the later ones build on a running side.


@pytest.fixture(scope="module")
def shop(side: Any) -> Any:
    """A side that answers, with a consumer that runs."""
    side.promote(0)
    side.consume()
    side.answer("warm", side.click("warm", "shoes-1"))
    return side


def put(side: Any, *records: tuple[str, Any]) -> float:
    """Send records as a shop with a Kafka client does; gives when the broker had them all."""
    from kafka import KafkaProducer

    with KafkaProducer(**client_options(side.settings), max_request_size=8 << 20) as producer:
        for key, body in records:
            value = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            producer.send(side.settings.kafka.items_topic, value, key.encode())
        producer.flush()
    return time.monotonic()


def asked(side: Any, *items: str, **limits: Any) -> list[str]:
    body = {"items": list(items), "k": 10, "limits": limits or None}
    response = side.client.post("/v1/recommend", json=body)
    assert response.status_code == 200, response.text
    return [one["item_id"] for one in response.json()["items"]]


def consumed(side: Any, *items: str) -> dict[str, Any]:
    session = f"session-{time.monotonic_ns()}"
    events = [side.click(session, item) for item in items]
    return dict(side.answer(session, events[-1]))


def ids(answer: dict[str, Any]) -> list[str]:
    return [one["item_id"] for one in answer["items"]]


def seconds_until(began: float, check: Callable[[], bool], wait: Any, what: str) -> float:
    wait(check, what)
    return time.monotonic() - began


def test_a_withdrawn_item_leaves_every_answer_within_two_seconds_and_comes_back(
    shop: Any, wait: Any, record_property: Any
) -> None:
    by_http, by_consumer = [], []
    for _ in range(4):
        best = asked(shop, "shoes-7")[0]
        began = put(shop, (best, None))
        by_http.append(seconds_until(began, lambda b=best: b not in asked(shop, "shoes-7"), wait, "by HTTP"))
        by_consumer.append(
            seconds_until(began, lambda b=best: b not in ids(consumed(shop, "shoes-7")), wait, "by consumer")
        )
        assert len(asked(shop, "shoes-7")) == 10
        began = put(shop, (best, {"item_id": best, "available": True}))
        by_http.append(seconds_until(began, lambda b=best: asked(shop, "shoes-7")[0] == b, wait, "back"))
        by_consumer.append(
            seconds_until(began, lambda b=best: b in ids(consumed(shop, "shoes-7")), wait, "back, consumer")
        )
    record_property("seconds_by_http", by_http)
    print("record -> HTTP", [round(one, 3) for one in by_http])
    print("record -> consumer's answer", [round(one, 3) for one in by_consumer])
    assert statistics.median(by_http) < AVAILABILITY_SECONDS
    assert max(by_http) < AVAILABILITY_SECONDS and max(by_consumer) < AVAILABILITY_SECONDS


def test_a_withdrawn_item_still_counts_and_explains(shop: Any, wait: Any) -> None:
    shop.client.delete("/v1/items/lamps-2").raise_for_status()
    wait(lambda: "lamps-2" not in asked(shop, "lamps-3"), "withdrawal by HTTP")
    wait(lambda: "lamps-2" not in ids(consumed(shop, "lamps-3")), "withdrawal in the consumer")
    answer = consumed(shop, "lamps-2", "lamps-3")
    features = wait(
        lambda: (
            (body := shop.client.get(f"/v1/sessions/{answer['session_id']}/features").json()).get("features")
            and body["features"]["click_count"] == 2
            and body
        ),
        "both clicks",
    )
    assert features["features"]["items"] == ["lamps-2", "lamps-3"]
    assert "lamps-2" not in ids(answer)
    assert all(one.startswith("lamps") for one in ids(answer)[:3])
    found = shop.client.get("/v1/items", params={"id": "lamps-2"}).json()["items"][0]
    assert (found["known"], found["available"]) == (True, False)


def test_a_new_item_is_ranked_from_its_title_within_ten_seconds(shop: Any, wait: Any) -> None:
    body = {"item_id": "fresh", "title": "Canvas sneakers no. 77", "category": "shoes", "maker": "x"}
    sent = shop.client.post("/v1/items", json=body)
    assert sent.status_code == 202
    began = time.monotonic()
    http = seconds_until(
        began,
        lambda: (
            "fresh" in asked(shop, "shoes-3", only=["fresh", "shoes-7"])
            if shop.client.get("/v1/items", params={"id": "fresh"}).json()["items"][0]["known"]
            else False
        ),
        wait,
        "the new item by HTTP",
    )
    clicked = seconds_until(
        began,
        lambda: consumed(shop, "fresh")["intents"]["short"]["text"] == "Canvas sneakers no. 77",
        wait,
        "the new item in the consumer",
    )
    print(f"new item: HTTP {http:.2f} s, consumer {clicked:.2f} s")
    assert max(http, clicked) < NEW_ITEM_SECONDS
    shown = shop.client.post("/v1/recommend", json={"items": ["shoes-3"], "k": 40}).json()["items"]
    rank = [one["item_id"] for one in shown].index("fresh")
    assert rank < sum(one["item_id"].startswith("lamps") for one in shown)  # among the shoes


def test_a_changed_title_grounds_intents_anew(shop: Any, wait: Any) -> None:
    began = put(
        shop, ("shoes-5", {"item_id": "shoes-5", "title": "Desk lamp no. 5 in red", "category": "lamps"})
    )
    took = seconds_until(
        began,
        lambda: consumed(shop, "shoes-5")["intents"]["short"]["text"] == "Desk lamp no. 5 in red",
        wait,
        "the new title in intents",
    )
    print(f"changed title: {took:.2f} s")
    assert took < NEW_ITEM_SECONDS
    near = consumed(shop, "shoes-5")["intents"]["short"]["items"]
    assert sum(one.startswith("lamps") for one in near) >= 3


def test_attributes_narrow_an_answer_exactly(shop: Any, wait: Any) -> None:
    prices = {f"lamps-{number}": number for number in range(4, 16)}
    records = [
        {"item_id": item, "attributes": {"price": price, "language": "en" if price % 2 else ["de", "fr"]}}
        for item, price in prices.items()
    ]
    assert shop.client.post("/v1/items", json=records).status_code == 202
    wait(
        lambda: shop.client.get("/v1/items", params={"id": "lamps-15"}).json()["items"][0].get("attributes"),
        "attributes",
    )
    found = asked(shop, "lamps-3", attributes={"price": {"above": 4, "below": 10}})
    assert set(found) == {f"lamps-{number}" for number in range(5, 10)}
    both = {"price": {"below": 10}, "language": {"equal": "de"}}
    assert set(asked(shop, "lamps-3", attributes=both)) == {"lamps-4", "lamps-6", "lamps-8"}
    query = {"item_id": "lamps-3", "below": "price:10", "equal": "language:de"}
    got = shop.client.get("/v1/recommend", params=query).json()
    assert {one["item_id"] for one in got["items"]} == {"lamps-4", "lamps-6", "lamps-8"}


def test_refused_records_are_dead_letters_with_their_reason_and_nothing_else_is_lost(
    shop: Any, wait: Any
) -> None:
    huge = {"item_id": "lamps-9", "attributes": {"text": "x" * 1_000_000}}
    put(
        shop,
        ("lamps-9", {"item_id": "lamps-9", "available": "no"}),
        ("lamps-9", huge),
        ("other", {"item_id": "lamps-9"}),
        ("lamps-10", b"{"),
        ("lamps-11", {"item_id": "lamps-11", "available": False}),
    )
    topic = shop.settings.kafka.items_topic

    def letters() -> list[str]:
        return sorted(one.reason for one in dead_letters.read(shop.settings) if one.topic == topic)

    wait(lambda: len(letters()) >= 4, "the letters")
    assert letters() == ["bad_available", "not_json", "too_large", "wrong_key"]
    wait(lambda: "lamps-11" not in asked(shop, "lamps-3"), "the valid record behind them")
    assert "lamps-9" in asked(shop, "lamps-3", attributes={"price": {"below": 10}})  # as it was


def test_a_later_start_knows_it_all_again(shop: Any) -> None:
    feed = ItemFeed(shop.settings.model_copy(update={"home": shop.settings.home / "elsewhere"}))
    feed.start()
    try:
        assert feed.wait(60)
        items = feed.now().items
        assert not items["lamps-2"].available and not items["lamps-11"].available
        assert (items["fresh"].title, items["fresh"].extra) == ("Canvas sneakers no. 77", {"maker": "x"})
        assert feed.refused == 4
    finally:
        feed.close()
    again = ItemFeed(shop.settings.model_copy(update={"home": shop.settings.home / "elsewhere"}))
    again.start()
    try:
        assert again.wait(60)
        assert again.now().items == items
        assert again.refused == 0  # read on from where it was
    finally:
        again.close()


def test_all_items_withdrawn_is_an_empty_answer(side: Any, wait: Any, shop: Any) -> None:
    everything = [f"{kind}-{number}" for kind in ("shoes", "lamps") for number in range(16)]
    everything += ["hostile", "fresh"]
    put(shop, *((item, None) for item in everything))
    wait(lambda: asked(shop, "shoes-7") == [], "nothing left")
    wait(lambda: ids(consumed(shop, "shoes-7")) == [], "nothing left in the consumer")
    put(shop, *((item, {"item_id": item}) for item in everything))
    wait(lambda: len(asked(shop, "shoes-7")) == 10, "all back")


def test_the_topic_is_compacted_and_keeps_withdrawals(live: Settings) -> None:
    from kafka.admin import ConfigResource, ConfigResourceType

    from streaming.topics import ensure

    admin = ensure.connect(live)
    try:
        assert ensure._partitions(admin, [live.kafka.items_topic]) == {live.kafka.items_topic: 1}
        found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, live.kafka.items_topic)])
        text = str(found)
    finally:
        admin.close()
    assert "compact" in text and str(2**62) in text


def test_a_letter_goes_back_only_where_the_topic_has_nothing_later_of_its_item(shop: Any, wait: Any) -> None:
    put(
        shop,
        ("typo", {"item_id": "lamps-12", "available": False}),
        ("typo", {"item_id": "lamps-13", "available": False}),
    )
    put(shop, ("lamps-13", {"item_id": "lamps-13", "available": True}))
    topic = shop.settings.kafka.items_topic

    def wrong() -> list[str]:
        found = [one for one in dead_letters.read(shop.settings, reason="wrong_key") if one.topic == topic]
        return [json.loads(one.value or b"")["item_id"] for one in found]

    wait(lambda: {"lamps-12", "lamps-13"} <= set(wrong()), "the letters")
    done = dead_letters.redrive(shop.settings, reason="wrong_key", rekey=True)
    assert done.refused[dead_letters.SUPERSEDED] == 2  # lamps-13, and lamps-9 of before
    assert done.sent == 1
    wait(lambda: "lamps-12" not in asked(shop, "lamps-3", only=["lamps-12", "lamps-13"]), "lamps-12")
    assert asked(shop, "lamps-3", only=["lamps-12", "lamps-13"]) == ["lamps-13"]
