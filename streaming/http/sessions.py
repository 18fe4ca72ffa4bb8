"""The routes about sessions and clicks: scores, live features, latest answers, events. Knows no Kafka client
and no online store.
"""

from __future__ import annotations

from collections import Counter

import msgspec
from starlette.responses import Response

from feature_repo.contract.messages import ClickError, Recommendation, format_time, parse_time
from feature_repo.contract.tables import SESSION_FEATURE_FIELDS
from model.recommender.limits import NO_LIMITS, Limits
from streaming.http.batcher import Batcher
from streaming.http.board import AnswerBoard, EventStream
from streaming.http.clicks import CheckedClick, ClickResult, check_clicks, refused
from streaming.http.engine import Answer as Scored
from streaming.http.engine import Ask, Outcome
from streaming.http.messages import (
    DEFAULT_K,
    MOST_ITEMS,
    MOST_K,
    ClickBody,
    ClickResults,
    Count,
    Events,
    Features,
    Id,
    RecommendBody,
    SessionFeatures,
)
from streaming.http.metrics import Metrics
from streaming.http.wire.bodies import outcome
from streaming.http.wire.errors import NO_STORE, ApiError, Error, Json, checked_count, checked_id
from streaming.http.wire.limits import limits_of, rules_of, sensible
from streaming.http.wire.operation import Answer, ApiRequest, Body, Operation, Parameter


def _count(name: str, text: str) -> int:
    return checked_count(name, text, MOST_K)


def _time(name: str, text: str) -> int:
    try:
        return parse_time(text)
    except ValueError as error:
        raise ApiError(400, "bad_time", str(error)) from None


MaybeText = Parameter[str | None]
SESSION = MaybeText("session_id", "whose live features are read", Id, checked_id, None, "s")
NEXT_ITEM = MaybeText("item_id", "taken as the next click; nothing is recorded", Id, checked_id, None, "3")
_TIME_RULE = "event time of that click; left out = the session goes on, given = the gap rule decides"
NEXT_TIME = Parameter[int | None]("event_time", _TIME_RULE, str, _time, None, "2024-01-01T00:00:00Z")
K = Parameter[int]("k", "how many items", Count, _count, DEFAULT_K, 5)
_IN_CATEGORY = "only items of it: whole words, in any case"
CATEGORY = MaybeText("category", _IN_CATEGORY, str, lambda name, text: text, None, "Comedy")
PER_CATEGORY = Parameter[int | None](
    "per_category", "at most so many items of one category", Count, _count, None, 2
)
_RULE = "only items with an attribute NAME:VALUE, may be repeated"
EQUAL = MaybeText(
    "equal", f"{_RULE}; true, false and numbers as such", list[str], lambda name, text: text, None, []
)
BELOW = MaybeText("below", f"{_RULE} below a number", list[str], lambda name, text: text, None, [])
ABOVE = MaybeText("above", f"{_RULE} above a number", list[str], lambda name, text: text, None, [])
LIST_ERRORS = "unknown_items bad_limit"
LIMIT_ERRORS = "bad_category unknown_category no_item_left unknown_attribute contradicting_limits"
LISTENER = MaybeText("session_id", "whose answers", Id, checked_id, None, "s", required=True)
_SLASH = "the session; a slash of its own is written %2F"
PATH_SESSION = MaybeText("id", _SLASH, Id, checked_id, None, "s", True, "path")
EXAMPLE = {"event_id": "e1", "session_id": "s", "item_id": "3", "event_time": "2024-01-01T00:00:00Z"}
SCORED = {200: Answer("ranked items", Scored)}
BODY_ERRORS = {413: "too_large", 415: "unsupported_encoding"}
EVENT_HEADERS = ("cache-control", "x-accel-buffering")
LIVE_ERRORS = "online_store_unavailable features_unreadable overloaded"
CLICK_ERRORS = (
    "not_json bad_count all_refused wrong_shape not_utf8 too_large unknown_schema_version bad_id bad_time"
)


