"""The HTTP side with everything real: process, broker, valkey, consumer, trained model."""

from __future__ import annotations

import json
import shutil
import socket
from typing import Any

import numpy as np
import pytest

from model.data.catalogue import Catalogue
from model.recommender import artifact, new_items

# In this order: a session's later questions build on its clicks.


def test_without_a_model_it_is_alive_but_not_ready_and_says_why(side_without_a_model: Any, wait: Any) -> None:
    side = side_without_a_model
    assert side.client.get("/healthz").status_code == 200
    wait(
        lambda: (
            "no model is promoted, so clicks are answered by popularity"
            in side.client.get("/readyz").json()["parts"]["model"]
        ),
        "the reason",
    )
    assert side.client.get("/readyz").status_code == 503
    side.consume()
    side.answer("nobody", side.click("nobody", "shoes-1"))
    side.answer("nobody", side.click("nobody", "shoes-2"))
    for log in ("serve.log", "consume.log"):
        assert (side.settings.home / log).read_text().count("answered by popularity") == 1


def test_a_promoted_model_is_picked_up_and_it_becomes_ready(side: Any, wait: Any) -> None:
    version = side.promote(0)
    wait(lambda: side.client.get("/readyz").status_code == 200, "readiness")
    assert side.version() == version
    assert f'version="{version}"' in side.client.get("/metrics").text


def test_a_click_is_answered_by_the_consumer_and_the_features_follow(side: Any, wait: Any) -> None:
    side.consume()
    event = [side.click("walk", item) for item in ("shoes-1", "shoes-2")][-1]
    answer = side.answer("walk", event)
    assert answer["items"][0]["reason"]
    assert answer["intents"]["short"]["items"]
    body = wait(
        lambda: (
            (found := side.client.get("/v1/sessions/walk/features").json())["status"] == "PRESENT" and found
        ),
        "features",
    )
    wait(
        lambda: (
            side.client.get("/v1/sessions/walk/features").json()["features"]["items"]
            == ["shoes-1", "shoes-2"]
        ),
        "both clicks",
    )
    assert list(body["features"])[:2] == ["items", "last_item"]


def test_the_item_as_next_click_is_scored_like_the_session_it_would_make_and_nothing_is_recorded(
    side: Any,
) -> None:
    before = side.client.get("/v1/sessions/walk/features").json()
    asked = side.client.get(
        "/v1/recommend", params={"session_id": "walk", "item_id": "lamps-3", "k": 7}
    ).json()
    direct = side.client.post(
        "/v1/recommend", json={"items": ["shoes-1", "shoes-2", "lamps-3"], "k": 7}
    ).json()
    assert asked["scored"] == ["shoes-1", "shoes-2", "lamps-3"]
    assert (asked["items"], asked["intents"]) == (direct["items"], direct["intents"])
    assert len(asked["items"]) == 7
    assert side.client.get("/v1/sessions/walk/features").json() == before


def test_page_and_consumer_agree_on_the_same_session(side: Any) -> None:
    answer = side.client.get("/v1/sessions/walk/recommendations").json()
    asked = side.client.get("/v1/recommend", params={"session_id": "walk"}).json()
    assert [item["item_id"] for item in asked["items"]] == [item["item_id"] for item in answer["items"]]
    assert {view: asked["intents"][view]["items"] for view in ("long", "short")} == {
        view: answer["intents"][view]["items"] for view in ("long", "short")
    }


def test_unknown_items_are_no_error(side: Any) -> None:
    event = side.click("newcomer", "never seen before / 100 %")
    assert side.answer("newcomer", event)["items"]
    body = side.client.get("/v1/recommend", params={"session_id": "newcomer", "item_id": "also new"}).json()
    assert body["items"][0]["reason"]


def test_answers_come_as_server_sent_events(side: Any) -> None:
    with side.client.stream("GET", "/v1/events", params={"session_id": "listener"}, timeout=170) as stream:
        event = ""
        for line in stream.iter_lines():
            if line == ": open":
                event = side.click("listener", "lamps-1")
            if line.startswith("data: "):
                break
    assert json.loads(line[6:])["event_id"] == event


def test_bad_clicks_never_reach_the_topic(side: Any) -> None:
    good = {"event_id": "g", "session_id": "mixed", "item_id": "lamps-2", "event_time": 1_700_000_000}
    response = side.client.post(
        "/v1/clicks", json=[{**good, "item_id": ""}, good, {**good, "event_time": "1969-01-01"}, None]
    )
    assert response.status_code == 207
    assert [result.get("error", {}).get("code") for result in response.json()["results"]] == [
        "bad_id",
        None,
        "bad_time",
        "wrong_shape",
    ]
    assert side.answer("mixed", "g")["session_id"] == "mixed"


