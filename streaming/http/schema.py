"""The OpenAPI document of the HTTP side. One table of routes; a test holds it against the application's
own.
"""

from __future__ import annotations

from typing import Any

from feature_repo.contract.messages import MAX_ID_LENGTH, SCHEMA_VERSION
from feature_repo.contract.tables import SESSION_FEATURE_FIELDS

_JSON_TYPES = {"string": "string", "int64": "integer", "int32": "integer", "double": "number"}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: str, **fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": fields}


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


_TEXT, _NUMBER, _WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}
_ID = {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH}
_TIME = {"type": "string", "format": "date-time"}
_ITEMS = _list(_ref("RecommendedItem"))


def _feature_types() -> dict[str, dict[str, Any]]:
    """Give each session feature its JSON type, from the one list of features."""
    types: dict[str, dict[str, Any]] = {}
    for name, kind in SESSION_FEATURE_FIELDS:
        text = str(kind)
        types[name] = (
            _list(_TEXT)
            if text.startswith("list")
            else _TIME
            if text.startswith("timestamp")
            else {"type": _JSON_TYPES[text]}
        )
    return types


def _schemas() -> dict[str, Any]:
    any_time = {
        **_TEXT,
        "description": "ISO 8601, or epoch seconds, milliseconds or microseconds told apart by size",
    }
    result = _object(
        "status",
        status={"enum": ["accepted", "refused", "failed"]},
        event_id=_ID,
        partition=_WHOLE,
        offset=_WHOLE,
        error=_ref("ErrorDetail"),
    )
    return {
        "ErrorDetail": _object("code message", code=_TEXT, message=_TEXT),
        "Error": _object("error", error=_ref("ErrorDetail")),
        "RecommendedItem": _object("item_id score reason", item_id=_ID, score=_NUMBER, reason=_TEXT),
        "Intent": _object("text items", text=_TEXT, items=_list(_ID), cosines=_list(_NUMBER)),
        "Intents": _object("long short source", long=_ref("Intent"), short=_ref("Intent"), source=_TEXT),
        "Answer": _object(
            "items intents model_version scored",
            items=_ITEMS,
            intents=_ref("Intents"),
            model_version=_TEXT,
            scored={**_list(_ID), "description": "the session that was scored, oldest first"},
            session_id=_ID,
            status={"enum": ["PRESENT", "NOT_FOUND", "OUTSIDE_MAX_AGE"]},
            event_time=_TIME,
        ),
        "RecommendBody": _object("items", items=_list(_ID), k={**_WHOLE, "default": 20}),
        "Click": _object(
            "event_id session_id item_id event_time",
            event_id=_ID,
            session_id=_ID,
            item_id=_ID,
            event_time={"oneOf": [any_time, _NUMBER]},
            schema_version={"const": SCHEMA_VERSION},
        ),
        "ClickResult": result,
        "ClickResults": _object(
            "results accepted refused failed",
            results=_list(_ref("ClickResult")),
            accepted=_WHOLE,
            refused=_WHOLE,
            failed=_WHOLE,
            error=_ref("ErrorDetail"),
        ),
        "SessionFeatures": _object(
            "session_id status event_time created features",
            session_id=_ID,
            status={"enum": ["PRESENT", "NOT_FOUND", "OUTSIDE_MAX_AGE"]},
            event_time={"type": ["string", "null"]},
            created={"type": ["string", "null"]},
            features={"type": ["object", "null"], "properties": _feature_types()},
        ),
        "Recommendation": _object(
            "event_id session_id items intents model_version source click_time scored_at",
            event_id=_ID,
            session_id=_ID,
            items=_ITEMS,
            intents=_ref("Intents"),
            model_version=_TEXT,
            source=_object("topic partition offset", topic=_TEXT, partition=_WHOLE, offset=_WHOLE),
            click_time=_TIME,
            scored_at=_TIME,
        ),
        "Item": _object(
            "item_id title category known",
            item_id=_ID,
            title=_TEXT,
            category=_TEXT,
            known={"type": "boolean"},
        ),
        "Items": _object("items", items=_list(_ref("Item"))),
        "NearestItems": _object(
            "items", items=_list(_object("item_id", item_id=_ID, title=_TEXT, category=_TEXT, cosine=_NUMBER))
        ),
        "Ready": _object(
            "status parts",
            status=_TEXT,
            parts={"type": "object", "additionalProperties": _TEXT},
            error=_ref("ErrorDetail"),
        ),
    }


def _query(
    name: str, text: str, schema: dict[str, Any] | None = None, *, required: bool = False
) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "description": text, "schema": schema or _TEXT}