class SessionRoutes:
    """Answers about sessions; the routes asked for most come first, as they are tried in this order.

    Parameters
    ----------
    questions, clicks : Batcher
        Of the engine, and of the click sender.
    board : AnswerBoard
    metrics : Metrics
    most_bytes : int
        Of a body.
    """

    def __init__(
        self,
        questions: Batcher[Ask, Outcome],
        clicks: Batcher[list[CheckedClick], list[ClickResult]],
        board: AnswerBoard,
        metrics: Metrics,
        most_bytes: int,
    ) -> None:
        self._questions, self._clicks, self._board = questions, clicks, board
        self._metrics, self._most_bytes = metrics, most_bytes

    @Operation(
        "GET",
        "/v1/recommend",
        SCORED,
        {
            400: f"missing_parameter bad_id bad_parameter bad_time bad_count {LIMIT_ERRORS}",
            503: f"{LIVE_ERRORS} no_model",
        },
        (SESSION, NEXT_ITEM, K, NEXT_TIME, CATEGORY, PER_CATEGORY, EQUAL, BELOW, ABOVE),
    )
    async def recommend_next(self, request: ApiRequest) -> Response:
        """Score a session as if an item were its next click."""
        session_id, item_id = SESSION(request), NEXT_ITEM(request)
        if session_id is None and item_id is None:
            text = "query parameters 'session_id' and 'item_id' are both missing; give at least one"
            raise ApiError(400, "missing_parameter", text)
        items = () if item_id is None else (item_id,)
        category, most = CATEGORY(request), PER_CATEGORY(request)
        rules = rules_of(*(parameter.every(request) for parameter in (EQUAL, BELOW, ABOVE)))
        limits = NO_LIMITS
        if category is not None or most is not None or rules:
            limits = sensible(Limits(category, per_category=most, attributes=rules))
        ask = Ask(session_id, items, K(request), NEXT_TIME(request), limits)
        return Json((await self._questions.submit(ask)).answer)

    @Operation(
        "POST",
        "/v1/recommend",
        SCORED,
        {
            400: f"bad_body bad_count bad_id bad_parameter {LIMIT_ERRORS} {LIST_ERRORS}",
            **BODY_ERRORS,
            503: "no_model overloaded",
        },
        body=Body(RecommendBody, {"items": ["1", "2"], "k": 5}),
    )
    async def recommend_items(self, request: ApiRequest) -> Response:
        """Score a list of items as one session, without Kafka."""
        raw = await request.limited_body(self._most_bytes)
        try:
            body = msgspec.json.decode(raw, type=RecommendBody)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            shape = '{"items": ["ITEM", ...], "k": 20, "limits": {...}}'
            raise ApiError(400, "bad_body", f"the body is not {shape}: {error}") from None
        if len(body.items) > MOST_ITEMS:
            text = f"items holds {len(body.items):,} ids; send the latest {MOST_ITEMS:,} at most"
            raise ApiError(400, "bad_count", text)
        items = tuple(checked_id("item_id", item_id) for item_id in body.items)
        ask = Ask(None, items, checked_count("k", body.k, MOST_K), None, limits_of(body.limits))
        return Json((await self._questions.submit(ask)).answer)

    @Operation(
        "GET",
        "/v1/sessions/{id}/features",
        {200: Answer("values, times, status", SessionFeatures)},
        {400: "bad_id", 404: "no_such_route", 503: LIVE_ERRORS},
        (PATH_SESSION,),
    )
    async def session_features(self, request: ApiRequest) -> Response:
        """Give a session's live features."""
        session_id = request.session_id()
        row = (await self._questions.submit(Ask(session_id, (), 0))).row
        if row is None:
            text = "no online store is set; set online.url or run `python -m streaming up`"
            raise ApiError(503, "online_store_unavailable", text)
        if not row.event_time_us:
            return Json(SessionFeatures(session_id, row.status))
        times = format_time(row.event_time_us), format_time(row.created_us)
        if not row.features:
            return Json(SessionFeatures(session_id, row.status, *times))
        features = {name: row.features[name] for name, _ in SESSION_FEATURE_FIELDS}
        features["session_start"] = format_time(features["session_start"])
        events = None
        if row.features.get("event_types") is not None:  # null = written by a version that did not count
            counts = zip(row.features["event_types"], row.features["event_counts"], strict=True)
            events = Events(dict(counts), row.features["ended_items"] or [])
        return Json(SessionFeatures(session_id, row.status, *times, Features(**features), events))

    @Operation(
        "GET",
        "/v1/sessions/{id}/recommendations",
        {200: Answer("as on Kafka", Recommendation)},
        {400: "bad_id", 404: "no_answer no_such_route", 502: "bad_answer"},
        (PATH_SESSION,),
    )
    async def session_recommendations(self, request: ApiRequest) -> Response:
        """Give the latest answer to a session's clicks."""
        answer = self._board.latest(request.session_id())
        return Response(answer, headers=NO_STORE, media_type=Json.media_type)

    @Operation(
        "POST",
        "/v1/clicks",
        {202: Answer("all accepted", ClickResults), 207: Answer("some accepted", ClickResults)},
        {400: CLICK_ERRORS, **BODY_ERRORS, 503: "broker_unavailable overloaded"},
        body=Body(ClickBody | list[ClickBody], [EXAMPLE]),
        error_kinds=(ClickResults, Error),
    )
    async def send_clicks(self, request: ApiRequest) -> Response:
        """Send one click or a list of them to Kafka, and say of each what became of it."""
        checked, single = check_clicks(await request.limited_body(self._most_bytes))
        valid = [click for click in checked if isinstance(click, CheckedClick)]
        sent = iter(await self._clicks.submit(valid) if valid else [])
        results = [refused(click) if isinstance(click, ClickError) else next(sent) for click in checked]
        for result in results:
            code = result.error.code if result.error else result.status
            self._metrics.clicks.labels(code).inc()
        counts = Counter(result.status for result in results)
        status, error = outcome(results, counts, single, "click")
        body = ClickResults(results, counts["accepted"], counts["refused"], counts["failed"], error)
        return Json(body, status)

    @Operation(
        "GET",
        "/v1/events",
        {200: Answer("events named recommendation", str, "text/event-stream", EVENT_HEADERS)},
        {400: "missing_parameter bad_id", 503: "too_many_streams"},
        (LISTENER,),
    )
    async def events(self, request: ApiRequest) -> Response:
        """Stream a session's answers as server-sent events."""
        return EventStream(self._board, str(LISTENER(request)))
