"""Names and Arrow schemas of every Delta table, in one place. All times are microseconds UTC."""

from __future__ import annotations

import pyarrow as pa

TIME = pa.timestamp("us", tz="UTC")
VECTOR = pa.list_(pa.float32())
TEXT_DIM = 384  # of all-MiniLM-L6-v2, the default encoder; other encoders bring their own, recorded in item_vectors' metadata

CLICKS = "clicks"
ITEMS = "items"
ITEM_VECTORS = "item_vectors"
SESSIONS = "sessions"
SESSION_TEXT = "session_text"
SESSION_INTENTS = "session_intents"
SESSION_FEATURES = "session_features"
ITEM_POPULARITY = "item_popularity"
TRAINING_SET = "training_set"
SCORE_LOG = "score_log"
QUARANTINE = "quarantine"
INTENT_CACHE = "intent_cache"


def _schema(*fields: tuple[str, pa.DataType, bool]) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable) for name, kind, nullable in fields])


_S, _F, _D, _L, _I = pa.string(), pa.float32(), pa.float64(), pa.int64(), pa.int32()
_NULL, _SET = True, False

# Arrival order of a session's clicks = (ingest_time, arrival_seq). arrival_seq is the Kafka offset, or for files the row's rank by event time.
# arrival_time is the Kafka record's time, or for files the event time: the instant from which a click could be known.
CLICKS_SCHEMA = _schema(
    ("event_id", _S, _SET), ("session_id", _S, _SET), ("item_id", _S, _SET), ("event_time", TIME, _SET),
    ("user_id", _S, _NULL), ("event_type", _S, _NULL), ("split", _S, _NULL), ("extra", _S, _NULL),
    ("topic", _S, _NULL), ("partition", _I, _NULL), ("offset", _L, _NULL),
    ("arrival_time", TIME, _SET), ("arrival_seq", _L, _SET), ("ingest_time", TIME, _SET), ("event_date", pa.date32(), _SET),
)  # fmt: skip

ITEMS_SCHEMA = _schema(
    ("item_id", _S, _SET), ("title", _S, _NULL), ("category", _S, _NULL), ("description", _S, _NULL), ("event_timestamp", TIME, _SET), ("created", TIME, _SET),
)  # fmt: skip

# text is what was encoded (title, then category); content_hash = hash(encoder, text), so that only changed items are encoded again.
ITEM_VECTORS_SCHEMA = _schema(
    ("item_id", _S, _SET), ("text", _S, _SET), ("content_hash", _S, _SET), ("encoder", _S, _SET), ("vector", VECTOR, _SET),
    ("event_timestamp", TIME, _SET), ("created", TIME, _SET), ("category", _S, _NULL),
)  # fmt: skip

# One row per session of the gap rule; first_position is the index of items[0] in the whole click history of that session_id.
SESSIONS_SCHEMA = _schema(
    ("session_id", _S, _SET), ("session_start", TIME, _SET), ("session_end", TIME, _SET), ("first_position", _L, _SET),
    ("items", pa.list_(_S), _SET), ("event_ids", pa.list_(_S), _SET), ("times", pa.list_(TIME), _SET), ("length", _I, _SET),
    ("split", _S, _SET), ("session_date", pa.date32(), _SET),
)  # fmt: skip

# One row per prefix that gets an intent; event_timestamp = time of the prefix's last click.
SESSION_TEXT_SCHEMA = _schema(
    ("session_id", _S, _SET), ("event_timestamp", TIME, _SET), ("items", pa.list_(_S), _SET), ("titles", pa.list_(_S), _SET),
    ("long_prompt", _S, _SET), ("short_prompt", _S, _SET), ("prompt_version", _S, _SET), ("session_date", pa.date32(), _SET),
)  # fmt: skip

SESSION_INTENTS_SCHEMA = _schema(
    ("session_id", _S, _SET), ("event_timestamp", TIME, _SET), ("created", TIME, _SET),
    ("source", _S, _SET), ("cache_key", _S, _SET),
    ("long_text", _S, _NULL), ("long_items", pa.list_(_S), _SET), ("long_cosines", VECTOR, _SET), ("long_vector", VECTOR, _SET),
    ("short_text", _S, _NULL), ("short_items", pa.list_(_S), _SET), ("short_cosines", VECTOR, _SET), ("short_vector", VECTOR, _SET),
    ("session_date", pa.date32(), _SET),
)  # fmt: skip

