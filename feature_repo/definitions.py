"""Every Feast object of IntentStore: entities, sources, views, services. Imports the contract absolutely and does no input or output.

A source's relative path is a table of the lake; `DeltaOfflineStore` finds the folder. A service's name ends in its version:
what it holds may grow, but `python -m feature_repo plan` refuses to take from it (make a new version instead).
"""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
from feast import Entity, FeatureService, FeatureView, Field, PushSource, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat
from feast.types import Array, FeastType, Float32, Float64, Int32, Int64, String, UnixTimestamp

from feature_repo.contract import columns

OWNER = "intentstore-recommendations"
NO_LIMIT = timedelta(0)  # histories may be decades old (ML-100K is of 1998); online.ttl_hours sets a maximum age where one is wanted
KEYS = {"session_id", "item_id"}
_PRIMITIVES: dict[pa.DataType, FeastType] = {
    pa.string(): String, pa.int32(): Int32, pa.int64(): Int64, pa.float32(): Float32, pa.float64(): Float64, columns.TIME: UnixTimestamp,
}  # fmt: skip

MEANINGS: dict[str, str] = {
    "items": "Last clicked items of the current session, oldest first, by event time.",
    "last_item": "The item clicked last, by event time.",
    "click_count": "Distinct valid clicks of the current session, also those beyond the kept items.",
    "distinct_items": "Different items among the kept ones.",
    "repeat_share": "Share of the kept clicks that repeat an item: 1 - distinct_items / kept clicks.",
    "duration_seconds": "Seconds from the first to the last click of the current session.",
    "mean_gap_seconds": "Mean pause between the kept clicks, in seconds; 0 for a single click.",
    "last_gap_seconds": "Pause before the last click, in seconds; 0 for a single click.",
    "late_clicks": "Clicks of the session that came after a click with a later event time.",
    "session_start": "Event time of the session's first click (exact to the microsecond in Delta and packed reads, to the second in Feast messages).",
    "source": "What inferred the intent: llm, endpoint, student or encoder.",
    "cache_key": "Content address of the inference: model, prompt, decoding, encoder and items.",
    "long_text": "The intent of the whole session in words.",
    "long_items": "Items the long intent is grounded on, nearest first.",
    "long_cosines": "Cosine of each grounding item to the long intent.",
    "long_vector": "Long intent in the centred title space, unit length.",
    "short_text": "The intent of the latest clicks in words.",
    "short_items": "Items the short intent is grounded on, nearest first.",
    "short_cosines": "Cosine of each grounding item to the short intent.",
    "short_vector": "Short intent in the centred title space, unit length.",
    "text": "What was encoded for the item: title, then category.",
    "category": "Category of the item as the catalogue has it; nearest items can be filtered by it.",
    "content_hash": "Changes when the text or the encoder changes.",
    "encoder": "Identity of the text encoder.",
    "vector": "Text vector of the item, unit length.",
    "clicks_total": "Clicks of the item up to the time.",
    "clicks_1d": "Clicks of the item in the day before the time.",
    "clicks_7d": "Clicks of the item in the seven days before the time.",
    "popularity_rank": "1 = most clicks in total at the time.",
}


def feast_type(kind: pa.DataType) -> FeastType:
    """Map an Arrow type of the contract to Feast's.

    Raises
    ------
    ValueError
        For a type that no view uses yet.

    Examples
    --------
    >>> str(feast_type(pa.list_(pa.float32())))
    'Array(Float32)'
    """
    if pa.types.is_list(kind):
        return Array(feast_type(kind.value_type))
    if kind not in _PRIMITIVES:
        raise ValueError(f"Arrow type {kind} has no Feast type here; add it to definitions._PRIMITIVES")
    return _PRIMITIVES[kind]


def _fields(schema: pa.Schema, *without: str) -> list[Field]:
    left_out = {"event_timestamp", "created", *without}
    return [
        Field(name=column.name, dtype=feast_type(column.type), description=MEANINGS.get(column.name, "Key of the entity."))
        for column in schema
        if column.name not in left_out
    ]


