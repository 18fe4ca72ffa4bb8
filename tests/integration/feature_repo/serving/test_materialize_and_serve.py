"""From Delta to the online store, and from there over HTTP and to the catalogue's reader."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from feature_repo.registry import store
from feature_repo.registry.materialize import materialize
from feature_repo.serving.access import add_token
from feature_repo.serving.vectors import VectorIndex
from feature_repo.stores.packed.client import PackedClient
from feature_repo.stores.packed.codec import PackedSchema
from feature_repo.stores.packed.keys import entity_key, storage_key
from feature_repo.stores.packed.live import LiveFeatureReader
from streaming.services.processes import free_port


@pytest.fixture(scope="module")
def fresh(spark, base_settings, tmp_path_factory, tmp_path_factory_valkey, small):
    """Settings of a home of this module with its own valkey."""
    from pydantic import SecretStr

    home = tmp_path_factory.mktemp("fresh")
    online = base_settings.online.model_copy(update={"url": SecretStr(tmp_path_factory_valkey.url)})
    settings = base_settings.model_copy(update={"home": home, "online": online})
    small.write(
        spark,
        settings,
        "session_features",
        [small.feature_row("a", 1, 1, 1), small.feature_row("a", 2, 2, 2), small.feature_row("b", 5, 5, 3)],
    )
    small.write(spark, settings, "session_intents", [small.intent_row("a", 1, 0.25)])
    small.write(
        spark,
        settings,
        "item_vectors",
        [
            {
                "item_id": f"i{n}",
                "text": f"Title {n} Film",
                "content_hash": str(n),
                "encoder": "e",
                "vector": [float(n), 1.0],
                "event_timestamp": small.at(n),
                "created": small.at(n),
                "category": "Film" if n % 2 else "Animation Film",
            }
            for n in range(5)
        ],
    )
    store.apply(settings)
    return settings


@pytest.fixture(scope="module")
def tmp_path_factory_valkey(tmp_path_factory, valkey):
    own = type(valkey)(tmp_path_factory.mktemp("valkey-serve"))
    yield own
    own.kill()


def summary(done):
    return {part.view: (part.since, part.rows, part.taken) for part in done}


def test_materialisation_writes_what_is_new_and_only_that(fresh, spark, small):
    url = fresh.online.url.get_secret_value()
    first = materialize(fresh, spark)
    assert summary(first) == {
        "session_features": (None, 2, 2),
        "session_events": (None, 2, 2),
        "session_intents": (None, 1, 1),
        "session_intent_names": (None, 1, 1),
        "item_text": (None, 5, 5),
    }
    assert summary(materialize(fresh, spark)) == {
        "session_features": (0, 0, 0),
        "session_events": (0, 0, 0),
        "session_intents": (0, 0, 0),
        "session_intent_names": (0, 0, 0),
        "item_text": (0, 0, 0),
    }
    late = [small.feature_row("a", 1.5, 9, 4), small.feature_row("c", 7, 7, 5)]
    small.write(spark, fresh, "session_features", late, mode="append")
    assert summary(materialize(fresh, spark, views=["session_features"])) == {"session_features": (0, 2, 1)}
    rows = LiveFeatureReader(url).read(["a", "b", "c"])
    assert [row["click_count"] for row in rows] == [2, 3, 5], "a late row of an older event never overwrites"
    PackedClient(url).connection.flushall()
    again = materialize(fresh, spark)
    assert summary(again)["session_features"] == (None, 3, 3), (
        "a store that lost its rows lost its watermark too"
    )


def test_vectors_online_answer_with_their_own_ids(fresh):
    index = VectorIndex.from_online(store.feature_store(fresh))
    assert [found.key for found in index.nearest([0.0, 1.0], 2)] == ["i0", "i1"]
    assert index.nearest([4.0, 1.0], 1, words="film")[0].key == "i4"


@pytest.fixture(scope="module")
def server(fresh, tmp_path_factory):
    """`python -m feature_repo serve` as a process, with a narrow token, a wide one and a writer's."""
    access = tmp_path_factory.mktemp("access") / "access.toml"
    tokens = {
        name: add_token(access, name, services, write)
        for name, services, write in (
            ("narrow", ["session_intents_v1"], False),
            ("wide", ["*"], False),
            ("writer", ["*"], True),
        )
    }
    port = free_port()
    environment = {
        "PATH": "",
        "INTENTSTORE_HOME": str(fresh.home),
        "INTENTSTORE_ONLINE__URL": fresh.online.url.get_secret_value(),
    }
    command = [
        sys.executable,
        "-m",
        "feature_repo",
        "serve",
        "--port",
        str(port),
        "--workers",
        "1",
        "--access",
        str(access),
    ]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 300
    while True:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5)
            break
        except OSError:
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
    yield address, tokens
    process.terminate()
    process.wait(timeout=30)


