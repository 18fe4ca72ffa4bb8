"""The application without Kafka, valkey or a trained model: routes, limits, tokens, error bodies. The real parts: tests/integration."""

from __future__ import annotations

import asyncio
import json
from typing import NamedTuple

import httpx
import pytest

from feature_repo.contract.session import FoldConfig
from model.items import Catalogue
from streaming.api import Api, Parts
from streaming.api_answers import AnswerBoard
from streaming.api_batch import Batcher
from streaming.api_clicks import ClickResult
from streaming.api_engine import Engine, SessionRow
from streaming.api_items import ItemSearch
from streaming.api_metrics import Metrics
from streaming.api_model import LoadedModel
from streaming.api_wire import Guard

TITLES = {"1": "Star Wars", "2": "Alien", "3": "<b>Fargo</b>"}
ROW = {
    "items": ["1", "2"], "last_item": "2", "click_count": 2, "distinct_items": 2, "repeat_share": 0.0, "duration_seconds": 5.0, "mean_gap_seconds": 5.0,
    "last_gap_seconds": 5.0, "late_clicks": 0, "session_start": 1_600_000_000_000_000,
}  # fmt: skip


class Scored(NamedTuple):
    items: tuple
    scores: tuple
    reasons: tuple


class LastFirst:
    """Ranks the session backwards, so that an answer shows which session was scored."""

    version = "toy"
    item_ids = list(TITLES)

    def score(self, requests, k):
        ranked = [tuple(reversed(request.items))[:k] for request in requests]
        return [Scored(items, tuple(1.0 / (n + 1) for n in range(len(items))), ("because",) * len(items)) for items in ranked]


class Rows:
    def __init__(self):
        self.down = False

    def read_rows(self, ids):
        if self.down:
            raise ConnectionError("valkey is gone")
        if "other schema" in ids:
            raise ValueError("the value of 'other schema' was written by another version of the view; materialise it again")
        return [SessionRow("PRESENT", 1_600_000_005_000_000, 7, dict(ROW)) if name in {"s", "a/b c"} else SessionRow("NOT_FOUND") for name in ids]


class Setting(NamedTuple):
    client: httpx.AsyncClient
    parts: Parts
    rows: Rows
    sent: list


def drive(scenario, *, tokens=(), host="127.0.0.1", model=True, problems=None, **client):
    """Run a scenario against an application on its own event loop."""

    async def run():
        rows, sent = Rows(), []
        loaded = LoadedModel(LastFirst(), None, None) if model else None
        engine = Engine(rows, lambda: loaded, FoldConfig(gap_us=600_000_000, max_items=3))

        def send(batches):
            sent.extend(checked for batch in batches for checked in batch)
            return [[ClickResult("accepted", checked.click.event_id, 0, n) for n, checked in enumerate(batch)] for batch in batches]

        search = ItemSearch(Catalogue.build(list(TITLES), list(TITLES.values())))
        parts = Parts(
            Batcher(engine, "q"), Batcher(send, "c"), AnswerBoard(), Guard(tokens, host), Metrics(), lambda: problems or {"model": ""},
            (lambda: search) if model else (lambda: None), lambda: None, 10_000,
        )  # fmt: skip
        parts.questions.start()
        parts.clicks.start()
        transport = httpx.ASGITransport(Api(parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", **client) as connection:
            try:
                return await scenario(Setting(connection, parts, rows, sent))
            finally:
                parts.questions.close()
                parts.clicks.close()

    return asyncio.run(asyncio.wait_for(run(), 30))


def get(path, **options):
    async def scenario(setting):
        return await setting.client.get(path)

    return drive(scenario, **options)


def test_the_item_is_scored_as_if_it_were_the_next_click():
    body = get("/v1/recommend?session_id=s&item_id=3&k=2").json()
    assert body["scored"] == ["1", "2", "3"]
    assert [item["item_id"] for item in body["items"]] == ["3", "2"]
    assert (body["status"], body["model_version"], body["items"][0]["reason"]) == ("PRESENT", "toy", "because")


def test_the_gap_rule_decides_when_the_click_has_a_time():
    assert get("/v1/recommend?session_id=s&item_id=3&event_time=2030-01-01T00:00:00Z").json()["scored"] == ["3"]
    assert get("/v1/recommend?session_id=s&item_id=3&event_time=1600000100").json()["scored"] == ["1", "2", "3"]


def test_the_fold_bounds_the_session():
    async def scenario(setting):
        return (await setting.client.post("/v1/recommend", json={"items": ["1", "2", "3", "1", "2"]})).json()

    assert drive(scenario)["scored"] == ["3", "1", "2"]


def test_an_unknown_session_is_answered_from_the_item_alone_and_says_so():
    body = get("/v1/recommend?session_id=nobody&item_id=2").json()
    assert (body["scored"], body["status"]) == (["2"], "NOT_FOUND")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/recommend", "/v1/recommend?session_id=", "/v1/recommend?session_id=s&k=0", "/v1/recommend?session_id=s&k=x", "/v1/recommend?session_id=s&k=501",
        "/v1/recommend?session_id=s&item_id=3&event_time=soon", "/v1/recommend?session_id=%ff", "/v1/recommend?session_id=" + "x" * 1025,
        "/v1/events", "/v1/sessions/%20/features", "/v1/sessions/%ff/features", "/v1/recommend?" + "a=1&" * 60,
    ],
)  # fmt: skip
def test_bad_input_is_a_clear_400(path):
    response = get(path)
    assert response.status_code == 400
    assert set(response.json()) == {"error"}
    assert len(response.json()["error"]["message"]) > 20
    assert "Traceback" not in response.text