def _source(table: str, job: str, description: str) -> SparkSource:
    return SparkSource(
        name=table,
        path=table,
        table_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
        description=description,
        owner=OWNER,
        tags={"table": table, "job": job},
    )


session = Entity(
    name="session", join_keys=["session_id"], value_type=ValueType.STRING, owner=OWNER, tags={"grain": "session"},
    description="A visitor's clicks under one cookie or user id; the gap rule starts a new session under the same id.",
)  # fmt: skip
item = Entity(
    name="item", join_keys=["item_id"], value_type=ValueType.STRING, owner=OWNER, tags={"grain": "item"},
    description="A thing that can be clicked and recommended.",
)  # fmt: skip

session_features_source = _source(columns.SESSION_FEATURES, "session-features", "The fold's features after each click.")
session_intents_source = _source(columns.SESSION_INTENTS, "intents", "Grounded long and short intents of session prefixes.")
item_text_source = _source(columns.ITEM_VECTORS, "item-vectors", "Encoded titles and categories.")
item_popularity_source = _source(columns.ITEM_POPULARITY, "item-popularity", "Clicks of each item up to each day.")
session_features_push = PushSource(
    name="session_features_push", batch_source=session_features_source, owner=OWNER, tags={"writer": "streaming consume"},
    description="Entry for live rows; the consumer writes the same rows by LiveFeatureWriter.",
)  # fmt: skip

session_features = FeatureView(
    name="session_features", entities=[session], ttl=NO_LIMIT, online=True, source=session_features_push, owner=OWNER,
    schema=_fields(columns.SESSION_FEATURES_SCHEMA, "event_id", "event_date"),
    tags={"table": columns.SESSION_FEATURES, "job": "session-features", "freshness": "live: each click; batch: each run", "stage": "production"},
    description="What a session did up to a click: items, counts, pauses.",
)  # fmt: skip
session_intents = FeatureView(
    name="session_intents", entities=[session], ttl=NO_LIMIT, online=True, source=session_intents_source, owner=OWNER,
    schema=_fields(columns.SESSION_INTENTS_SCHEMA, "session_date"),
    tags={"table": columns.SESSION_INTENTS, "job": "intents", "freshness": "each run", "stage": "production"},
    description="What a session seems to look for, in words, items and vectors.",
)  # fmt: skip
item_text = FeatureView(
    name="item_text", entities=[item], ttl=NO_LIMIT, online=True, source=item_text_source, owner=OWNER,
    schema=_fields(columns.ITEM_VECTORS_SCHEMA),
    tags={"table": columns.ITEM_VECTORS, "job": "item-vectors", "freshness": "each run, changed items only", "stage": "production"},
    description="An item's text and its vector.",
)  # fmt: skip
item_popularity = FeatureView(
    name="item_popularity", entities=[item], ttl=NO_LIMIT, online=True, source=item_popularity_source, owner=OWNER,
    schema=_fields(columns.ITEM_POPULARITY_SCHEMA),
    tags={"table": columns.ITEM_POPULARITY, "job": "item-popularity", "freshness": "daily", "stage": "production"},
    description="How often an item was clicked up to a day.",
)  # fmt: skip

session_ranker_v1 = FeatureService(
    name="session_ranker_v1", features=[session_features, session_intents[["source", "long_vector", "short_vector"]]], owner=OWNER,
    tags={"version": "1", "consumer": "model"}, description="What the next-item model reads of a session.",
)  # fmt: skip
session_intents_v1 = FeatureService(
    name="session_intents_v1", features=[session_intents], owner=OWNER,
    tags={"version": "1"}, description="A session's intents in full: words, grounding items, vectors.",
)  # fmt: skip
item_text_v1 = FeatureService(
    name="item_text_v1", features=[item_text[["text", "category", "encoder", "vector"]], item_popularity], owner=OWNER,
    tags={"version": "1"}, description="An item's text, category, vector and popularity.",
)  # fmt: skip

OBJECTS = (
    session, item, session_features_source, session_intents_source, item_text_source, item_popularity_source, session_features_push,
    session_features, session_intents, item_text, item_popularity, session_ranker_v1, session_intents_v1, item_text_v1,
)  # fmt: skip
