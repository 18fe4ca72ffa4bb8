"""The routes that change the catalogue. Know no Kafka client."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import Response

from feature_repo.contract.items.messages import MAX_ATTRIBUTES_BYTES, ItemError
from feature_repo.contract.messages import SCHEMA_VERSION
from streaming.http.batcher import Batcher
from streaming.http.catalogue.updates import CheckedItem, ItemResult, check_items, refused, withdrawal
from streaming.http.messages import Id
from streaming.http.metrics import Metrics
from streaming.http.wire.bodies import outcome
from streaming.http.wire.errors import Error, ErrorDetail, Json, checked_id
from streaming.http.wire.operation import Answer, ApiRequest, Body, Operation, Parameter

ITEM_ERRORS = (
    "not_json bad_count all_refused wrong_shape not_utf8 too_large unknown_schema_version bad_id "
    "bad_available bad_attributes"
)
PATH_ITEM = Parameter[str | None](
    "id", "the item; a slash of its own is written %2F", Id, checked_id, None, "3", True, "path"
)


class ItemBody(msgspec.Struct, frozen=True):
    """One item as it is sent: all that is said of it. What is left out is as the trained catalogue has it;
    further fields travel with it. `decode_item` of the contract is what reads it.
    """

    item_id: Id
    title: str | None = None
    category: str | None = None
    available: bool = True
    attributes: Annotated[
        dict[str, Any] | None,
        Meta(description=f"texts, numbers, true or false, lists; {MAX_ATTRIBUTES_BYTES:,} bytes at most"),
    ] = None
    schema_version: Annotated[int, Meta(extra_json_schema={"const": SCHEMA_VERSION})] = SCHEMA_VERSION


class ItemResults(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of each item, in order; ``error`` says why when none was taken."""

    results: list[ItemResult]
    accepted: int
    refused: int
    failed: int
    error: ErrorDetail | None = None


EXAMPLE = {"item_id": "3", "title": "Red shoe", "available": True, "attributes": {"price": 19.9}}


class CatalogueRoutes:
    """Changes of the catalogue, sent to the items topic.

    Parameters
    ----------
    updates : Batcher
        Of the item sender.
    metrics : Metrics
    most_bytes : int
        Of a body.
    """

    def __init__(
        self, updates: Batcher[list[CheckedItem], list[ItemResult]], metrics: Metrics, most_bytes: int
    ) -> None:
        self._updates, self._metrics, self._most_bytes = updates, metrics, most_bytes

    @Operation(
        "POST",
        "/v1/items",
        {202: Answer("all accepted", ItemResults), 207: Answer("some accepted", ItemResults)},
        {
            400: ITEM_ERRORS,
            413: "too_large",
            415: "unsupported_encoding",
            503: "broker_unavailable overloaded",
        },
        body=Body(ItemBody | list[ItemBody], [EXAMPLE]),
        error_kinds=(ItemResults, Error),
    )
    async def send_items(self, request: ApiRequest) -> Response:
        """Send one item or a list of them to Kafka, and say of each what became of it."""
        checked, single = check_items(await request.limited_body(self._most_bytes))
        valid = [item for item in checked if isinstance(item, CheckedItem)]
        sent = iter(await self._updates.submit(valid) if valid else [])
        results = [refused(item) if isinstance(item, ItemError) else next(sent) for item in checked]
        return self._answer(results, single)

    @Operation(
        "DELETE",
        "/v1/items/{id}",
        {202: Answer("accepted", ItemResults)},
        {400: "bad_id", 404: "no_such_route", 503: "broker_unavailable overloaded"},
        (PATH_ITEM,),
        error_kinds=(ItemResults, Error),
    )
    async def withdraw_item(self, request: ApiRequest) -> Response:
        """Withdraw an item: it is in no answer any more, whether or not it is known."""
        item_id = request.item_id()
        return self._answer(await self._updates.submit([withdrawal(item_id)]), True)

    def _answer(self, results: list[ItemResult], single: bool) -> Response:
        for result in results:
            self._metrics.items.labels(result.error.code if result.error else result.status).inc()
        counts = Counter(result.status for result in results)
        status, error = outcome(results, counts, single, "item")
        body = ItemResults(results, counts["accepted"], counts["refused"], counts["failed"], error)
        return Json(body, status)