# What the fold gives after each click; the column names are the feature names in Feast.
SESSION_FEATURE_FIELDS: tuple[tuple[str, pa.DataType], ...] = (
    ("items", pa.list_(_S)),  # last max_items clicks of the current session, by event time
    ("last_item", _S),
    ("click_count", _L),  # valid, distinct clicks of the current session, also those beyond max_items
    ("distinct_items", _I),  # among items
    ("repeat_share", _D),  # 1 - distinct_items / len(items)
    ("duration_seconds", _D),
    ("mean_gap_seconds", _D),
    ("last_gap_seconds", _D),
    ("late_clicks", _L),
    ("session_start", TIME),
)
SESSION_FEATURES_SCHEMA = _schema(
    ("session_id", _S, _SET), ("event_timestamp", TIME, _SET), ("created", TIME, _SET),
    *((name, kind, _SET) for name, kind in SESSION_FEATURE_FIELDS),
    ("event_id", _S, _SET), ("event_date", pa.date32(), _SET),
)  # fmt: skip

ITEM_POPULARITY_SCHEMA = _schema(
    ("item_id", _S, _SET), ("event_timestamp", TIME, _SET), ("created", TIME, _SET),
    ("clicks_total", _L, _SET), ("clicks_1d", _L, _SET), ("clicks_7d", _L, _SET), ("popularity_rank", _I, _SET),
)  # fmt: skip

# One row per case: the prefix of a session before its last click, the features and intents known then, and the target.
TRAINING_SET_SCHEMA = _schema(
    ("session_id", _S, _SET), ("event_timestamp", TIME, _SET), ("position", _L, _SET), ("target", _S, _SET), ("split", _S, _SET),
    *((name, kind, _NULL) for name, kind in SESSION_FEATURE_FIELDS),
    ("intent_source", _S, _NULL), ("long_vector", VECTOR, _NULL), ("short_vector", VECTOR, _NULL),
)  # fmt: skip

# What the consumer served, one row per answered click.
SCORE_LOG_SCHEMA = _schema(
    ("topic", _S, _SET), ("partition", _I, _SET), ("offset", _L, _SET), ("event_id", _S, _SET), ("session_id", _S, _SET), ("item_id", _S, _SET),
    ("event_timestamp", TIME, _SET), ("created", TIME, _SET),
    *((name, kind, _SET) for name, kind in SESSION_FEATURE_FIELDS),
    ("recommended", pa.list_(_S), _SET), ("scores", pa.list_(_D), _SET), ("intent_source", _S, _SET), ("model_version", _S, _SET),
    ("click_time", TIME, _SET), ("scored_at", TIME, _SET),
)  # fmt: skip

QUARANTINE_SCHEMA = _schema(
    ("source", _S, _SET), ("line", _L, _NULL), ("reason", _S, _SET), ("raw", _S, _NULL), ("ingest_time", TIME, _SET),
)  # fmt: skip

# Content-addressed: key = hash(model, revision, prompt version, decoding, encoder, ordered recent items with their titles).
INTENT_CACHE_SCHEMA = _schema(
    ("cache_key", _S, _SET), ("source", _S, _SET), ("model", _S, _SET), ("prompt_version", _S, _SET),
    ("items", pa.list_(_S), _SET), ("long_text", _S, _SET), ("short_text", _S, _SET),
    ("input_tokens", _L, _SET), ("output_tokens", _L, _SET), ("seconds", _D, _SET), ("created", TIME, _SET),
)  # fmt: skip

SCHEMAS: dict[str, pa.Schema] = {
    CLICKS: CLICKS_SCHEMA, ITEMS: ITEMS_SCHEMA, ITEM_VECTORS: ITEM_VECTORS_SCHEMA, SESSIONS: SESSIONS_SCHEMA, SESSION_TEXT: SESSION_TEXT_SCHEMA,
    SESSION_INTENTS: SESSION_INTENTS_SCHEMA, SESSION_FEATURES: SESSION_FEATURES_SCHEMA, ITEM_POPULARITY: ITEM_POPULARITY_SCHEMA,
    TRAINING_SET: TRAINING_SET_SCHEMA, SCORE_LOG: SCORE_LOG_SCHEMA, QUARANTINE: QUARANTINE_SCHEMA, INTENT_CACHE: INTENT_CACHE_SCHEMA,
}  # fmt: skip

MERGE_KEYS: dict[str, tuple[str, ...]] = {
    CLICKS: ("event_id",), ITEMS: ("item_id",), ITEM_VECTORS: ("item_id",), SESSIONS: ("session_id", "session_start"),
    SESSION_TEXT: ("session_id", "event_timestamp"), SESSION_INTENTS: ("session_id", "event_timestamp"),
    SESSION_FEATURES: ("session_id", "event_id"), ITEM_POPULARITY: ("item_id", "event_timestamp"),
    TRAINING_SET: ("session_id", "position"), SCORE_LOG: ("topic", "partition", "offset"), INTENT_CACHE: ("cache_key",),
}  # fmt: skip
