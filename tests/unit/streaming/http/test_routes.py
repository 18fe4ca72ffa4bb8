"""Routes of the application and what they answer; the application itself: ``conftest.py``."""

from __future__ import annotations

import asyncio

import msgspec
import pytest


def test_the_item_is_scored_as_if_it_were_the_next_click(get):
    body = get("/v1/recommend?session_id=s&item_id=3&k=2").json()
    assert body["scored"] == ["1", "2", "3"]
    assert [item["item_id"] for item in body["items"]] == ["3", "2"]
    assert (body["status"], body["model_version"], body["items"][0]["reason"]) == (
        "PRESENT",
        "toy",
        "because",
    )


def test_the_gap_rule_decides_when_the_click_has_a_time(get):
    assert get("/v1/recommend?session_id=s&item_id=3&event_time=2030-01-01T00:00:00Z").json()["scored"] == [
        "3"
    ]
    assert get("/v1/recommend?session_id=s&item_id=3&event_time=1600000100").json()["scored"] == [
        "1",
        "2",
        "3",
    ]


def test_the_fold_bounds_the_session(drive):
    async def scenario(setting):
        return (await setting.client.post("/v1/recommend", json={"items": ["1", "2", "3", "1", "2"]})).json()

    assert drive(scenario)["scored"] == ["3", "1", "2"]


def test_an_unknown_session_is_answered_from_the_item_alone_and_says_so(get):
    body = get("/v1/recommend?session_id=nobody&item_id=2").json()
    assert (body["scored"], body["status"]) == (["2"], "NOT_FOUND")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/recommend",
        "/v1/recommend?session_id=",
        "/v1/recommend?session_id=s&k=0",
        "/v1/recommend?session_id=s&k=x",
        "/v1/recommend?session_id=s&k=501",
        "/v1/recommend?session_id=s&item_id=3&event_time=soon",
        "/v1/recommend?session_id=%ff",
        "/v1/recommend?session_id=" + "x" * 1025,
        "/v1/events",
        "/v1/sessions/%20/features",
        "/v1/sessions/%ff/features",
        "/v1/recommend?" + "a=1&" * 60,
    ],
)
def test_bad_input_is_a_clear_400(get, path):
    response = get(path)
    assert response.status_code == 400
    assert set(response.json()) == {"error"}
    assert len(response.json()["error"]["message"]) > 20
    assert "Traceback" not in response.text


def test_session_ids_with_slashes_and_spaces_are_read(get):
    body = get("/v1/sessions/a%2Fb%20c/features").json()
    assert (body["session_id"], body["status"], body["features"]["click_count"]) == ("a/b c", "PRESENT", 2)
    assert body["event_time"] == "2020-09-13T12:26:45.000000Z"


def test_a_session_without_features_is_told_truly(get):
    body = get("/v1/sessions/nobody/features").json()
    assert (body["status"], body["features"], body["event_time"]) == ("NOT_FOUND", None, None)


def test_a_dead_store_fails_only_those_who_asked_for_a_session(drive):
    async def scenario(setting):
        setting.rows.down = True
        session, plain = await asyncio.gather(
            setting.client.get("/v1/recommend?session_id=s"),
            setting.client.post("/v1/recommend", json={"items": ["1"]}),
        )
        return session, plain

    session, plain = drive(scenario)
    assert (session.status_code, session.json()["error"]["code"]) == (503, "online_store_unavailable")
    assert plain.json()["scored"] == ["1"]


def test_a_value_of_another_schema_fails_only_its_own_session(drive):
    async def scenario(setting):
        paths = (
            "/v1/sessions/other%20schema/features",
            "/v1/sessions/s/features",
            "/v1/recommend?session_id=s",
        )
        return await asyncio.gather(*(setting.client.get(path) for path in paths))

    other, mine, asked = drive(scenario)
    assert (other.status_code, other.json()["error"]["code"]) == (503, "features_unreadable")
    assert "materialise it again" in other.json()["error"]["message"]
    assert mine.json()["status"] == "PRESENT"
    assert asked.status_code == 200


