"""What one route is: how its request is read, who may ask, and what the document says of it. Starlette routes
and answers; knows no handler.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import parse_qsl, unquote

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streaming.http.metrics import Metrics
from streaming.http.wire.errors import ApiError, Error, checked_id
from streaming.http.wire.guard import Guard

log = logging.getLogger("intentstore.http")
MAX_QUERY_FIELDS = 50  # no route reads more than a handful; parsing thousands is work for nobody
JSON_TYPE = "application/json"
Value = TypeVar("Value")


class ApiRequest(Request):
    """A request whose query is strict, whose path may hold any session id and whose body has a limit."""

    @property
    def query_params(self) -> QueryParams:
        """Query fields; the last of a repeated one counts.

        Raises
        ------
        ApiError
            400 when it is not UTF-8 or holds too many fields.
        """
        if not hasattr(self, "_query_params"):
            raw = self.scope["query_string"].decode("latin-1")
            try:
                fields = parse_qsl(
                    raw, keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS
                )
            except ValueError:  # UnicodeDecodeError is one
                text = (
                    f"the query {raw[:60]!r} is not UTF-8 in percent encoding, or has more than "
                    f"{MAX_QUERY_FIELDS} fields"
                )
                raise ApiError(400, "bad_query", text) from None
            self._query_params = QueryParams(fields)
        return self._query_params

    def session_id(self) -> str:
        """Read the id in ``/v1/sessions/{id}/...``; a slash of its own stands there as ``%2F``.

        Raises
        ------
        ApiError
            400 when it is no id.
        HTTPException
            404 when the path has further parts.
        """
        return self._path_id("session_id", len(("", "v1", "sessions", "{id}", "features")))

    def item_id(self) -> str:
        """Read the id in ``/v1/items/{id}``; a slash of its own stands there as ``%2F``.

        Raises
        ------
        ApiError
            400 when it is no id.
        HTTPException
            404 when the path has further parts.
        """
        return self._path_id("item_id", len(("", "v1", "items", "{id}")))

    def _path_id(self, name: str, length: int) -> str:
        raw = self.scope.get("raw_path") or self.scope["path"].encode()
        parts = raw.decode("latin-1").split("/")
        if len(parts) != length:
            raise HTTPException(404)
        try:
            return checked_id(name, unquote(parts[3], errors="strict"))
        except UnicodeDecodeError:
            text = f"the {name.replace('_', ' ')} {parts[3][:60]!r} is not UTF-8 in percent encoding"
            raise ApiError(400, "bad_id", text) from None

    async def limited_body(self, limit: int) -> bytes:
        """Read the body, refusing one larger than ``limit`` bytes as soon as that shows.

        Raises
        ------
        ApiError
            413 when it is too large, 415 when it is compressed, 400 when the client left before its end.
        """
        encoding = self.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            text = f"content-encoding {encoding[:60]!r} is not read; send the JSON uncompressed"
            raise ApiError(415, "unsupported_encoding", text)
        text = f"the body is larger than {limit:,} bytes; send less at once, or raise http.max_body_bytes"
        declared, body = self.headers.get("content-length", ""), bytearray()
        if declared.isdigit() and int(declared) > limit:
            raise ApiError(413, "too_large", text)
        try:
            async for part in self.stream():
                body += part
                if len(body) > limit:
                    raise ApiError(413, "too_large", text)
        except ClientDisconnect:
            text = "the connection closed before the end of the body; send it again"
            raise ApiError(400, "incomplete_body", text) from None
        return bytes(body)


@dataclass(frozen=True)
class Parameter(Generic[Value]):
    """One parameter of the query, read, checked and documented from here; one of the path, documented.

    Attributes
    ----------
    name, description : str
    kind : type
        Its message type, for the document.
    parse : callable
        From name and text to the value; raises ``ApiError``.
    default : value
        When it is not given.
    example : str
        A usable value.
    required : bool
    place : str
        ``query`` or ``path``; what stands in the path is read by ``ApiRequest.session_id``.
    """

    name: str
    description: str
    kind: Any
    parse: Callable[[str, str], Value]
    default: Value
    example: Any
    required: bool = False
    place: str = "query"

    def __call__(self, request: ApiRequest) -> Value:
        """Read it.

        Raises
        ------
        ApiError
            400 when it is missing or unusable.
        """
        text = request.query_params.get(self.name)
        if text is not None:
            return self.parse(self.name, text)
        if self.required:
            text = f"query parameter '{self.name}' is missing; add ?{self.name}=..."
            raise ApiError(400, "missing_parameter", text)
        return self.default

    def every(self, request: ApiRequest) -> list[Value]:
        """Read all of a repeated parameter."""
        return [self.parse(self.name, text) for text in request.query_params.getlist(self.name)]


class Answer(NamedTuple):
    """One documented success: what it means, its message type (or plain text), media type and headers."""

    description: str
    kind: Any = str
    media: str = JSON_TYPE
    headers: tuple[str, ...] = ("cache-control",)


class Body(NamedTuple):
    """The documented body of a request, and one that is accepted."""

    kind: Any
    example: Any


@dataclass(frozen=True)
class Operation:
    """One method of one path; stands as a decorator above the handler, whose docstring is its summary.

    Attributes
    ----------
    method, path : str
        The path as the document writes it.
    answers : mapping of int to Answer
    errors : mapping of int to str
        Status to the codes of its error bodies, separated by blanks; what every route may refuse is added.
    parameters : tuple of Parameter
    body : Body, optional
    guarded : bool
        Whether a token is asked for, where tokens are set.
    error_kinds : tuple of type
        Message types of the error bodies.
    """

    method: str
    path: str
    answers: Mapping[int, Answer]
    errors: Mapping[int, str] = field(default_factory=dict)
    parameters: tuple[Parameter[Any], ...] = ()
    body: Body | None = None
    guarded: bool = True
    error_kinds: tuple[Any, ...] = (Error,)

    def __call__(self, handler: Callable[[Any, ApiRequest], Awaitable[Response]]) -> Handler:
        """Declare a method as the handler."""
        return Handler(self, handler)

    @property
    def label(self) -> str:
        """Its name in metrics and log."""
        return f"{self.method} {self.path}"


class Handler(NamedTuple):
    """An operation and the method that answers it."""

    operation: Operation
    method: Callable[[Any, ApiRequest], Awaitable[Response]]

    @property
    def summary(self) -> str:
        """What it answers, in one line."""
        return str(self.method.__doc__).partition("\n")[0].rstrip(".")


def handlers_of(kind: type) -> list[Handler]:
    """Give the handlers of a class, in the order in which they stand there."""
    return [member for member in vars(kind).values() if isinstance(member, Handler)]


def routes_of(group: object, guard: Guard, metrics: Metrics) -> list[Route]:
    """Make the routes of an object with handlers; ``{id}`` may hold any text, slashes too."""
    return [
        Route(
            handler.operation.path.replace("{id}", "{id:path}"),
            Endpoint(handler, group, guard, metrics),
            methods=[handler.operation.method],
        )
        for handler in handlers_of(type(group))
    ]


class Endpoint:
    """A handler behind the guard, as what a Starlette route calls."""

    def __init__(self, handler: Handler, group: object, guard: Guard, metrics: Metrics) -> None:
        self.operation, self._guard, self._metrics = handler.operation, guard, metrics
        self._answer = partial(handler.method, group)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what fails on our side is logged, counted and said without a trace."""
        request = ApiRequest(scope, receive, send)
        try:
            self._guard.check(request.headers, token=self.operation.guarded)
            response = await self._answer(request)
        except HTTPException:
            raise
        except Exception as error:
            self._metrics.errors.labels(type(error).__name__).inc()
            log.exception("%s failed", self.operation.label)
            text = "the request failed on our side; the server's log says why"
            raise ApiError(500, "internal", text) from None
        await response(scope, receive, send)


class Observed:
    """Middleware: counts every request by route and status and times it up to its answer's first byte."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                endpoint = scope.get("endpoint")
                answered = isinstance(endpoint, Endpoint) and message["status"] != 405
                label = endpoint.operation.label if answered and endpoint else "unknown"
                self._metrics.latency.labels(label).observe(time.perf_counter() - started)
                self._metrics.requests.labels(label, str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, noting)
