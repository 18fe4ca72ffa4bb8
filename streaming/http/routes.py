"""The HTTP side as one ASGI application: routes and what each answers. Knows neither Kafka nor the online
store's client.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec

from feature_repo.contract.messages import ClickError, format_time, parse_time
from feature_repo.contract.tables import SESSION_FEATURE_FIELDS
from streaming.http.batcher import Batcher
from streaming.http.board import AnswerBoard, EventStream
from streaming.http.clicks import CheckedClick, ClickResult, check_clicks, refused
from streaming.http.engine import Ask, Outcome
from streaming.http.items import ItemSearch
from streaming.http.metrics import CONTENT_TYPE, Metrics
from streaming.http.page import Page
from streaming.http.schema import document
from streaming.http.wire import (
    ApiError,
    Guard,
    Receive,
    Request,
    Response,
    Scope,
    Send,
    checked_count,
    checked_id,
    error_response,
    json_response,
)

LOG = logging.getLogger("intentstore.http")
DEFAULT_K, MOST_K = 20, 500
MOST_ITEMS = 1_000  # of one session in a POST; the fold keeps fewer
SESSIONS = "/v1/sessions/"
Handler = Callable[[Request], Awaitable[Response | EventStream]]
Nearest = Callable[[str | None, str | None, int, str | None], Sequence[object]]


class RecommendBody(msgspec.Struct, forbid_unknown_fields=True):
    """What POST /v1/recommend reads."""

    items: list[str]
    k: int = DEFAULT_K


@dataclass
class Parts:
    """What the application answers from; ``server.py`` puts the real ones in.

    Attributes
    ----------
    questions : Batcher
        Of the engine.
    clicks : Batcher
        Of the click sender.
    board : AnswerBoard
    guard : Guard
    metrics : Metrics
    problems : callable
        Gives what is not ready: part to reason, empty text = ready.
    items : callable
        Gives the item search of the model in use, or None.
    nearest : callable
        Gives what finds the nearest items of the model in use (from text, item id, k and category; runs in a
        worker thread), or None.
    max_body_bytes : int
    """

    questions: Batcher[Ask, Outcome]
    clicks: Batcher[list[CheckedClick], list[ClickResult]]
    board: AnswerBoard
    guard: Guard
    metrics: Metrics
    problems: Callable[[], dict[str, str]]
    items: Callable[[], ItemSearch | None]
    nearest: Callable[[], Nearest | None]
    max_body_bytes: int


class Api:
    """The ASGI application.

    Parameters
    ----------
    parts : Parts
        What it answers from.
    on_start, on_stop : callable
        Run on the event loop when the server comes up and goes down.
    """

    def __init__(
        self,
        parts: Parts,
        on_start: Callable[[], object] = lambda: None,
        on_stop: Callable[[], object] = lambda: None,
    ) -> None:
        self.parts = parts
        self._on_start, self._on_stop = on_start, on_stop
        self._page, self._document = Page.load(), json_response(document(), headers=[])
        # path -> method -> (label of the metrics, handler, whether a token is asked for)
        self._routes: dict[str, dict[str, tuple[str, Handler, bool]]] = {}
        for method, path, handler, guarded in (
            ("GET", "/v1/recommend", self._recommend_next, True),
            ("POST", "/v1/recommend", self._recommend_items, True),
            ("POST", "/v1/clicks", self._clicks, True),
            ("GET", "/v1/events", self._events, True),
            ("GET", "/v1/items", self._items, True),
            ("GET", "/v1/items/nearest", self._nearest, True),
            ("GET", "/metrics", self._metrics, True),
            ("GET", "/", self._live_page, False),
            ("GET", "/openapi.json", self._openapi, False),
            ("GET", "/healthz", self._healthz, False),
            ("GET", "/readyz", self._readyz, False),
        ):
            self._routes.setdefault(path, {})[method] = (f"{method} {path}", handler, guarded)
        self._session_routes: dict[str, tuple[str, Handler]] = {
            "recommendations": ("GET /v1/sessions/{id}/recommendations", self._session_answer),
            "features": ("GET /v1/sessions/{id}/features", self._session_features),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection event of the ASGI server."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request = Request(scope, receive)
        label, response = "unknown", None
        try:
            label, handler, guarded = self._route(request)
            self.parts.guard.check_origin(request)
            if guarded:
                self.parts.guard.check_token(request)
            response = await handler(request)
        except ApiError as error:
            response = error_response(error)
        except Exception as error:
            self.parts.metrics.errors.labels(type(error).__name__).inc()
            LOG.exception("%s failed", label)
            response = error_response(
                ApiError(500, "internal", "the request failed on our side; the server's log says why")
            )
        if isinstance(response, Response):
            if scope["method"] == "HEAD":
                response.body = b""
            await response.send(send)
            self.parts.metrics.latency.labels(label).observe(time.perf_counter() - started)
        else:
            self.parts.metrics.streams.inc()
            try:
                await response.send(send)
            finally:
                self.parts.metrics.streams.dec()
        self.parts.metrics.requests.labels(label, str(response.status)).inc()

    def _route(self, request: Request) -> tuple[str, Handler, bool]:
        path, method = request.scope["path"], request.scope["method"]
        asked = "GET" if method == "HEAD" else method
        methods = self._routes.get(path)
        if methods is None:
            methods = self._session_route(request)
        if asked not in methods:
            allow = ", ".join(methods)
            raise ApiError(
                405,
                "method_not_allowed",
                f"{method} is not answered at {path[:60]!r}; use {allow}",
                [(b"allow", allow.encode())],
            )
        return methods[asked]

    def _session_route(self, request: Request) -> dict[str, tuple[str, Handler, bool]]:
        raw = request.scope.get("raw_path") or request.scope["path"].encode()
        parts = raw.decode("latin-1").removeprefix(SESSIONS).split("/")
        found = (
            self._session_routes.get(parts[-1])
            if len(parts) == 2 and raw.startswith(SESSIONS.encode())
            else None
        )
        if found is None:
            raise ApiError(
                404,
                "no_such_route",
                f"nothing is at {request.scope['path'][:60]!r}; /openapi.json lists the routes",
            )
        try:
            request.path_value = unquote(parts[0], errors="strict")
        except UnicodeDecodeError:
            raise ApiError(
                400, "bad_id", f"the session id {parts[0][:60]!r} is not UTF-8 in percent encoding"
            ) from None
        checked_id("session_id", request.path_value)
        return {"GET": (*found, True)}

    async def _recommend_next(self, request: Request) -> Response:
        session_id = request.identifier("session_id", required=False)
        item_id = request.identifier("item_id", required=False)
        if session_id is None and item_id is None:
            raise ApiError(
                400,
                "missing_parameter",
                "query parameters 'session_id' and 'item_id' are both missing; give at least one",
            )
        at_us = None
        if (at := request.query.get("event_time")) is not None:
            try:
                at_us = parse_time(at)
            except ValueError as error:
                raise ApiError(400, "bad_time", str(error)) from None
        items = () if item_id is None else (item_id,)
        outcome = await self.parts.questions.submit(
            Ask(session_id, items, request.count("k", DEFAULT_K, MOST_K), at_us)
        )
        return json_response(outcome.answer)

    async def _recommend_items(self, request: Request) -> Response:
        raw = await request.body(self.parts.max_body_bytes)
        try:
            body = msgspec.json.decode(raw, type=RecommendBody)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            shape = '{"items": ["ITEM", ...], "k": 20}'
            raise ApiError(400, "bad_body", f"the body is not {shape}: {error}") from None
        if len(body.items) > MOST_ITEMS:
            raise ApiError(
                400,
                "bad_count",
                f"items holds {len(body.items):,} ids; send the latest {MOST_ITEMS:,} at most",
            )
        for item_id in body.items:
            checked_id("item_id", item_id)
        outcome = await self.parts.questions.submit(
            Ask(None, tuple(body.items), checked_count("k", body.k, MOST_K))
        )
        return json_response(outcome.answer)

    async def _clicks(self, request: Request) -> Response:
        checked, single = check_clicks(await request.body(self.parts.max_body_bytes))
        valid = [click for click in checked if isinstance(click, CheckedClick)]
        sent = iter(await self.parts.clicks.submit(valid) if valid else [])
        results = [refused(click) if isinstance(click, ClickError) else next(sent) for click in checked]
        for result in results:
            self.parts.metrics.clicks.labels(result.error["code"] if result.error else result.status).inc()
        counts = {
            status: sum(result.status == status for result in results)
            for status in ("accepted", "refused", "failed")
        }
        body: dict[str, Any] = {"results": results, **counts}
        status = (
            202
            if counts["accepted"] == len(results)
            else 400
            if counts["refused"] == len(results)
            else 503
            if not counts["accepted"]
            else 207
        )
        if status in (400, 503) and (single or counts["failed"]):
            body["error"] = next(
                result.error
                for result in results
                if result.status == ("failed" if status == 503 else "refused")
            )
        elif status == 400:
            body["error"] = {
                "code": "all_refused",
                "message": f"all {len(results)} clicks are refused; 'results' says why, one by one",
            }
        return json_response(body, status)

    async def _session_answer(self, request: Request) -> Response:
        return Response(self.parts.board.latest(request.path_value))

    async def _session_features(self, request: Request) -> Response:
        row = (await self.parts.questions.submit(Ask(request.path_value, (), 0))).row
        if row is None:
            raise ApiError(
                503,
                "online_store_unavailable",
                "no online store is set; set online.url or run `python -m streaming up`",
            )
        features = row.features and {name: row.features[name] for name, _ in SESSION_FEATURE_FIELDS}
        if features:
            features["session_start"] = format_time(features["session_start"])
        times = (
            {"event_time": format_time(row.event_time_us), "created": format_time(row.created_us)}
            if row.event_time_us
            else {}
        )
        return json_response(
            {
                "session_id": request.path_value,
                "status": row.status,
                "event_time": None,
                "created": None,
                **times,
                "features": features,
            }
        )

    async def _events(self, request: Request) -> EventStream:
        return EventStream(self.parts.board, str(request.identifier("session_id")), request.receive)

    async def _items(self, request: Request) -> Response:
        search = self.parts.items()
        if search is None:
            raise ApiError(
                503, "no_model", "no model is loaded, so no items are known; train and promote one"
            )
        ids = request.repeated("id")
        if ids:
            return json_response({"items": search.of(checked_id("id", item_id) for item_id in ids)})
        words, k, category = (
            request.query.get("query", ""),
            request.count("k", DEFAULT_K, MOST_K),
            request.query.get("category"),
        )
        return json_response({"items": await asyncio.to_thread(search.find, words, k, category)})

    async def _nearest(self, request: Request) -> Response:
        nearest = self.parts.nearest()
        if nearest is None:
            raise ApiError(
                503, "no_model", "no model is loaded, so no items are known; train and promote one"
            )
        text, item_id = request.query.get("text"), request.identifier("item_id", required=False)
        if (text is None or not text.strip()) == (item_id is None):
            raise ApiError(400, "missing_parameter", "give either 'text' or 'item_id', not both and not none")
        k, category = request.count("k", DEFAULT_K, MOST_K), request.query.get("category")
        return json_response({"items": await asyncio.to_thread(nearest, text, item_id, k, category)})

    async def _metrics(self, request: Request) -> Response:
        return Response(self.parts.metrics.text(), content_type=CONTENT_TYPE)

    async def _live_page(self, request: Request) -> Response:
        return self._page.response()

    async def _openapi(self, request: Request) -> Response:
        return Response(self._document.body)

    async def _healthz(self, request: Request) -> Response:
        return json_response({"status": "alive"})

    async def _readyz(self, request: Request) -> Response:
        problems = self.parts.problems()
        missing = {part: reason for part, reason in problems.items() if reason}
        parts = {part: reason or "ready" for part, reason in problems.items()}
        if not missing:
            return json_response({"status": "ready", "parts": parts})
        text = "; ".join(f"{part}: {reason}" for part, reason in missing.items())
        return json_response(
            {"status": "not ready", "parts": parts, "error": {"code": "not_ready", "message": text}}, 503
        )

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.parts.questions.start()
                self.parts.clicks.start()
                self._on_start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self._on_stop()
                await send({"type": "lifespan.shutdown.complete"})
                return