def test_session_ids_with_slashes_and_spaces_are_read():
    body = get("/v1/sessions/a%2Fb%20c/features").json()
    assert (body["session_id"], body["status"], body["features"]["click_count"]) == ("a/b c", "PRESENT", 2)
    assert body["event_time"] == "2020-09-13T12:26:45.000000Z"


def test_a_session_without_features_is_told_truly():
    body = get("/v1/sessions/nobody/features").json()
    assert (body["status"], body["features"], body["event_time"]) == ("NOT_FOUND", None, None)


def test_a_dead_store_fails_only_those_who_asked_for_a_session():
    async def scenario(setting):
        setting.rows.down = True
        session, plain = await asyncio.gather(
            setting.client.get("/v1/recommend?session_id=s"), setting.client.post("/v1/recommend", json={"items": ["1"]})
        )
        return session, plain

    session, plain = drive(scenario)
    assert (session.status_code, session.json()["error"]["code"]) == (503, "online_store_unavailable")
    assert plain.json()["scored"] == ["1"]


def test_a_value_of_another_schema_fails_only_its_own_session():
    async def scenario(setting):
        paths = ("/v1/sessions/other%20schema/features", "/v1/sessions/s/features", "/v1/recommend?session_id=s")
        return await asyncio.gather(*(setting.client.get(path) for path in paths))

    other, mine, asked = drive(scenario)
    assert (other.status_code, other.json()["error"]["code"]) == (503, "features_unreadable")
    assert "materialise it again" in other.json()["error"]["message"]
    assert mine.json()["status"] == "PRESENT"
    assert asked.status_code == 200


def test_without_a_model_features_are_still_answered():
    async def scenario(setting):
        return await setting.client.get("/v1/recommend?session_id=s"), await setting.client.get("/v1/sessions/s/features")

    asked, features = drive(scenario, model=False)
    assert (asked.status_code, asked.json()["error"]["code"]) == (503, "no_model")
    assert features.json()["status"] == "PRESENT"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"[]", 400), (b"{", 400), (b'{"items":"1"}', 400), (b'{"items":[1]}', 400), (b'{"items":[""]}', 400), (b'{"items":[],"k":0}', 400),
        (b'{"items":[],"colour":1}', 400), (b'{"items":[' + b'"1",' * 1000 + b'"1"]}', 400), (b"\xff", 400), (b"x" * 10_001, 413), (b"[" * 9_000, 400),
    ],
)  # fmt: skip
def test_bad_bodies_are_refused(body, status):
    async def scenario(setting):
        return await setting.client.post("/v1/recommend", content=body)

    response = drive(scenario)
    assert response.status_code == status
    assert response.json()["error"]["message"]


def test_a_body_without_a_length_is_cut_off_at_the_limit():
    async def scenario(setting):
        taken = 0

        async def endless():
            nonlocal taken
            while True:
                taken += 1
                yield b"x" * 1000

        response = await setting.client.post("/v1/clicks", content=endless())
        return response.status_code, taken

    status, taken = drive(scenario)
    assert status == 413
    assert taken < 20


def test_a_compressed_body_is_refused():
    async def scenario(setting):
        return await setting.client.post("/v1/clicks", content=b"\x1f\x8b", headers={"content-encoding": "gzip"})

    assert drive(scenario).status_code == 415