def test_without_a_model_features_are_still_answered(drive):
    async def scenario(setting):
        return await setting.client.get("/v1/recommend?session_id=s"), await setting.client.get(
            "/v1/sessions/s/features"
        )

    asked, features = drive(scenario, model=False)
    assert (asked.status_code, asked.json()["error"]["code"]) == (503, "no_model")
    assert features.json()["status"] == "PRESENT"


def test_readiness_names_what_is_missing(get):
    response = get("/readyz", problems={"model": "", "broker": "nobody listens at 127.0.0.1:1"})
    assert response.status_code == 503
    assert response.json()["parts"] == {"model": "ready", "broker": "nobody listens at 127.0.0.1:1"}
    assert get("/readyz").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("DELETE", "/v1/clicks", 405),
        ("GET", "/v1/sessions/s", 404),
        ("HEAD", "/", 200),
    ],
)
def test_unknown_routes_and_methods(drive, method, path, status):
    async def scenario(setting):
        return await setting.client.request(method, path)

    response = drive(scenario)
    assert response.status_code == status
    assert ("allow" in response.headers) == (status == 405)


def test_items_are_found_by_title_and_looked_up_by_id(get):
    assert [item["item_id"] for item in get("/v1/items?query=al").json()["items"]] == ["2"]
    assert get("/v1/items?id=3&id=9").json()["items"] == [
        {"item_id": "3", "title": "<b>Fargo</b>", "category": "", "known": True},
        {"item_id": "9", "title": "", "category": "", "known": False},
    ]


def test_metrics_count_by_route_and_status(drive):
    async def scenario(setting):
        await setting.client.get("/v1/recommend?session_id=s")
        await setting.client.get("/v1/recommend")
        return (await setting.client.get("/metrics")).text

    text = drive(scenario)
    assert 'intentstore_http_requests_total{route="GET /v1/recommend",status="200"} 1.0' in text
    assert 'intentstore_http_requests_total{route="GET /v1/recommend",status="400"} 1.0' in text


def test_what_may_be_shown_holds_before_the_best_are_taken(drive):
    async def scenario(setting):
        answers = {}
        for name, limits in {
            "exclude": {"exclude": ["3"]},
            "only": {"only": ["1", "2"]},
            "category": {"category": "comedy"},
            "nothing": None,
        }.items():
            body = {"items": ["1", "2", "3"], "k": 2, "limits": limits}
            response = await setting.client.post("/v1/recommend", json=body)
            answers[name] = [item["item_id"] for item in response.json()["items"]]
        withdrawn = await setting.client.post("/v1/recommend", json={"items": ["1", "2", "4"], "k": 2})
        return answers | {"withdrawn": [item["item_id"] for item in withdrawn.json()["items"]]}

    assert drive(scenario) == {
        "exclude": ["2", "1"],
        "only": ["2", "1"],
        "category": ["3", "2"],
        "nothing": ["3", "2"],
        "withdrawn": ["2", "1"],
    }


def test_an_item_whose_interest_ended_in_the_session_is_not_shown_again(drive):
    async def scenario(setting):
        before = await setting.client.get("/v1/recommend?session_id=s")
        read = setting.rows.read_rows
        ended = {"ended_items": [before.json()["scored"][-1]]}
        setting.rows.read_rows = lambda ids: [
            msgspec.structs.replace(row, features=row.features | ended) for row in read(ids)
        ]
        after = await setting.client.get("/v1/recommend?session_id=s")
        return [[item["item_id"] for item in one.json()["items"]] for one in (before, after)]

    before, after = drive(scenario)
    assert after == before[1:]


def test_rules_that_cannot_be_kept_fail_only_who_asked_for_them(drive):
    async def scenario(setting):
        return await asyncio.gather(
            setting.client.get("/v1/recommend?session_id=s&category=Cars"),
            setting.client.get("/v1/recommend?session_id=s"),
            setting.client.get("/v1/recommend?session_id=s&category=Comedy&k=1"),
        )

    assert [response.status_code for response in drive(scenario)] == [400, 200, 200]
