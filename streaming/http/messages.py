"""Bodies of requests and answers that no other module owns, as message types; the OpenAPI document is made of
them. Knows no route.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa
from msgspec import Meta

from feature_repo.contract.messages import MAX_ID_LENGTH, SCHEMA_VERSION
from feature_repo.contract.tables import SESSION_FEATURE_FIELDS
from streaming.http.clicks import ClickResult
from streaming.http.engine import RowStatus
from streaming.http.items import Item
from streaming.http.nearest import NearItem
from streaming.http.wire.errors import ErrorDetail

DEFAULT_K, MOST_K = 20, 500
MOST_ITEMS = 1_000  # of one session in a POST; the fold keeps fewer
MOST_LIMITED = 10_000  # ids of `only` and of `exclude`
MOST_RULES = 20  # on attributes
# Bounds stand in the document only: `checked_id` and `checked_count` refuse in the API's own words.
ID_BOUNDS = {"minLength": 1, "maxLength": MAX_ID_LENGTH, "pattern": r"\S"}
COUNT_BOUNDS = {"minimum": 1, "maximum": MOST_K}
Id = Annotated[str, Meta(extra_json_schema=ID_BOUNDS)]
Count = Annotated[int, Meta(extra_json_schema=COUNT_BOUNDS)]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
ClickTime = Annotated[
    str | float,
    Meta(description="ISO 8601, or epoch seconds, milliseconds or microseconds told apart by size"),
]
_KINDS: dict[pa.DataType, Any] = {pa.string(): str, pa.int64(): int, pa.int32(): int, pa.float64(): float}


class AttributeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an attribute must be: equal to a value or to one of a list, below a number, above a number. An
    item without it is not shown.
    """

    equal: str | float | bool | list[str | float | bool] | None = None
    below: float | None = None
    above: float | None = None


class LimitsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be shown: a category (whole words, in any case), only some ids, never some, a least score,
    most items of one category, a least share of items without a training click (drawn by the seed), rules on
    attributes such as a price.
    """

    category: str | None = None
    only: Annotated[list[Id], Meta(extra_json_schema={"maxItems": MOST_LIMITED})] = []
    exclude: Annotated[list[Id], Meta(extra_json_schema={"maxItems": MOST_LIMITED})] = []
    min_score: float | None = None
    per_category: Annotated[int, Meta(extra_json_schema={"minimum": 1})] | None = None
    new_share: Annotated[float, Meta(extra_json_schema={"minimum": 0, "maximum": 1})] = 0.0
    seed: int = 0
    attributes: Annotated[
        dict[str, AttributeBody], Meta(extra_json_schema={"maxProperties": MOST_RULES})
    ] = {}


class RecommendBody(msgspec.Struct, forbid_unknown_fields=True):
    """A session to score: its items, oldest first; and what may be shown."""

    items: Annotated[list[Id], Meta(extra_json_schema={"maxItems": MOST_ITEMS})]
    k: Count = DEFAULT_K
    limits: LimitsBody | None = None


class ClickBody(msgspec.Struct, frozen=True):
    """One click as it is sent; further fields travel with it. `decode_click` of the contract is what reads
    it.
    """

    event_id: Id
    session_id: Id
    item_id: Id
    event_time: ClickTime
    schema_version: Annotated[int, Meta(extra_json_schema={"const": SCHEMA_VERSION})] = SCHEMA_VERSION


class ClickResults(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of each click, in order; ``error`` says why when none was taken."""

    results: list[ClickResult]
    accepted: int
    refused: int
    failed: int
    error: ErrorDetail | None = None


def _feature(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return list[_feature(kind.value_type)]  # type: ignore[misc]
    return Time if pa.types.is_timestamp(kind) else _KINDS[kind]


Features = msgspec.defstruct(
    "Features",
    [(name, _feature(kind)) for name, kind in SESSION_FEATURE_FIELDS],
    namespace={"__doc__": "Live features of a session, as the one fold computes them."},
    frozen=True,
)


class Events(msgspec.Struct, frozen=True):
    """Events of the current session: how many of each type, and the items whose interest ended."""

    counts: dict[str, int]
    ended_items: list[str]


class SessionFeatures(msgspec.Struct, frozen=True):
    """What the online store holds of a session."""

    session_id: Id
    status: RowStatus
    event_time: Time | None = None
    created: Time | None = None
    features: Features | None = None  # type: ignore[valid-type]
    events: Events | None = None


class Items(msgspec.Struct, frozen=True):
    """Items found, best first."""

    items: list[Item]


class NearestItems(msgspec.Struct, frozen=True):
    """Items nearest in meaning, nearest first."""

    items: list[NearItem]


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(msgspec.Struct, frozen=True, omit_defaults=True):
    """Each part with ``ready``, or with what is wrong with it."""

    status: Literal["ready", "not ready"]
    parts: dict[str, str]
    error: ErrorDetail | None = None
