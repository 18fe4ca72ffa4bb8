"""Clicks are answered by the wheel in its light environment: HTTP side and consumer, on broker and valkey."""

from __future__ import annotations

from typing import Any


def test_clicks_are_answered_over_http_and_kafka(light_side: Any, wait: Any) -> None:
    version = light_side.promote(0)
    light_side.consume()
    answer = light_side.answer("light", light_side.click("light", "shoes-1"))
    assert answer["model_version"] == version
    assert answer["intents"]["source"] == "encoder"
    asked = light_side.client.post("/v1/recommend", json={"items": ["shoes-1"]}).json()
    assert [item["item_id"] for item in asked["items"]] == [item["item_id"] for item in answer["items"]]
    near = light_side.client.get("/v1/items/nearest", params={"item_id": "shoes-1", "k": 3})
    assert near.status_code == 200, near.text
    assert len(near.json()["items"]) == 3
    # a new item is ranked and grounded here too, where nothing can encode its title
    body = {"item_id": "fresh", "title": "Canvas sneakers no. 77", "category": "shoes"}
    assert light_side.client.post("/v1/items", json=body).status_code == 202

    def clicked() -> dict[str, Any]:
        return dict(light_side.answer("fan", light_side.click("fan", "fresh")))

    found = wait(lambda: (one := clicked())["intents"]["short"]["text"] == body["title"] and one, "the title")
    assert found["items"][0]["item_id"].startswith("shoes")
    assert light_side.client.delete("/v1/items/shoes-1").status_code == 202
    wait(lambda: "shoes-1" not in {one["item_id"] for one in clicked()["items"]}, "the withdrawal")
