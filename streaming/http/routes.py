"""The HTTP side as one Starlette application, and the routes about items and the server itself. Knows neither
Kafka nor the online store's client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response

from model.recommender.stock import Stock
from streaming.http.batcher import Batcher
from streaming.http.board import AnswerBoard
from streaming.http.catalogue.routes import CatalogueRoutes
from streaming.http.catalogue.updates import CheckedItem, ItemResult
from streaming.http.clicks import CheckedClick, ClickResult
from streaming.http.engine import Ask, Outcome
from streaming.http.items import ItemSearch, stocked
from streaming.http.messages import Alive, Id, Items, NearestItems, Readiness
from streaming.http.metrics import CONTENT_TYPE, Metrics
from streaming.http.nearest import NearItem
from streaming.http.page import Page
from streaming.http.sessions import K, MaybeText, SessionRoutes
from streaming.http.wire.document import document
from streaming.http.wire.errors import (
    NO_STORE,
    ApiError,
    Error,
    ErrorDetail,
    Json,
    answer_error,
    checked_id,
)
from streaming.http.wire.guard import Guard
from streaming.http.wire.operation import (
    Answer,
    ApiRequest,
    Observed,
    Operation,
    Parameter,
    handlers_of,
    routes_of,
)

Known = TypeVar("Known")
Nearest = Callable[[str | None, str | None, int, str | None], Sequence[NearItem]]
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[Mapping[str, Any]]]


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
    updates : Batcher
        Of the item sender.
    stock : callable
        Gives what may be shown now.
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
    updates: Batcher[list[CheckedItem], list[ItemResult]]
    stock: Callable[[], Stock]


def _text(name: str, text: str) -> str:
    return text


WORDS = Parameter[str]("query", "words of the title; any case", str, _text, "", "star")
LOOK_UP = MaybeText("id", "an id to look up, may be repeated", list[Id], checked_id, None, ["3"])
CATEGORY = MaybeText(
    "category", "only items of this category: whole words, in any case", str, _text, None, ""
)
MEANING = MaybeText("text", "what the items should mean", str, _text, None, "shoes to run in")
NEAR_ITEM = MaybeText("item_id", "or an item to be near to", Id, checked_id, None, "3")
PAGE_HEADERS = ("cache-control", "content-security-policy", "x-content-type-options", "referrer-policy")


class OtherRoutes:
    """Answers about items and about the server."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._page = parts, Page.load()
        self._document = Json(
            document([*handlers_of(SessionRoutes), *handlers_of(OtherRoutes), *handlers_of(CatalogueRoutes)])
        )

    @Operation(
        "GET",
        "/v1/items",
        {200: Answer("items", Items)},
        {400: "bad_id bad_parameter bad_category", 503: "no_model"},
        (WORDS, LOOK_UP, K, CATEGORY),
    )
    async def items(self, request: ApiRequest) -> Response:
        """Find items by words of their titles, or look ids up."""
        search = self._known(self._parts.items())
        if ids := LOOK_UP.every(request):
            return Json(Items(stocked(search.of(str(item_id) for item_id in ids), self._parts.stock())))
        words, k, category = WORDS(request), K(request), CATEGORY(request)
        found = await asyncio.to_thread(search.find, words, k, category)
        return Json(Items(stocked(found, self._parts.stock())))

    @Operation(
        "GET",
        "/v1/items/nearest",
        {200: Answer("nearest first", NearestItems)},
        {
            400: "missing_parameter bad_id bad_parameter bad_category no_direction",
            404: "unknown_item",
            503: "no_model no_vectors other_encoder",
        },
        (MEANING, NEAR_ITEM, K, CATEGORY),
    )
    async def nearest_items(self, request: ApiRequest) -> Response:
        """Find the items nearest in meaning to a text or an item, exact."""
        nearest = self._known(self._parts.nearest())
        text, item_id = MEANING(request), NEAR_ITEM(request)
        if (text is None or not text.strip()) == (item_id is None):
            reason = "give either 'text' or 'item_id', not both and not none"
            raise ApiError(400, "missing_parameter", reason)
        k, category = K(request), CATEGORY(request)
        return Json(NearestItems(list(await asyncio.to_thread(nearest, text, item_id, k, category))))

    @Operation("GET", "/", {200: Answer("HTML", str, "text/html", PAGE_HEADERS)}, guarded=False)
    async def live_page(self, request: ApiRequest) -> Response:
        """Give the live page."""
        return self._page.response()

    @Operation("GET", "/healthz", {200: Answer("alive", Alive)}, guarded=False)
    async def healthz(self, request: ApiRequest) -> Response:
        """Say that the process answers."""
        return Json(Alive())

    @Operation(
        "GET",
        "/readyz",
        {200: Answer("all are", Readiness)},
        {503: "not_ready"},
        guarded=False,
        error_kinds=(Readiness, Error),
    )
    async def readyz(self, request: ApiRequest) -> Response:
        """Say of each part whether it is there."""
        problems = self._parts.problems()
        parts = {part: reason or "ready" for part, reason in problems.items()}
        text = "; ".join(f"{part}: {reason}" for part, reason in problems.items() if reason)
        if not text:
            return Json(Readiness("ready", parts))
        return Json(Readiness("not ready", parts, ErrorDetail("not_ready", text)), 503)

    @Operation("GET", "/metrics", {200: Answer("text", str, "text/plain")})
    async def metrics(self, request: ApiRequest) -> Response:
        """Give Prometheus metrics, of all workers together."""
        self._parts.metrics.streams.set(self._parts.board.open_streams)
        return Response(self._parts.metrics.text(), headers={**NO_STORE, "content-type": CONTENT_TYPE})

    @Operation("GET", "/openapi.json", {200: Answer("OpenAPI 3.1", dict[str, Any])}, guarded=False)
    async def openapi(self, request: ApiRequest) -> Response:
        """Give this document."""
        return self._document

    def _known(self, found: Known | None) -> Known:
        if found is None:
            text = "no model is loaded, so no items are known; train and promote one"
            raise ApiError(503, "no_model", text)
        return found


def application(parts: Parts, lifespan: Lifespan = lambda app: nullcontext({})) -> Starlette:
    """Make the ASGI application.

    Parameters
    ----------
    parts : Parts
        What it answers from.
    lifespan : callable
        Gives the context in which it runs; what that yields is the state of the connections.
    """
    sessions = SessionRoutes(parts.questions, parts.clicks, parts.board, parts.metrics, parts.max_body_bytes)
    catalogue = CatalogueRoutes(parts.updates, parts.metrics, parts.max_body_bytes)
    made = Starlette(
        routes=[
            route
            for group in (sessions, OtherRoutes(parts), catalogue)
            for route in routes_of(group, parts.guard, parts.metrics)
        ],
        middleware=[Middleware(Observed, parts.metrics)],
        exception_handlers={HTTPException: answer_error},
        lifespan=lifespan,
    )
    made.router.redirect_slashes = False  # a path with one too many is a clear 404
    return made