def post(server, path, body, token=None, raw=None):
    address, tokens = server
    headers = {"Content-Type": "application/json"} | (
        {"Authorization": f"Bearer {tokens.get(token, token)}"} if token else {}
    )
    request = urllib.request.Request(address + path, raw or json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_service_is_read_by_those_who_may(server):
    asked = {"feature_service": "session_intents_v1", "entities": {"session_id": ["a", "nobody"]}}
    status, answer = post(server, "/get-online-features", asked, "narrow")
    columns = dict(zip(answer["metadata"]["feature_names"], answer["results"], strict=True))
    assert (status, columns["long_text"]["values"], columns["long_text"]["statuses"]) == (
        200,
        ["long", None],
        ["PRESENT", "NOT_FOUND"],
    )
    assert post(server, "/get-online-features", asked)[0] == 401
    assert post(server, "/get-online-features", asked, "made-up")[0] == 401
    status, answer = post(
        server, "/get-online-features", {**asked, "feature_service": "session_ranker_v1"}, "narrow"
    )
    assert (status, "may not read service 'session_ranker_v1'" in answer["detail"]) == (403, True)
    free = {"features": ["session_features:click_count"], "entities": {"session_id": ["a"]}}
    assert post(server, "/get-online-features", free, "narrow")[0] == 403
    assert post(server, "/get-online-features", free, "wide")[0] == 200


def test_writes_and_other_paths_are_closed(server):
    row = {"push_source_name": "session_features_push", "df": {}, "to": "online"}
    assert post(server, "/push", row, "writer")[0] == 403
    assert post(server, "/materialize", {}, "wide")[0] == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"feature_service": "nothing_v9", "entities": {"session_id": ["a"]}}, 404),
        ({"feature_service": "session_ranker_v1", "entities": {"user": ["a"]}}, 422),
        ({"feature_service": "session_ranker_v1", "entities": {"session_id": []}}, 422),
        ({"feature_service": "session_ranker_v1", "entities": {"session_id": ["x"] * 20_000}}, 413),
        ({"feature_service": "session_ranker_v1"}, 422),
        ({"feature_service": "session_ranker_v1", "entities": {"session_id": [7]}}, 422),
        ({"features": ["session_features:nothing"], "entities": {"session_id": ["a"]}}, 422),
        ({"features": ["nothing:click_count"], "entities": {"session_id": ["a"]}}, 404),
    ],
)
def test_bad_requests_get_one_clear_line(server, body, status):
    found, answer = post(server, "/get-online-features", body, "wide")
    assert found == status
    assert "Traceback" not in str(answer)


def test_ten_million_entities_are_refused_while_they_arrive(server):
    huge = (
        b'{"feature_service":"session_ranker_v1","entities":{"session_id":[' + b'"x",' * 9_999_999 + b'"x"]}}'
    )
    status, answer = post(server, "/get-online-features", None, "wide", raw=huge)
    assert (status, "fewer entities" in answer["detail"]) == (413, True)


def test_nearest_over_http(server):
    status, answer = post(server, "/nearest", {"vector": [0.0, 1.0], "k": 2}, "wide")
    assert (status, [found["item_id"] for found in answer["items"]]) == (200, ["i0", "i1"])
    assert post(server, "/nearest", {"vector": [1.0], "k": 2}, "wide")[0] == 422
    status, answer = post(server, "/nearest", {"vector": [0.0, 1.0], "k": 2, "category": "animation"}, "wide")
    assert (status, [found["item_id"] for found in answer["items"]]) == (200, ["i0", "i2"])
    assert post(server, "/nearest", {"vector": [0.0, 1.0]}, "narrow")[0] == 403
    assert post(server, "/nearest", {"vector": [0.0, 1.0], "of": "everything"}, "wide")[0] == 422
    assert post(server, "/nearest", {"vector": [0.0, 1.0], "colour": "red"}, "wide")[0] == 422


