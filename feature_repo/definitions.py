"""Every Feast object of IntentStore: entities, sources, views, services. Imports the contract absolutely and
does no input or output.

A source's relative path is a table of the lake; `DeltaOfflineStore` finds the folder. A service's name ends
in its version: what it holds may grow, but `python -m feature_repo plan` refuses to take from it (make a new
version instead).
"""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
from feast import Entity, FeatureService, FeatureView, Field, PushSource, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat
from feast.types import Array, FeastType, Float32, Float64, Int32, Int64, String, UnixTimestamp

from feature_repo.contract import tables as columns

OWNER = "intentstore-recommendations"
# histories may be decades old (ML-100K is of 1998); online.ttl_hours sets a maximum age where one is wanted
NO_LIMIT = timedelta(0)
KEYS = {"session_id", "item_id"}
FOLD_FIELDS = tuple(name for name, _ in columns.SESSION_FEATURE_FIELDS)
EVENT_FIELDS = tuple(name for name, _ in columns.SESSION_EVENT_FIELDS)
NAME_FIELDS = tuple(name for name, _ in columns.SESSION_INTENT_NAME_FIELDS)
INTENT_FIELDS = tuple(
    field.name
    for field in columns.TABLES[columns.SESSION_INTENTS].fields
    if field.name not in {"session_id", *NAME_FIELDS}
)
_PRIMITIVES: dict[pa.DataType, FeastType] = {
    pa.string(): String,
    pa.int32(): Int32,
    pa.int64(): Int64,
    pa.float32(): Float32,
    pa.float64(): Float64,
    columns.TIME: UnixTimestamp,
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


def _fields(table: str, *without: str) -> list[Field]:
    """Columns of a table as features, with their meanings; its times and ``without`` are left out."""
    left_out = {"event_timestamp", "created", *without}
    return [
        Field(name=column.name, dtype=feast_type(column.kind), description=column.meaning)
        for column in columns.TABLES[table].fields
        if column.name not in left_out
    ]


def _source(table: str) -> SparkSource:
    made = columns.TABLES[table]
    return SparkSource(
        name=table,
        path=table,
        table_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
        description=made.text,
        owner=OWNER,
        tags={"table": table, "job": made.job},
    )


session = Entity(
    name="session",
    join_keys=["session_id"],
    value_type=ValueType.STRING,
    owner=OWNER,
    tags={"grain": "session"},
    description=(
        "A visitor's clicks under one cookie or user id; the gap rule starts a new session under the same id."
    ),
)
item = Entity(
    name="item",
    join_keys=["item_id"],
    value_type=ValueType.STRING,
    owner=OWNER,
    tags={"grain": "item"},
    description="A thing that can be clicked and recommended.",
)

session_features_source = _source(columns.SESSION_FEATURES)
session_intents_source = _source(columns.SESSION_INTENTS)
item_text_source = _source(columns.ITEM_VECTORS)
item_popularity_source = _source(columns.ITEM_POPULARITY)
session_features_push = PushSource(
    name="session_features_push",
    batch_source=session_features_source,
    owner=OWNER,
    tags={"writer": "streaming consume"},
    description="Entry for live rows; the consumer writes the same rows by LiveFeatureWriter.",
)

session_events_push = PushSource(
    name="session_events_push",
    batch_source=session_features_source,
    owner=OWNER,
    tags={"writer": "streaming consume"},
    description="Entry for live rows of the events by type; the consumer writes them with the others.",
)

session_features = FeatureView(
    name="session_features",
    entities=[session],
    ttl=NO_LIMIT,
    online=True,
    source=session_features_push,
    owner=OWNER,
    schema=_fields(columns.SESSION_FEATURES, "event_id", "event_date", *EVENT_FIELDS),
    tags={
        "table": columns.SESSION_FEATURES,
        "job": "session-features",
        "freshness": "live: each click; batch: each run",
        "stage": "production",
    },
    description="What a session did up to a click: items, counts, pauses.",
)
session_events = FeatureView(
    name=columns.SESSION_EVENTS,
    entities=[session],
    ttl=NO_LIMIT,
    online=True,
    source=session_events_push,
    owner=OWNER,
    schema=_fields(columns.SESSION_FEATURES, "event_id", "event_date", *FOLD_FIELDS),
    tags={
        "table": columns.SESSION_FEATURES,
        "job": "session-features",
        "freshness": "live: each click; batch: each run",
        "stage": "production",
    },
    description="A session's events by type, and the items whose interest ended.",
)
session_intents = FeatureView(
    name="session_intents",
    entities=[session],
    ttl=NO_LIMIT,
    online=True,
    source=session_intents_source,
    owner=OWNER,
    schema=_fields(columns.SESSION_INTENTS, "session_date", *NAME_FIELDS),
    tags={"table": columns.SESSION_INTENTS, "job": "intents", "freshness": "each run", "stage": "production"},
    description="What a session seems to look for, in words, items and vectors.",
)
session_intent_names = FeatureView(
    name=columns.SESSION_INTENT_NAMES,
    entities=[session],
    ttl=NO_LIMIT,
    online=True,
    source=session_intents_source,
    owner=OWNER,
    schema=_fields(columns.SESSION_INTENTS, *INTENT_FIELDS),
    tags={"table": columns.SESSION_INTENTS, "job": "intents", "freshness": "each run", "stage": "production"},
    description="What a session's intents are called, and the items that stand for them.",
)
item_text = FeatureView(
    name="item_text",
    entities=[item],
    ttl=NO_LIMIT,
    online=True,
    source=item_text_source,
    owner=OWNER,
    schema=_fields(columns.ITEM_VECTORS),
    tags={
        "table": columns.ITEM_VECTORS,
        "job": "item-vectors",
        "freshness": "each run, changed items only",
        "stage": "production",
    },
    description="An item's text and its vector.",
)
item_popularity = FeatureView(
    name="item_popularity",
    entities=[item],
    ttl=NO_LIMIT,
    online=True,
    source=item_popularity_source,
    owner=OWNER,
    schema=_fields(columns.ITEM_POPULARITY),
    tags={
        "table": columns.ITEM_POPULARITY,
        "job": "item-popularity",
        "freshness": "daily",
        "stage": "production",
    },
    description="How often an item was clicked up to a day.",
)

session_ranker_v1 = FeatureService(
    name="session_ranker_v1",
    features=[session_features, session_intents[["source", "long_vector", "short_vector"]]],
    owner=OWNER,
    tags={"version": "1", "consumer": "model"},
    description="What the next-item model reads of a session.",
)
session_ranker_v2 = FeatureService(
    name="session_ranker_v2",
    features=[session_features, session_events, session_intents[["source", "long_vector", "short_vector"]]],
    owner=OWNER,
    tags={"version": "2", "consumer": "model"},
    description="What version 1 holds, and the session's events by type.",
)
session_intents_v1 = FeatureService(
    name="session_intents_v1",
    features=[session_intents],
    owner=OWNER,
    tags={"version": "1"},
    description="A session's intents in full: words, grounding items, vectors.",
)
session_intents_v2 = FeatureService(
    name="session_intents_v2",
    features=[session_intents, session_intent_names],
    owner=OWNER,
    tags={"version": "2"},
    description="What version 1 holds, and the names of the intents with the items that stand for them.",
)
item_text_v1 = FeatureService(
    name="item_text_v1",
    features=[item_text[["text", "category", "encoder", "vector"]], item_popularity],
    owner=OWNER,
    tags={"version": "1"},
    description="An item's text, category, vector and popularity.",
)

OBJECTS = (
    session,
    item,
    session_features_source,
    session_intents_source,
    item_text_source,
    item_popularity_source,
    session_features_push,
    session_events_push,
    session_features,
    session_events,
    session_intents,
    session_intent_names,
    item_text,
    item_popularity,
    session_ranker_v1,
    session_ranker_v2,
    session_intents_v1,
    session_intents_v2,
    item_text_v1,
)