CLICK = {"event_id": "e", "session_id": "s", "item_id": "i", "event_time": "2024-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("clicks", "status", "statuses", "sent"),
    [
        (CLICK, 202, ["accepted"], 1),
        ([CLICK, CLICK], 202, ["accepted", "accepted"], 2),
        ([CLICK, {**CLICK, "item_id": ""}], 207, ["accepted", "refused"], 1),
        ({**CLICK, "event_time": "never"}, 400, ["refused"], 0),
        ([5, {}], 400, ["refused", "refused"], 0),
    ],
)
def test_each_click_gets_its_result(clicks, status, statuses, sent):
    async def scenario(setting):
        return await setting.client.post("/v1/clicks", json=clicks), setting.sent

    response, produced = drive(scenario)
    assert response.status_code == status
    assert [result["status"] for result in response.json()["results"]] == statuses
    assert len(produced) == sent
    assert ("error" in response.json()) == (status == 400)


def test_tokens_guard_what_they_should_and_nothing_else():
    paths = ("/v1/recommend?session_id=s", "/v1/items?query=a", "/metrics", "/v1/sessions/s/features", "/healthz", "/readyz", "/", "/openapi.json")

    async def scenario(setting):
        async def statuses(header):
            return [(await setting.client.get(path, headers={"authorization": header} if header else {})).status_code for path in paths]

        return [await statuses(header) for header in ("", "Bearer wrong", "Basic secret", "Bearer secret", "bearer other")]

    without, wrong, basic, right, second = drive(scenario, tokens=("secret", "other"))
    assert without == wrong == basic == [401] * 4 + [200] * 4
    assert right == second == [200] * 8


def test_a_foreign_page_cannot_call_through_the_browser():
    async def scenario(setting):
        own = await setting.client.post("/v1/clicks", json=CLICK, headers={"origin": "http://127.0.0.1"})
        foreign = await setting.client.post("/v1/clicks", json=CLICK, headers={"origin": "http://evil.example"})
        rebound = await setting.client.get("/v1/recommend?session_id=s", headers={"host": "evil.example"})
        return own.status_code, foreign.status_code, rebound.status_code, len(setting.sent)

    assert drive(scenario) == (202, 403, 403, 1)


def test_readiness_names_what_is_missing():
    response = get("/readyz", problems={"model": "", "broker": "nobody listens at 127.0.0.1:1"})
    assert response.status_code == 503
    assert response.json()["parts"] == {"model": "ready", "broker": "nobody listens at 127.0.0.1:1"}
    assert get("/readyz").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("DELETE", "/v1/clicks", 405), ("GET", "/v1/sessions/s", 404), ("HEAD", "/", 200)]
)
def test_unknown_routes_and_methods(method, path, status):
    async def scenario(setting):
        return await setting.client.request(method, path)

    response = drive(scenario)
    assert response.status_code == status
    assert ("allow" in response.headers) == (status == 405)


def test_a_failure_of_ours_shows_no_trace(caplog):
    async def scenario(setting):
        setting.parts.problems = lambda: 1 / 0
        return await setting.client.get("/readyz")

    response = drive(scenario)
    assert response.status_code == 500
    assert response.json() == {"error": {"code": "internal", "message": "the request failed on our side; the server's log says why"}}
    assert "ZeroDivisionError" in caplog.text


def test_items_are_found_by_title_and_looked_up_by_id():
    assert [item["item_id"] for item in get("/v1/items?query=al").json()["items"]] == ["2"]
    assert get("/v1/items?id=3&id=9").json()["items"] == [
        {"item_id": "3", "title": "<b>Fargo</b>", "category": "", "known": True}, {"item_id": "9", "title": "", "category": "", "known": False},
    ]  # fmt: skip


def test_the_page_allows_its_own_script_only():
    response = get("/")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert policy.count("'sha256-") == 2
    assert "http://" not in response.text.replace("http://www.w3.org", "")
    assert "https://" not in response.text
    assert "innerHTML" not in response.text


def test_metrics_count_by_route_and_status():
    async def scenario(setting):
        await setting.client.get("/v1/recommend?session_id=s")
        await setting.client.get("/v1/recommend")
        return (await setting.client.get("/metrics")).text

    text = drive(scenario)
    assert 'intentstore_http_requests_total{route="GET /v1/recommend",status="200"} 1.0' in text
    assert 'intentstore_http_requests_total{route="GET /v1/recommend",status="400"} 1.0' in text


def test_the_openapi_document_names_the_routes_that_are_answered():
    document = get("/openapi.json").json()
    api = Api(Parts(None, None, None, None, None, None, None, None, 1))
    routes = {(path, method.lower()) for path, methods in api._routes.items() for method in methods}
    routes |= {(label.partition(" ")[2], "get") for label, _ in api._session_routes.values()}
    assert routes == {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert document["openapi"].startswith("3.1")
    wanted = set(json.dumps(document).split('"#/components/schemas/')[1:])
    assert {name.split('"')[0] for name in wanted} <= set(document["components"]["schemas"])