def test_sessions_near_to_an_intent_are_read_by_those_who_may(server):
    status, answer = post(server, "/nearest", {"vector": [0.5] * 4, "of": "sessions"}, "narrow")
    assert (status, [found["session_id"] for found in answer["sessions"]]) == (200, ["a"])
    assert answer["sessions"][0]["cosine"] == pytest.approx(1.0)


def test_snippets_of_the_catalogue_run_as_shown(fresh, server):
    from feature_repo.catalogue.build import snippets

    shown = snippets("session_intents_v1", ["session_id"])
    environment = {
        "PATH": "",
        "INTENTSTORE_HOME": str(fresh.home),
        "INTENTSTORE_ONLINE__URL": fresh.online.url.get_secret_value(),
        "FEATURES_URL": server[0],
        "FEATURES_TOKEN": server[1]["narrow"],
    }
    for kind in ("online", "http"):
        code = re.sub(r'\["1"\]', '["a"]', shown[kind])
        ran = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "'long'" in ran.stdout, ran.stderr


def test_written_over_http_by_those_who_may_where_it_is_allowed(fresh, server, tmp_path):
    from starlette.testclient import TestClient

    from feature_repo.serving.app import ServeOptions, build_app

    access = tmp_path / "access.toml"
    tokens = {
        name: add_token(access, name, ["session_ranker_v1"], write)
        for name, write in (("reader", False), ("writer", True))
    }
    row = {
        "session_id": ["pushed"],
        "items": [["i1"]],
        "last_item": ["i1"],
        "click_count": [41],
        "distinct_items": [1],
        "repeat_share": [0.0],
        "duration_seconds": [0.0],
        "mean_gap_seconds": [0.0],
        "last_gap_seconds": [0.0],
        "late_clicks": [0],
        "session_start": [1710050400],
        "event_timestamp": ["2024-03-10T06:00:00Z"],
        "created": ["2024-03-10T06:00:00Z"],
    }
    body = {"push_source_name": "session_features_push", "df": row, "to": "online"}
    asked = {"feature_service": "session_ranker_v1", "entities": {"session_id": ["pushed"]}}
    with TestClient(build_app(fresh, ServeOptions("", 0, 1, access, allow_writes=True))) as client:
        send = lambda path, body, token: client.post(
            path, json=body, headers={"Authorization": f"Bearer {tokens[token]}"}
        )
        assert send("/push", body, "reader").status_code == 403
        assert send("/push", body, "writer").status_code == 200
        answer = send("/get-online-features", asked, "reader").json()
    columns = dict(zip(answer["metadata"]["feature_names"], answer["results"], strict=True))
    assert columns["click_count"]["values"] == [41]
    status, seen = post(server, "/get-online-features", asked, "wide")  # the other server, over a socket
    assert (status, seen["results"]) == (200, answer["results"])


def test_value_of_another_schema_and_a_lost_store_are_told_over_http(fresh, server, tmp_path_factory_valkey):
    asked = {"feature_service": "session_intents_v1", "entities": {"session_id": ["a", "older"]}}
    key = storage_key("intentstore", "session_intents", entity_key({"session_id": "older"}))
    client = PackedClient(fresh.online.url.get_secret_value())
    client.write(
        [(key, PackedSchema("session_intents", (("long_text", "i64"),)).encode({"long_text": 1}, 1))]
    )
    status, answer = post(server, "/get-online-features", asked, "wide")
    assert (status, "a stored value has schema" in answer["detail"], "results" in answer) == (
        409,
        True,
        False,
    )
    client.delete(key)
    tmp_path_factory_valkey.kill()
    try:
        status, answer = post(server, "/get-online-features", asked, "wide")
        assert (status, "python -m streaming up" in answer["detail"], "results" in answer) == (
            503,
            True,
            False,
        )
    finally:
        tmp_path_factory_valkey.start()
    status, answer = post(server, "/get-online-features", asked, "wide")
    assert (status, answer["results"][1]["statuses"]) == (200, ["NOT_FOUND"] * 2), (
        "an empty store is told as such"
    )