def test_another_model_is_taken_into_use_without_a_restart_or_a_lost_click_and_a_broken_one_is_refused(
    side: Any, wait: Any
) -> None:
    clicks: list[str] = []

    def version_of_a_click() -> str:
        clicks.append(side.click("switch", f"shoes-{len(clicks) % 16}"))
        # waits for it: a lost click would fail here
        return str(side.answer("switch", clicks[-1])["model_version"])

    assert version_of_a_click() == side.version()
    second = side.promote(1)
    wait(lambda: version_of_a_click() == second, "the new model in the consumer")
    broken = side.settings.models_dir / "broken"
    shutil.copytree(side.versions[0], broken)
    (broken / "model.safetensors").write_bytes(b"cut off")
    artifact.promote(side.settings.models_dir, "broken")
    for process in ("serve", "consume"):
        log = side.settings.home / f"{process}.log"
        wait(lambda log=log: "broken' is refused" in log.read_text(), f"refusal by {process}")
    assert (side.version(), version_of_a_click()) == (second, second)
    assert side.client.get("/readyz").status_code == 200
    features = wait(
        lambda: (
            (found := side.client.get("/v1/sessions/switch/features").json()["features"])["click_count"]
            == len(clicks)
            and found
        ),
        "each once",
    )
    assert features["items"] == [f"shoes-{number % 16}" for number in range(len(clicks))][-50:]
    side.promote(0)


def test_an_endless_request_head_is_cut_off(side: Any) -> None:
    port = int(side.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        received = b""
        try:
            for number in range(10_000):
                connection.sendall(b"x-%d: " % number + b"y" * 1000 + b"\r\n")
        except OSError:
            received = b"closed"
        received = received or connection.recv(1000)
    assert received == b"closed" or b"431" in received
    assert side.client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"BREW / HTTP/1.1\r\n\r\n", b"405", "method_not_allowed"),
        (b"GET / HTTP/1.1\r\nbad name: x\r\n\r\n", b"400", "bad_request"),
        (b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n", b"400", "bad_request"),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 90_000 + b"\r\n\r\n", b"431", "head_too_large"),
    ],
)
def test_what_is_no_request_gets_an_error_body_from_the_real_server(
    side: Any, request_bytes: bytes, status: bytes, code: str
) -> None:
    with socket.create_connection(("127.0.0.1", int(side.url.rpartition(":")[2])), timeout=60) as connection:
        connection.sendall(request_bytes)
        head, _, body = b"".join(iter(lambda: connection.recv(65_536), b"")).partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == status
    assert json.loads(body)["error"]["code"] == code


def test_nearest_items_are_exact_and_every_id_matches_its_vector(side: Any) -> None:
    catalogue = artifact.load(side.versions[0]).catalogue
    vectors = catalogue.vectors / np.linalg.norm(catalogue.vectors, axis=1, keepdims=True)
    cosines = dict(
        zip(catalogue.item_ids, (vectors @ vectors[catalogue.index["lamps-4"]]).tolist(), strict=True)
    )
    found = side.client.get("/v1/items/nearest", params={"item_id": "lamps-4", "k": 8}).json()["items"]
    assert all(abs(item["cosine"] - cosines[item["item_id"]]) < 1e-5 for item in found)
    assert min(item["cosine"] for item in found) >= sorted(cosines.values())[-9] - 1e-5
    assert "lamps-4" not in {item["item_id"] for item in found}
    text = side.client.get(
        "/v1/items/nearest", params={"text": "something to run in", "k": 5}, timeout=120
    ).json()["items"]
    assert {item["category"] for item in text} == {"shoes"}
    other = side.client.get(
        "/v1/items/nearest", params={"text": "something to run in", "k": 5, "category": "lamps"}, timeout=120
    ).json()["items"]
    assert {item["category"] for item in other} == {"lamps"}
    assert side.client.get("/v1/items/nearest", params={"item_id": "nobody"}).status_code == 404
    assert side.client.get("/v1/items/nearest", params={"item_id": "lamps-4", "text": "x"}).status_code == 400


def test_items_can_be_found(side: Any) -> None:
    found = side.client.get("/v1/items", params={"query": "floor lamp", "k": 3}).json()["items"]
    assert [item["category"] for item in found] == ["lamps"] * 3


def test_an_item_of_today_is_recommended_at_once_by_page_and_consumer_without_a_restart_or_a_training(
    side: Any, wait: Any
) -> None:
    folder, models = side.versions[0], side.settings.models_dir
    known, encoder = artifact.load(folder).catalogue, artifact.read_manifest(folder)["encoder"]
    near = known.vectors[known.index["shoes-3"]][None]

    def ids(answer: dict[str, Any]) -> set[str]:
        return {item["item_id"] for item in answer["items"]}

    def consumed() -> dict[str, Any]:
        return dict(side.answer("fan", side.click("fan", "shoes-7")))

    def asked() -> set[str]:
        return ids(side.client.post("/v1/recommend", json={"items": ["shoes-7"], "k": 20}).json())

    assert "today" not in asked()
    assert new_items.write(
        models, new_items.NewItems(Catalogue(["today"], ["Canvas sneakers, new"], ["shoes"], near), encoder)
    )
    wait(lambda: "today" in asked(), "the new item by HTTP")
    answer = wait(lambda: "today" in ids(found := consumed()) and found, "the new item by the consumer")
    assert answer["model_version"] == folder.name == side.version()
    assert (
        side.client.get("/v1/items", params={"query": "sneakers, new"}).json()["items"][0]["item_id"]
        == "today"
    )
    (models / new_items.FILE).write_bytes(b"cut off")
    wait(lambda: "today" not in asked() and "today" not in ids(consumed()), "both without the damaged file")
    assert consumed()["model_version"] == side.version() == folder.name
    for process in ("serve", "consume"):
        assert (side.settings.home / f"{process}.log").read_text().count("new items are left out") == 1
    (models / new_items.FILE).unlink()
