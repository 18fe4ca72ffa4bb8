"""The OpenAPI document: complete, valid in structure, and true of the application.

What the document says is tried: its examples are sent, requests drawn from its schemas are sent, and every
refusal that it names is provoked; each answer must have a documented status, body and headers.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_document import check, mismatch, operations, resolved

from streaming import http
from streaming.http import board as boards
from streaming.http.board import StoredAnswer
from streaming.http.catalogue.updates import CheckedItem, ItemResult
from streaming.http.clicks import ClickResult
from streaming.http.nearest import NearItem
from streaming.http.wire.errors import ApiError, ErrorDetail

ANSWER = (
    b'{"event_id":"e","session_id":"s","items":[],"intents":{"long":{"text":"","items":[]},"short":'
    b'{"text":"","items":[]},"source":"none"},"model_version":"m","source":{"topic":"t","partition":0,'
    b'"offset":1},"click_time":"2024-01-01T00:00:00Z","scored_at":"2024-01-01T00:00:00Z"}'
)
CLICK = {"event_id": "e", "session_id": "s", "item_id": "i", "event_time": "2024-01-01T00:00:00Z"}
ITEM = {"item_id": "i", "title": "Shoe"}
CONNECTION_CODES = {"request_timeout", "head_too_large", "bad_request"}  # test_protocol.py provokes them
UNDELIVERABLE = {"incomplete_body"}  # its client is gone


class Near:
    """Nearest items that refuse as the real ones do."""

    def __call__(self, text, item_id, k, category):
        refusals = {"no direction": (400, "no_direction"), "no vectors": (503, "no_vectors")}
        refusals |= {"other encoder": (503, "other_encoder")}
        if text in refusals:
            raise ApiError(*refusals[text], "why")
        if category == "!":
            raise ApiError(400, "bad_category", "why")
        if item_id not in (None, "1", "2", "3"):
            raise ApiError(404, "unknown_item", "why")
        return [NearItem("1", "Star Wars", "", 0.5)]


@pytest.fixture
def document(get):
    return get("/openapi.json").json()


def example_of(path, operation):
    """The request that the document gives as example."""
    query = {}
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            path = path.replace("{" + parameter["name"] + "}", parameter["example"])
        elif parameter["name"] not in {"id", "text"} or parameter["required"]:
            query[parameter["name"]] = parameter["example"]
    options = {"params": query} if query else {}
    if body := operation.get("requestBody"):
        options["json"] = body["content"]["application/json"]["example"]
    return path, options


async def end_stream(board):
    while not board.open_streams:
        await asyncio.sleep(0)
    board.close()


def put_answer(setting):
    setting.parts.board.put([StoredAnswer(b"s", ANSWER, 0, 1)])
    setting.parts.nearest = lambda: Near()


def test_it_is_a_valid_openapi_document(document):
    assert document["openapi"] == "3.1.0"
    assert {"title", "version"} <= set(document["info"])
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    for path, method, operation in operations(document):
        assert path.startswith("/") and method in {"GET", "POST", "DELETE"} and operation["summary"]
        allowed = {"summary", "operationId", "parameters", "requestBody", "responses", "security"}
        assert set(operation) <= allowed
        in_path = {one["name"] for one in operation["parameters"] if one["in"] == "path" and one["required"]}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        for status, response in operation["responses"].items():
            assert (status == "default" or re.fullmatch("[1-5][0-9][0-9]", status)) and response[
                "description"
            ]
            assert set(response) <= {"description", "headers", "content"}
        for need in operation["security"]:
            assert set(need) <= set(document["components"]["securitySchemes"])
    references = re.findall(r'"\$ref": "([^"]+)"', json.dumps(document))
    assert references and all(isinstance(resolved(one, document), dict) for one in references)
    for schema in document["components"]["schemas"].values():
        mismatch({}, schema, document)  # knows every keyword


def test_every_example_fits_its_schema(document):
    for _, _, operation in operations(document):
        for parameter in operation["parameters"]:
            assert mismatch(parameter["example"], parameter["schema"], document) is None
        if body := operation.get("requestBody"):
            content = body["content"]["application/json"]
            assert mismatch(content["example"], content["schema"], document) is None


def test_every_example_is_answered_as_documented(drive, document):
    async def scenario(setting):
        put_answer(setting)
        answered = {}
        for path, method, operation in operations(document):
            ending = asyncio.create_task(end_stream(setting.parts.board)) if path == "/v1/events" else None
            place, options = example_of(path, operation)
            answered[path, method] = await setting.client.request(method, place, **options)
            if ending:
                await ending
        return answered

    answered = drive(scenario)
    for path, method, operation in operations(document):
        response = answered[path, method]
        assert response.is_success, (path, response.text)
        assert str(response.status_code) in operation["responses"]
        check(response, operation, document)


def limited(limits):
    return {"json": {"items": ["1"], "limits": limits}}


BIG = b"x" * 10_001
PROVOKED = [  # method, path, options of the request, what is wrong with the parts, the code
    ("GET", "/v1/recommend", {}, "", "missing_parameter"),
    ("GET", "/v1/recommend?session_id=%20", {}, "", "bad_id"),
    ("GET", "/v1/recommend?session_id=s&k=0", {}, "", "bad_parameter"),
    ("GET", "/v1/recommend?session_id=s&event_time=soon", {}, "", "bad_time"),
    ("GET", "/v1/recommend?session_id=s&category=!", {}, "", "bad_category"),
    ("GET", "/v1/recommend?session_id=s&category=Cars", {}, "", "unknown_category"),
    ("GET", "/v1/recommend?session_id=s&category=Gone", {}, "", "no_item_left"),
    ("GET", "/v1/recommend?session_id=s&equal=nobody:5", {}, "", "unknown_attribute"),
    ("GET", "/v1/recommend?session_id=s&below=price:1&above=price:2", {}, "", "contradicting_limits"),
    ("GET", "/v1/recommend?session_id=s&below=price:NaN", {}, "", "bad_parameter"),
    ("GET", "/v1/recommend?session_id=s" + "".join(f"&equal=a{n}:1" for n in range(21)), {}, "", "bad_count"),
    ("GET", "/v1/recommend?session_id=%ff", {}, "", "bad_query"),
    ("GET", "/v1/recommend?session_id=s", {}, "down", "online_store_unavailable"),
    ("GET", "/v1/recommend?session_id=other%20schema", {}, "", "features_unreadable"),
    ("GET", "/v1/recommend?session_id=s", {}, "full", "overloaded"),
    ("GET", "/v1/recommend?session_id=s", {}, "no model", "no_model"),
    ("POST", "/v1/recommend", {"content": b"{"}, "", "bad_body"),
    ("POST", "/v1/recommend", {"json": {"items": ["1"] * 1001}}, "", "bad_count"),
    ("POST", "/v1/recommend", {"json": {"items": [""]}}, "", "bad_id"),
    ("POST", "/v1/recommend", {"json": {"items": [], "k": 501}}, "", "bad_parameter"),
    ("POST", "/v1/recommend", limited({"category": "!"}), "", "bad_category"),
    ("POST", "/v1/recommend", limited({"category": "Cars"}), "", "unknown_category"),
    ("POST", "/v1/recommend", limited({"only": ["4"]}), "", "no_item_left"),
    ("POST", "/v1/recommend", limited({"only": ["1", "nobody"]}), "", "unknown_items"),
    ("POST", "/v1/recommend", limited({"only": ["1"], "exclude": ["1"]}), "", "contradicting_limits"),
    ("POST", "/v1/recommend", limited({"new_share": 2}), "", "bad_limit"),
    ("POST", "/v1/recommend", limited({"attributes": {"price": {}}}), "", "bad_limit"),
    ("POST", "/v1/recommend", limited({"attributes": {"price": {"below": 5}}}), "", "unknown_attribute"),
    ("POST", "/v1/recommend", limited({"attributes": {f"a{n}": {} for n in range(21)}}), "", "bad_count"),
    ("POST", "/v1/recommend", {"content": BIG}, "", "too_large"),
    ("POST", "/v1/recommend", {"headers": {"content-encoding": "gzip"}}, "", "unsupported_encoding"),
    ("POST", "/v1/recommend", {"json": {"items": []}}, "no model", "no_model"),
    ("POST", "/v1/recommend", {"json": {"items": []}}, "full", "overloaded"),
    ("GET", "/v1/sessions/%20/features", {}, "", "bad_id"),
    ("GET", "/v1/sessions/a/b/features", {}, "", "no_such_route"),
    ("GET", "/v1/sessions/s/features", {}, "down", "online_store_unavailable"),
    ("GET", "/v1/sessions/other%20schema/features", {}, "", "features_unreadable"),
    ("GET", "/v1/sessions/s/features", {}, "full", "overloaded"),
    ("GET", "/v1/sessions/%ff/recommendations", {}, "", "bad_id"),
    ("GET", "/v1/sessions/nobody/recommendations", {}, "", "no_answer"),
    ("GET", "/v1/sessions/a/b/recommendations", {}, "", "no_such_route"),
    ("GET", "/v1/sessions/s/recommendations", {}, "foreign", "bad_answer"),
    ("POST", "/v1/clicks", {"content": b"[1,"}, "", "not_json"),
    ("POST", "/v1/clicks", {"json": []}, "", "bad_count"),
    ("POST", "/v1/clicks", {"json": [5]}, "", "all_refused"),
    ("POST", "/v1/clicks", {"json": 5}, "", "wrong_shape"),
    ("POST", "/v1/clicks", {"content": b"\xff"}, "", "not_utf8"),
    ("POST", "/v1/clicks", {"content": b"{" + b" " * 1_000_001 + b"}"}, "large bodies", "too_large"),
    ("POST", "/v1/clicks", {"json": {**CLICK, "schema_version": 2}}, "", "unknown_schema_version"),
    ("POST", "/v1/clicks", {"json": {**CLICK, "item_id": " "}}, "", "bad_id"),
    ("POST", "/v1/clicks", {"json": {**CLICK, "event_time": "soon"}}, "", "bad_time"),
    ("POST", "/v1/clicks", {"content": BIG}, "", "too_large"),
    ("POST", "/v1/clicks", {"headers": {"content-encoding": "br"}}, "", "unsupported_encoding"),
    ("POST", "/v1/clicks", {"json": CLICK}, "broker away", "broker_unavailable"),
    ("POST", "/v1/clicks", {"json": CLICK}, "full", "overloaded"),
    ("GET", "/v1/events", {}, "", "missing_parameter"),
    ("GET", "/v1/events?session_id=", {}, "", "bad_id"),
    ("GET", "/v1/events?session_id=%ff", {}, "", "bad_query"),
    ("GET", "/v1/events?session_id=s", {}, "no more streams", "too_many_streams"),
    ("GET", "/v1/items?id=%20", {}, "", "bad_id"),
    ("GET", "/v1/items?k=x", {}, "", "bad_parameter"),
    ("GET", "/v1/items?category=!", {}, "", "bad_category"),
    ("GET", "/v1/items?query=%ff", {}, "", "bad_query"),
    ("GET", "/v1/items?query=a", {}, "no model", "no_model"),
    ("GET", "/v1/items/nearest", {}, "", "missing_parameter"),
    ("GET", "/v1/items/nearest?item_id=", {}, "", "bad_id"),
    ("GET", "/v1/items/nearest?text=a&k=-1", {}, "", "bad_parameter"),
    ("GET", "/v1/items/nearest?text=a&category=!", {}, "", "bad_category"),
    ("GET", "/v1/items/nearest?text=%ff", {}, "", "bad_query"),
    ("GET", "/v1/items/nearest?text=no+direction", {}, "", "no_direction"),
    ("GET", "/v1/items/nearest?item_id=9", {}, "", "unknown_item"),
    ("GET", "/v1/items/nearest?text=a", {}, "no model", "no_model"),
    ("GET", "/v1/items/nearest?text=no+vectors", {}, "", "no_vectors"),
    ("GET", "/v1/items/nearest?text=other+encoder", {}, "", "other_encoder"),
    ("POST", "/v1/items", {"content": b"[1,"}, "", "not_json"),
    ("POST", "/v1/items", {"json": []}, "", "bad_count"),
    ("POST", "/v1/items", {"json": [5]}, "", "all_refused"),
    ("POST", "/v1/items", {"json": 5}, "", "wrong_shape"),
    ("POST", "/v1/items", {"content": b"\xff"}, "", "not_utf8"),
    ("POST", "/v1/items", {"json": {**ITEM, "title": "x" * 10_001}}, "large bodies", "too_large"),
    ("POST", "/v1/items", {"json": {**ITEM, "schema_version": 2}}, "", "unknown_schema_version"),
    ("POST", "/v1/items", {"json": {**ITEM, "item_id": " "}}, "", "bad_id"),
    ("POST", "/v1/items", {"json": {**ITEM, "available": "no"}}, "", "bad_available"),
    ("POST", "/v1/items", {"json": {**ITEM, "attributes": 5}}, "", "bad_attributes"),
    ("POST", "/v1/items", {"content": BIG}, "", "too_large"),
    ("POST", "/v1/items", {"headers": {"content-encoding": "br"}}, "", "unsupported_encoding"),
    ("POST", "/v1/items", {"json": ITEM}, "broker away", "broker_unavailable"),
    ("POST", "/v1/items", {"json": ITEM}, "full", "overloaded"),
    ("DELETE", "/v1/items/%20", {}, "", "bad_id"),
    ("DELETE", "/v1/items/a/b", {}, "", "no_such_route"),
    ("DELETE", "/v1/items/3", {}, "broker away", "broker_unavailable"),
    ("DELETE", "/v1/items/3", {}, "full", "overloaded"),
    ("GET", "/readyz", {}, "not ready", "not_ready"),
]


def spoil(setting, what, patch):
    """Make a part of the application fail."""
    parts = setting.parts
    put_answer(setting)
    if what == "down":
        setting.rows.down = True
    elif what == "no model":
        parts.nearest = lambda: None
    elif what == "foreign":
        parts.board.put([StoredAnswer(b"s", b"no json", 0, 2)])
    elif what == "no more streams":
        patch.setattr(boards, "MAX_STREAMS", 0)
    elif what == "not ready":
        parts.problems = lambda: {"model": "none is there"}


def path_of(url, document):
    path = url.partition("?")[0]
    if path in document["paths"]:
        return path
    if path.startswith("/v1/items/"):
        return "/v1/items/{id}"
    return "/v1/sessions/{id}/" + path.rpartition("/")[2]


def refusing(batches):
    error = ErrorDetail("broker_unavailable", "the broker is away; send it again")
    if isinstance(batches[0][0], CheckedItem):
        return [[ItemResult("failed", item.update.item_id, error=error) for item in one] for one in batches]
    return [
        [ClickResult("failed", checked.click.event_id, error=error) for checked in one] for one in batches
    ]


@pytest.mark.parametrize(("method", "url", "options", "wrong", "code"), PROVOKED)
def test_a_refusal_is_as_documented(drive, document, monkeypatch, method, url, options, wrong, code):
    async def scenario(setting):
        spoil(setting, wrong, monkeypatch)
        return await setting.client.request(method, url, **options)

    more = {"max_body_bytes": 2_000_000} if wrong == "large bodies" else {}
    more |= {"send": refusing} if wrong == "broker away" else {}
    more |= {"waiting": 0} if wrong == "full" else {}
    response = drive(scenario, model=wrong != "no model", **more)
    operation = document["paths"][path_of(url, document)][method.lower()]
    assert response.json()["error"]["code"] == code
    assert str(response.status_code) in operation["responses"]
    check(response, operation, document)


def documented(document):
    for path, method, operation in operations(document):
        for status, told in operation["responses"].items():
            if parts := told["content"].get("application/json", {}).get("schema", {}).get("allOf"):
                for code in parts[1]["properties"]["error"]["properties"]["code"]["enum"]:
                    yield method, path, status, code


def test_every_documented_refusal_is_provoked_and_every_code_is_documented(document):
    everywhere = {"foreign_origin", "foreign_host", "unauthorised", "internal"}
    told = {(m, p, c) for m, p, s, c in documented(document) if s != "default" and c not in everywhere}
    tried = {(method, path_of(url, document), code) for method, url, _, _, code in PROVOKED}
    assert tried == told
    others = {code for *_, status, code in documented(document) if status == "default"}
    assert others == {"method_not_allowed", *CONNECTION_CODES}
    raised = set()
    for file in Path(http.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"ApiError", "ErrorDetail"}:
                place = node.args[node.func.id == "ApiError"]
                raised |= {place.value} if isinstance(place, ast.Constant) else set()
    assert raised - UNDELIVERABLE <= {code for *_, code in documented(document)}


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("foreign_origin", {"headers": {"origin": "http://evil.example"}}),
        ("foreign_host", {"headers": {"host": "evil.example"}}),
        ("unauthorised", {}),
        ("internal", {}),
        ("method_not_allowed", {}),
    ],
)
def test_what_every_route_refuses_is_as_documented(drive, document, monkeypatch, code, options):
    async def scenario(setting):
        put_answer(setting)
        answers = {}
        for path, method, operation in operations(document):
            place, example = example_of(path, operation)
            asked = "PATCH" if code == "method_not_allowed" else method
            answers[path, method] = await setting.client.request(asked, place, **{**example, **options})
        return answers

    if code == "internal":
        monkeypatch.setattr("streaming.http.wire.guard.Guard.check", lambda *words, **more: 1 / 0)
    answers = drive(scenario, tokens=("secret",) if code == "unauthorised" else ())
    for path, method, operation in operations(document):
        if code == "unauthorised" and not operation["security"]:
            continue
        response = answers[path, method]
        assert response.json()["error"]["code"] == code, (path, response.text)
        check(response, operation, document)


IDS = st.one_of(
    st.sampled_from(["s", "1", "", " ", "a/b c", "x" * 1025, "\u00e9", "\x00"]), st.text(max_size=20)
)
COUNTS = st.one_of(st.integers(-1, 600).map(str), st.sampled_from(["", "x", "1e3", "\u0663"]))
VALUES = {
    "k": COUNTS,
    "event_time": st.one_of(IDS, st.sampled_from(["2024-01-01", "1600000000", "-1", "nan"])),
}
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), IDS
)
JSON = st.recursive(
    LEAVES,
    lambda one: st.lists(one, max_size=4) | st.dictionaries(st.text(max_size=8), one, max_size=4),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries({}, optional=dict.fromkeys(("items", "k", *CLICK), LEAVES))
BODIES = st.one_of(JSON, FIELDS, st.lists(st.one_of(FIELDS, st.just(CLICK)), max_size=3))


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_asked_the_answer_is_documented(drive, document, data):
    asked = []
    for path, method, operation in operations(document):
        query = {}
        for parameter in operation["parameters"]:
            value = data.draw(VALUES.get(parameter["name"], IDS))
            if parameter["in"] == "path":
                continue
            if parameter["required"] or data.draw(st.booleans()):
                query[parameter["name"]] = value
        if path != "/v1/events":
            body = {"json": data.draw(BODIES)} if "requestBody" in operation else {}
            asked.append((path, method, path.replace("{id}", "s"), {"params": query, **body}))

    async def scenario(setting):
        put_answer(setting)
        return [await setting.client.request(method, url, **options) for _, method, url, options in asked]

    for (path, method, _, options), response in zip(asked, drive(scenario), strict=True):
        operation = document["paths"][path][method.lower()]
        assert str(response.status_code) in operation["responses"], (path, options, response.text)
        check(response, operation, document)