def _json(name: str, text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": _ref(name)}}}


def _errors(*statuses: int) -> dict[str, Any]:
    texts = {
        400: "bad input",
        401: "token missing or unknown",
        403: "another site or host name",
        404: "nothing there",
        413: "body too large",
        415: "compressed body",
        502: "a foreign record",
        503: "a part is not there",
    }
    return {str(status): _json("Error", texts[status]) for status in statuses}


def _operation(
    summary: str,
    answers: dict[str, Any],
    parameters: list[dict[str, Any]] | None = None,
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": summary, "responses": answers}
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return operation


def _paths() -> dict[str, Any]:
    guarded = _errors(400, 401, 403, 503)
    answered = {"200": _json("Recommendation", "as on Kafka"), **guarded, **_errors(404, 502)}
    featured = {"200": _json("SessionFeatures", "values, times, status"), **guarded}
    nearest = {"200": _json("NearestItems", "nearest first"), **guarded, **_errors(404)}
    k = _query("k", "how many items", {"type": "integer", "minimum": 1, "maximum": 500, "default": 20})
    session = {"name": "id", "in": "path", "required": True, "schema": _ID}
    text_answer = {"200": {"description": "text", "content": {"text/plain": {"schema": _TEXT}}}}
    next_click = [
        _query("session_id", "whose live features are read", _ID),
        _query("item_id", "taken as the next click; nothing is recorded", _ID),
        k,
        _query(
            "event_time",
            "event time of that click; left out = the session goes on, given = the gap rule decides",
        ),
    ]
    items = [
        _query("query", "words of the title"),
        _query("id", "an id to look up, may be repeated", _list(_ID)),
        _query("category", "part of it"),
        k,
    ]
    near = [
        _query("text", "what the items should mean"),
        _query("item_id", "or an item to be near to", _ID),
        k,
        _query("category", "only these"),
    ]
    one_or_many = {"oneOf": [_ref("Click"), _list(_ref("Click"))]}
    taken = {
        status: _json("ClickResults", text)
        for status, text in (("202", "all accepted"), ("207", "some accepted"), ("400", "none valid"))
    }
    events = {
        "200": {
            "description": "events named recommendation",
            "content": {"text/event-stream": {"schema": _TEXT}},
        }
    }
    return {
        "/v1/recommend": {
            "get": _operation(
                "Score a session as if an item were its next click",
                {"200": _json("Answer", "ranked items"), **guarded},
                next_click,
            ),
            "post": _operation(
                "Score a list of items, without Kafka",
                {"200": _json("Answer", "ranked items"), **guarded, **_errors(413, 415)},
                None,
                _ref("RecommendBody"),
            ),
        },
        "/v1/clicks": {
            "post": _operation(
                "Send one click or a list of them to Kafka",
                {**guarded, **_errors(413, 415), **taken},
                None,
                one_or_many,
            )
        },
        "/v1/sessions/{id}/recommendations": {
            "get": _operation("The latest answer to a session's clicks", answered, [session])
        },
        "/v1/sessions/{id}/features": {"get": _operation("A session's live features", featured, [session])},
        "/v1/events": {
            "get": _operation(
                "Answers of a session as server-sent events",
                {**events, **guarded},
                [_query("session_id", "whose answers", _ID, required=True)],
            )
        },
        "/v1/items": {
            "get": _operation(
                "Find items by title, or look ids up", {"200": _json("Items", "items"), **guarded}, items
            )
        },
        "/v1/items/nearest": {"get": _operation("Items nearest in meaning, exact", nearest, near)},
        "/": {
            "get": _operation(
                "The live page", {"200": {"description": "HTML", "content": {"text/html": {"schema": _TEXT}}}}
            )
        },
        "/healthz": {
            "get": _operation(
                "Whether the process answers",
                {"200": {"description": "alive", "content": {"application/json": {}}}},
            )
        },
        "/readyz": {
            "get": _operation(
                "Whether every part is there",
                {"200": _json("Ready", "all are"), "503": _json("Ready", "which are not, and why")},
            )
        },
        "/metrics": {"get": _operation("Prometheus metrics", {**text_answer, **_errors(401, 403)})},
        "/openapi.json": {
            "get": _operation(
                "This document", {"200": {"description": "OpenAPI 3.1", "content": {"application/json": {}}}}
            )
        },
    }


def document() -> dict[str, Any]:
    """Give the OpenAPI 3.1 document of every route.

    Returns
    -------
    dict
        Ready for JSON.
    """
    paths = _paths()
    for path, operations in paths.items():
        if path.startswith("/v1/") or path == "/metrics":
            for operation in operations.values():
                operation["security"] = [{"bearer": []}, {}]
    about = (
        "Recommendations with readable intents over live session features. Tokens are asked for only where "
        "`http.tokens` is set."
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "IntentStore", "version": "1", "description": about},
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }
