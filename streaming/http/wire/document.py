"""The OpenAPI 3.1 document, made of the operations that are routed and the schemas of their message types."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from streaming.http.wire.errors import Error
from streaming.http.wire.operation import JSON_TYPE, Answer, Handler, Operation, Parameter

OPENAPI_VERSION = "3.1.0"
ABOUT = (
    "Recommendations with readable intents over live session features. Tokens are asked for only where "
    "`http.tokens` is set. GET routes answer HEAD too."
)
STATUS_TEXTS = {
    400: "bad input",
    401: "token missing or unknown",
    403: "another site or host name",
    404: "nothing there",
    413: "body too large",
    415: "compressed body",
    500: "a fault on our side",
    502: "a foreign record",
    503: "a part is not there",
}
# What never reaches an operation: an unknown method, and what the connection itself refuses.
OTHER_CODES = "method_not_allowed request_timeout head_too_large bad_request"
EVERYWHERE = {403: "foreign_origin foreign_host", 500: "internal"}
RETRY_CODES = {"overloaded", "online_store_unavailable"}  # these tell when to ask again
HEADERS: dict[str, dict[str, Any]] = {
    "cache-control": {"description": "Whether it may be stored.", "schema": {"type": "string"}},
    "retry-after": {
        "description": "Seconds until it is worth asking again; not with every code.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 1,
    },
    "www-authenticate": {"description": "How to send a token.", "schema": {"const": "Bearer"}},
    "content-security-policy": {
        "description": "The page's own script and style and nothing else.",
        "schema": {"type": "string"},
    },
    "x-content-type-options": {"description": "No guessing.", "schema": {"const": "nosniff"}},
    "x-accel-buffering": {"description": "No collecting by proxies.", "schema": {"const": "no"}},
    "referrer-policy": {"description": "No referrer.", "schema": {"const": "no-referrer"}},
}


def document(handlers: Iterable[Handler]) -> dict[str, Any]:
    """Make the document of some handlers.

    Returns
    -------
    dict
        Ready for JSON.

    Raises
    ------
    ValueError
        Two message types have one name.
    """
    schemas: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for handler in handlers:
        place = paths.setdefault(handler.operation.path, {})
        place[handler.operation.method.lower()] = _operation(handler, schemas)
    return {
        "openapi": OPENAPI_VERSION,
        "info": {"title": "IntentStore", "version": "1", "description": ABOUT},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": HEADERS,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def codes_of(operation: Operation) -> dict[int, list[str]]:
    """Give every status that an operation refuses with, and the codes that go with it."""
    codes = {status: text.split() for status, text in (*operation.errors.items(), *EVERYWHERE.items())}
    if any(parameter.place == "query" for parameter in operation.parameters):
        codes[400] = [*codes.get(400, []), "bad_query"]
    if operation.guarded:
        codes[401] = ["unauthorised"]
    return dict(sorted(codes.items()))


def _schema(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """Give the schema of a message type; named ones go into ``schemas``."""
    (schema,), named = msgspec.json.schema_components([kind], ref_template="#/components/schemas/{name}")
    for name, made in named.items():
        if schemas.setdefault(name, made) != made:
            raise ValueError(f"two message types are named '{name}'; rename one")
    return schema


def _operation(handler: Handler, schemas: dict[str, Any]) -> dict[str, Any]:
    operation = handler.operation
    made: dict[str, Any] = {
        "summary": handler.summary,
        "operationId": handler.method.__name__,
        "parameters": [_parameter(parameter, schemas) for parameter in operation.parameters],
        "responses": _responses(operation, schemas),
        "security": [{"bearer": []}, {}] if operation.guarded else [],
    }
    if operation.body is not None:
        content = {"schema": _schema(operation.body.kind, schemas), "example": operation.body.example}
        made["requestBody"] = {"required": True, "content": {JSON_TYPE: content}}
    return made


def _parameter(parameter: Parameter[Any], schemas: dict[str, Any]) -> dict[str, Any]:
    schema = _schema(parameter.kind, schemas)
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.description,
        "schema": schema if parameter.default is None else {**schema, "default": parameter.default},
        "example": parameter.example,
    }


def _responses(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    made = {str(status): _answer(answer, schemas) for status, answer in operation.answers.items()}
    kinds = [_schema(kind, schemas) for kind in operation.error_kinds]
    error = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    for status, codes in codes_of(operation).items():
        headers = ["cache-control"]
        headers += ["www-authenticate"] if status == 401 else []
        headers += ["retry-after"] if RETRY_CODES & set(codes) else []
        made[str(status)] = _error(STATUS_TEXTS[status], codes, error, headers)
    common = _schema(Error, schemas)
    made["default"] = _error("no request that is answered here", OTHER_CODES.split(), common, [])
    return made


def _answer(answer: Answer, schemas: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": answer.description,
        "headers": _headers(answer.headers),
        "content": {answer.media: {"schema": _schema(answer.kind, schemas)}},
    }


def _error(text: str, codes: list[str], body: dict[str, Any], headers: list[str]) -> dict[str, Any]:
    code = {"type": "object", "properties": {"code": {"enum": codes}}}
    narrowed = {"type": "object", "required": ["error"], "properties": {"error": code}}
    return {
        "description": f"{text}: {', '.join(codes)}",
        "headers": _headers(headers),
        "content": {JSON_TYPE: {"schema": {"allOf": [body, narrowed]}}},
    }


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
