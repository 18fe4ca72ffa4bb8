"""Every Delta table: columns with type, meaning and origin, merge key, and the job that fills it. Schemas,
lineage, graph and Feast are views of this.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

TIME = pa.timestamp("us", tz="UTC")  # all times are microseconds UTC
VECTOR = pa.list_(pa.float32())
# of all-MiniLM-L6-v2, the default encoder; other encoders bring their own, recorded in item_vectors' metadata
TEXT_DIM = 384

CLICKS = "clicks"
ITEMS = "items"
ITEM_UPDATES = "item_updates"
ITEM_VECTORS = "item_vectors"
SESSIONS = "sessions"
SESSION_TEXT = "session_text"
SESSION_INTENTS = "session_intents"
SESSION_FEATURES = "session_features"
ITEM_POPULARITY = "item_popularity"
TRAINING_SET = "training_set"
SCORE_LOG = "score_log"
LIVE_QUALITY = "live_quality"
SESSION_EVENTS = "session_events"  # a view of session_features
SESSION_INTENT_NAMES = "session_intent_names"  # a view of session_intents
QUARANTINE = "quarantine"
INTENT_CACHE = "intent_cache"
# filled out of what happens live, by no step of the batch half
LIVE_TABLES = (SCORE_LOG, ITEM_UPDATES, LIVE_QUALITY)


@dataclass(frozen=True)
class Field:
    """One column.

    Parameters
    ----------
    name : str
    kind : pa.DataType
    meaning : str
        What it says, in one sentence; shown wherever the column is.
    required : bool
        False = may be null.
    origins : tuple of str
        ``table.column`` of what it is made of, where that has another name or stands in another table.

    Raises
    ------
    ValueError
        The meaning is blank, or an origin is no ``table.column``.
    """

    name: str
    kind: pa.DataType
    meaning: str
    required: bool = True
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.meaning.strip():
            raise ValueError(f"column '{self.name}' has no meaning; say in one sentence what it holds")
        for origin in self.origins:
            if origin.count(".") != 1:
                raise ValueError(f"column '{self.name}': origin '{origin}' is no table.column")

    def optional(self) -> Field:
        """Return the same column where it may be null."""
        return Field(self.name, self.kind, self.meaning, False, self.origins)

    def made_of(self, *origins: str) -> Field:
        """Return the same column with other origins."""
        return Field(self.name, self.kind, self.meaning, self.required, origins)


@dataclass(frozen=True)
class Table:
    """One Delta table.

    Parameters
    ----------
    name : str
    text : str
        What it holds, for the graph and the catalogue.
    fields : tuple of Field
        In the order of the table.
    key : tuple of str
        Columns that name a row; empty = rows are only appended.
    job : str
        Words of ``python -m spark_jobs`` that fill it.
    group : str
        Group of the graph.
    kinds : tuple of str
        Marks in the graph beside Delta's.
    """

    name: str
    text: str
    fields: tuple[Field, ...]
    key: tuple[str, ...]
    job: str
    group: str
    kinds: tuple[str, ...] = ("spark",)

    @cached_property
    def schema(self) -> pa.Schema:
        """Arrow schema: names, types and whether null is allowed."""
        return pa.schema([pa.field(field.name, field.kind, not field.required) for field in self.fields])

    def field(self, name: str) -> Field:
        """Return a column; raises ``KeyError`` that names the table."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"table '{self.name}' has no column '{name}'")


_S, _F, _D, _L, _I = pa.string(), pa.float32(), pa.float64(), pa.int64(), pa.int32()
_DATE, _TEXTS, _TIMES = pa.date32(), pa.list_(_S), pa.list_(TIME)

_SESSION_ID = Field(
    "session_id",
    _S,
    "Cookie or user whose clicks these are; the gap rule starts a new session under the same id.",
)
_ITEM_ID = Field("item_id", _S, "Id of the item in the catalogue.")
_AS_OF = Field(
    "event_timestamp", TIME, "Instant from which the row was known; as-of reads take the latest one."
)
_CREATED = Field("created", TIME, "When the row was written; decides between rows of the same instant.")
_EVENT_ID = Field("event_id", _S, "Id of the click.")

# What a source says of a click. Folder, Kafka, replay and model read these columns by this list; a further
# column of text is one more line here, and what public logs call it stands in `spellings.columns`.
CLICK_FIELDS = (
    _EVENT_ID,
    _SESSION_ID,
    Field("item_id", _S, "Item that was clicked; it need not be in the catalogue."),
    Field("event_time", TIME, "When the visitor clicked."),
    Field("user_id", _S, "User, where the source names one.", False),
    Field("event_type", _S, "Kind of event as the source names it: click, view, purchase ...", False),
)
CLICK_COLUMNS = tuple(field.name for field in CLICK_FIELDS)
OPTIONAL_CLICK_COLUMNS = tuple(field.name for field in CLICK_FIELDS if not field.required)

# Arrival order of a session's clicks = (ingest_time, arrival_seq).
_CLICKS = Table(
    CLICKS,
    (
        "Every click that was accepted, from files and from Kafka, once per `event_id`. From the dataset "
        "folder (`dataset.path`) or ML-100K."
    ),
    (
        *CLICK_FIELDS,
        Field("split", _S, "Split file the click came from; null where the split is by time.", False),
        Field("extra", _S, "Further columns of the source, as JSON.", False),
        Field("topic", _S, "Kafka topic; null for files.", False),
        Field("partition", _I, "Kafka partition; null for files.", False),
        Field("offset", _L, "Kafka offset; null for files.", False),
        Field(
            "arrival_time",
            TIME,
            "Instant from which the click could be known: the Kafka record's time, for files the event time.",
        ),
        Field("arrival_seq", _L, "Order of arrival: the Kafka offset, for files the rank by event time."),
        Field("ingest_time", TIME, "When the row was written."),
        Field("event_date", _DATE, "Day of the event time, UTC."),
    ),
    ("event_id",),
    "ingest",
    "ingest",
)

_ITEMS = Table(
    ITEMS,
    "The catalogue: titles and categories. A click on an item that is not here is kept and counted.",
    (
        _ITEM_ID,
        Field("title", _S, "Name of the item as people read it.", False),
        Field("category", _S, "Category of the item as the catalogue has it.", False),
        Field("description", _S, "Longer text, where the catalogue has one.", False),
        _AS_OF,
        _CREATED,
        # Tables made by earlier versions get this column at their next write.
        Field(
            "raw", _S, "Texts as they came, JSON by column, where HTML entities in them were decoded.", False
        ),
        Field(
            "available",
            pa.bool_(),
            "Whether the item may be recommended; null = the source does not say, so it may.",
            False,
        ),
        Field("attributes", _S, "Price, language and the like, JSON by name; null = not said.", False),
        Field("extra", _S, "Further fields of the items topic, as JSON.", False),
    ),
    ("item_id",),
    "ingest",
    "ingest",
)

_ITEM_UPDATES = Table(
    ITEM_UPDATES,
    (
        "Every record of the items topic that was accepted, once: what was said of an item, from when on. "
        "Of an item the latest offset counts."
    ),
    (
        Field("topic", _S, "Kafka topic."),
        Field("partition", _I, "Kafka partition."),
        Field("offset", _L, "Kafka offset."),
        _ITEM_ID,
        Field("title", _S, "Name of the item; null = the record does not say.", False),
        Field("category", _S, "Category of the item; null = the record does not say.", False),
        Field("available", pa.bool_(), "Whether the item may be recommended from then on."),
        Field("withdrawn", pa.bool_(), "Whether it was a record without a value."),
        Field("attributes", _S, "Price, language and the like, JSON by name.", False),
        Field("extra", _S, "Further fields, as JSON.", False),
        Field("arrival_time", TIME, "Time of the Kafka record: from when on this was known."),
        Field("ingest_time", TIME, "When the row was written."),
    ),
    ("topic", "partition", "offset"),
    "ingest --items",
    "ingest",
)

_ITEM_VECTORS = Table(
    ITEM_VECTORS,
    "One unit vector per item from the text encoder; only items whose text changed are encoded again.",
    (
        _ITEM_ID.made_of("items.item_id"),
        Field(
            "text",
            _S,
            "What was encoded for the item: title, then category.",
            True,
            ("items.title", "items.category"),
        ),
        Field("content_hash", _S, "Changes when the text or the encoder changes."),
        Field("encoder", _S, "Identity of the text encoder."),
        Field(
            "vector", VECTOR, "Text vector of the item, unit length.", True, ("items.title", "items.category")
        ),
        _AS_OF,
        _CREATED,
        Field(
            "category",
            _S,
            "Category of the item as the catalogue has it; nearest items can be filtered by it.",
            False,
            ("items.category",),
        ),
    ),
    ("item_id",),
    "item-vectors",
    "sessions",
    ("spark", "huggingface"),
)

_SESSIONS = Table(
    SESSIONS,
    "Clicks cut into sessions by the gap rule (`session.gap_minutes`), with the split they belong to.",
    (
        _SESSION_ID.made_of("clicks.session_id"),
        Field("session_start", TIME, "Event time of the first click.", True, ("clicks.event_time",)),
        Field("session_end", TIME, "Event time of the last click.", True, ("clicks.event_time",)),
        Field("first_position", _L, "Index of the first click in the whole history of the session id."),
        Field("items", _TEXTS, "Clicked items, oldest first.", True, ("clicks.item_id",)),
        Field(
            "event_ids", _TEXTS, "Ids of the clicks, in the order of the items.", True, ("clicks.event_id",)
        ),
        Field(
            "times",
            _TIMES,
            "Event times of the clicks, in the order of the items.",
            True,
            ("clicks.event_time",),
        ),
        Field("length", _I, "Number of clicks."),
        Field("split", _S, "train, valid or test.", True, ("clicks.event_time", "clicks.split")),
        Field("session_date", _DATE, "Day of the session's end, UTC."),
        Field(
            "weights",
            VECTOR,
            "How much each click's item is spoken for, by session.event_types.weights; a plain click is 1.",
            False,
            ("clicks.event_type",),
        ),
    ),
    ("session_id", "session_start"),
    "sessionise",
    "sessions",
)

_SESSION_TEXT = Table(
    SESSION_TEXT,
    "The long and the short prompt of each session prefix, as the LLM sees them.",
    (
        _SESSION_ID.made_of("sessions.session_id"),
        Field("event_timestamp", TIME, "Time of the prefix's last click.", True, ("sessions.times",)),
        Field("items", _TEXTS, "Items of the prefix, oldest first.", True, ("sessions.items",)),
        Field(
            "titles",
            _TEXTS,
            "Their titles as the prompt shows them.",
            True,
            ("items.title", "sessions.items"),
        ),
        Field(
            "long_prompt",
            _S,
            "Question for the intent of the whole session.",
            True,
            ("items.title", "sessions.items"),
        ),
        Field(
            "short_prompt",
            _S,
            "Question for the intent of the latest clicks.",
            True,
            ("items.title", "sessions.items"),
        ),
        Field("prompt_version", _S, "Version of the prompts' wording."),
        Field("session_date", _DATE, "Day of the session's end, UTC."),
    ),
    ("session_id", "event_timestamp"),
    "session-text",
    "intents",
)


def _view(view: str, of_what: str) -> tuple[Field, ...]:
    prompt = f"session_text.{view}_prompt"
    return (
        Field(f"{view}_text", _S, f"The intent of {of_what} in words.", False, (prompt,)),
        Field(
            f"{view}_items",
            _TEXTS,
            f"Items the {view} intent is grounded on, nearest first.",
            True,
            ("item_vectors.item_id", prompt),
        ),
        Field(f"{view}_cosines", VECTOR, f"Cosine of each grounding item to the {view} intent."),
        Field(
            f"{view}_vector",
            VECTOR,
            f"{view.capitalize()} intent in the centred title space, unit length.",
            True,
            (prompt, "item_vectors.vector"),
        ),
    )


def _named(view: str) -> tuple[Field, ...]:
    nearest = ("item_vectors.item_id", f"session_text.{view}_prompt")
    return (
        Field(
            f"{view}_name",
            _S,
            f"What the items shown for the {view} intent have in common and the catalogue has not: "
            "categories and title words; never a clicked title.",
            False,
            ("items.category", "items.title", *nearest),
        ),
        Field(
            f"{view}_shown",
            _TEXTS,
            f"Items that stand for the {view} intent, nearest first; at least half were not clicked.",
            False,
            nearest,
        ),
    )


# A Feast view of its own over the same table, so that rows and readers of the view above stay as they are.
# Tables made by earlier versions get these columns at their next write.
_NAMES = (*_named("long"), *_named("short"))
SESSION_INTENT_NAME_FIELDS: tuple[tuple[str, pa.DataType], ...] = tuple(
    (field.name, field.kind) for field in _NAMES
)

_SESSION_INTENTS = Table(
    SESSION_INTENTS,
    "Long and short intent of each session: text, the items it is grounded on, its vector. "
    "LLM under a call budget, cached; the rest from the fallback source.",
    (
        _SESSION_ID.made_of("session_text.session_id"),
        _AS_OF,
        _CREATED,
        Field("source", _S, "What inferred the intent: llm, endpoint, student or encoder."),
        Field(
            "cache_key", _S, "Content address of the inference: model, prompt, decoding, encoder and items."
        ),
        *_view("long", "the whole session"),
        *_view("short", "the latest clicks"),
        Field("session_date", _DATE, "Day of the session's end, UTC."),
        *_NAMES,
    ),
    ("session_id", "event_timestamp"),
    "intents",
    "intents",
    ("spark", "openai"),
)

# What the fold gives after each click; the column names are the feature names in Feast.
_FOLDED = (
    Field(
        "items",
        _TEXTS,
        "Last clicked items of the current session, oldest first, by event time.",
        True,
        ("clicks.item_id", "clicks.arrival_time"),
    ),
    Field("last_item", _S, "The item clicked last, by event time.", True, ("clicks.item_id",)),
    Field(
        "click_count",
        _L,
        "Distinct valid clicks of the current session, also those beyond the kept items.",
        True,
        ("clicks.event_id",),
    ),
    Field("distinct_items", _I, "Different items among the kept ones."),
    Field(
        "repeat_share", _D, "Share of the kept clicks that repeat an item: 1 - distinct_items / kept clicks."
    ),
    Field(
        "duration_seconds",
        _D,
        "Seconds from the first to the last click of the current session.",
        True,
        ("clicks.event_time",),
    ),
    Field("mean_gap_seconds", _D, "Mean pause between the kept clicks, in seconds; 0 for a single click."),
    Field("last_gap_seconds", _D, "Pause before the last click, in seconds; 0 for a single click."),
    Field(
        "late_clicks",
        _L,
        "Clicks of the session that came after a click with a later event time.",
        True,
        ("clicks.arrival_time", "clicks.event_time"),
    ),
    Field(
        "session_start",
        TIME,
        (
            "Event time of the session's first click (exact to the microsecond in Delta and packed reads, "
            "to the second in Feast messages)."
        ),
        True,
        ("clicks.event_time",),
    ),
)
SESSION_FEATURE_FIELDS: tuple[tuple[str, pa.DataType], ...] = tuple(
    (field.name, field.kind) for field in _FOLDED
)

# What the fold counts beside the clicks; a Feast view of its own over the same table, so that rows and
# readers of the view above stay as they are. Tables made by earlier versions get these columns at their next
# write.
_EVENTS = (
    Field(
        "event_types",
        _TEXTS,
        "Types of the current session's events, clicks and others, sorted by name.",
        False,
        ("clicks.event_type",),
    ),
    Field(
        "event_counts",
        pa.list_(_L),
        "How often each of them, in the order of event_types.",
        False,
        ("clicks.event_type", "clicks.event_id"),
    ),
    Field(
        "ended_items",
        _TEXTS,
        "Items whose interest ended in the current session, such as by a purchase; not recommended again.",
        False,
        ("clicks.event_type", "clicks.item_id"),
    ),
)
SESSION_EVENT_FIELDS: tuple[tuple[str, pa.DataType], ...] = tuple(
    (field.name, field.kind) for field in _EVENTS
)

_SESSION_FEATURES = Table(
    SESSION_FEATURES,
    "What the one fold gives after each click, in order of arrival. The consumer computes the same live.",
    (
        _SESSION_ID.made_of("clicks.session_id"),
        Field("event_timestamp", TIME, "Event time of the newest click.", True, ("clicks.event_time",)),
        _CREATED,
        *_FOLDED,
        Field("event_id", _S, "Id of the click after which this holds.", True, ("clicks.event_id",)),
        Field("event_date", _DATE, "Day of the click, UTC."),
        *_EVENTS,
    ),
    ("session_id", "event_id"),
    "session-features",
    "features",
)

_COUNTED = ("clicks.event_time", "clicks.item_id")
_ITEM_POPULARITY = Table(
    ITEM_POPULARITY,
    "Clicks and rank of each item per day.",
    (
        _ITEM_ID.made_of("clicks.item_id"),
        _AS_OF,
        _CREATED,
        Field("clicks_total", _L, "Clicks of the item up to the time.", True, _COUNTED),
        Field("clicks_1d", _L, "Clicks of the item in the day before the time.", True, _COUNTED),
        Field("clicks_7d", _L, "Clicks of the item in the seven days before the time.", True, _COUNTED),
        Field("popularity_rank", _I, "1 = most clicks in total at the time.", True, _COUNTED),
    ),
    ("item_id", "event_timestamp"),
    "item-popularity",
    "features",
)

_TRAINING_SET = Table(
    TRAINING_SET,
    (
        "One row a case: the prefix, its features and intents as they were known at its time (as-of join), "
        "and the next item."
    ),
    (
        _SESSION_ID.made_of("sessions.session_id"),
        Field("event_timestamp", TIME, "Time of the prefix's last click."),
        Field("position", _L, "Position of the target in its session, from 0."),
        Field("target", _S, "The next item.", True, ("sessions.items",)),
        Field("split", _S, "train, valid or test.", True, ("sessions.split",)),
        *(field.optional().made_of(f"session_features.{field.name}") for field in _FOLDED),
        Field("intent_source", _S, "What inferred the prefix's intents.", False, ("session_intents.source",)),
        Field(
            "long_vector",
            VECTOR,
            "Long intent known at the prefix's time.",
            False,
            ("session_intents.long_vector",),
        ),
        Field(
            "short_vector",
            VECTOR,
            "Short intent known at the prefix's time.",
            False,
            ("session_intents.short_vector",),
        ),
    ),
    ("session_id", "position"),
    "training-set",
    "features",
    ("spark", "feast"),
)

_MODEL_VERSION = Field("model_version", _S, "Model that answered; none = popularity.")
_SCORE_LOG = Table(
    SCORE_LOG,
    "What the consumer served, with the features that it used; one row an answered click.",
    (
        Field("topic", _S, "Kafka topic of the click."),
        Field("partition", _I, "Kafka partition of the click."),
        Field("offset", _L, "Kafka offset of the click."),
        _EVENT_ID,
        _SESSION_ID,
        Field("item_id", _S, "Item that was clicked."),
        _AS_OF,
        _CREATED,
        *(field.made_of() for field in _FOLDED),
        Field("recommended", _TEXTS, "Recommended items, best first."),
        Field("scores", pa.list_(_D), "Their scores."),
        Field("intent_source", _S, "What inferred the intents that were scored with."),
        _MODEL_VERSION,
        Field("click_time", TIME, "Event time of the click."),
        Field("scored_at", TIME, "When the answer was made."),
        *(field.made_of() for field in _EVENTS),
        Field(
            "reason_sources",
            _TEXTS,
            "Source that gave most of each recommended item's score, in their order.",
            False,
        ),
    ),
    ("topic", "partition", "offset", "event_id"),
    "ingest --score-log",
    "serving",
)

_QUARANTINE = Table(
    QUARANTINE,
    "Rows that ingest refused, with file, line and reason.",
    (
        Field("source", _S, "File or topic."),
        Field("line", _L, "Line, row or offset in it.", False),
        Field("reason", _S, "What is wrong, and the remedy."),
        Field("raw", _S, "The row as it came, cut where it is very long.", False),
        Field("ingest_time", TIME, "When it was refused."),
    ),
    (),
    "ingest",
    "ingest",
)

# Content-addressed: key = hash(model, revision, prompt version, decoding, encoder, ordered recent items with
# their titles).
_INTENT_CACHE = Table(
    INTENT_CACHE,
    "Every LLM answer that was ever paid for, by the hash of everything it depends on.",
    (
        Field("cache_key", _S, "Hash of everything the answer depends on."),
        Field("source", _S, "llm or endpoint."),
        Field("model", _S, "Name of the language model."),
        Field("prompt_version", _S, "Version of the prompts' wording."),
        Field("items", _TEXTS, "Items that were shown, oldest first."),
        Field("long_text", _S, "Answer to the long prompt."),
        Field("short_text", _S, "Answer to the short prompt."),
        Field("input_tokens", _L, "Tokens of both prompts."),
        Field("output_tokens", _L, "Tokens of both answers."),
        Field("seconds", _D, "Time of both calls."),
        _CREATED,
    ),
    ("cache_key",),
    "intents",
    "intents",
    (),
)


def _measured(metric: str, k: int) -> tuple[Field, ...]:
    what = "Share of cases whose next click is" if metric == "hit" else "Mean of 1 / rank of next clicks"
    return (
        Field(f"{metric}_{k}", _D, f"{what} among the first {k}; null without a case.", False),
        Field(
            f"{metric}_{k}_low", _D, f"Lower end of its 95 % interval over sessions ({metric}@{k}).", False
        ),
        Field(
            f"{metric}_{k}_high", _D, f"Upper end of its 95 % interval over sessions ({metric}@{k}).", False
        ),
    )


LIVE_CUTOFFS = (5, 10, 20)
_LIVE_QUALITY = Table(
    LIVE_QUALITY,
    "What answers were worth: each judged by the next click of its session, by hour and day, model version "
    "and slice.",
    (
        Field("period", _S, "hour or day."),
        Field(
            "start",
            TIME,
            "Its beginning, UTC; an answer counts where it was made.",
            True,
            ("score_log.scored_at",),
        ),
        _MODEL_VERSION.made_of("score_log.model_version"),
        Field(
            "slice",
            _S,
            "What the cases have in common: all, basis (what was taken as shown), intents (their source), "
            "target (cold or warm), reason (source of a shown item), position (of a shown item), session "
            "(first click or later).",
        ),
        Field("value", _S, "Which one of the slice; `all` of the slice `all`."),
        Field("answers", _L, "Answers of the period, judged or not; only for all.", False),
        Field(
            "cases",
            _L,
            "Answers with a next click; for reason and position those that showed such an item.",
            True,
            ("clicks.event_time", "score_log.offset"),
        ),
        Field("sessions", _L, "Session ids that these cases are of."),
        *(field for k in LIVE_CUTOFFS for field in _measured("hit", k)),
        *(field for k in LIVE_CUTOFFS for field in _measured("mrr", k)),
        Field("day", _DATE, "Day of the period, UTC."),
    ),
    ("period", "start", "model_version", "slice", "value"),
    "live-quality",
    "serving",
)


def _by_name(tables: Iterable[Table]) -> dict[str, Table]:
    return {table.name: table for table in tables}


TABLES: dict[str, Table] = _by_name(
    (
        _CLICKS,
        _ITEMS,
        _ITEM_UPDATES,
        _ITEM_VECTORS,
        _SESSIONS,
        _SESSION_TEXT,
        _SESSION_INTENTS,
        _SESSION_FEATURES,
        _ITEM_POPULARITY,
        _TRAINING_SET,
        _SCORE_LOG,
        _LIVE_QUALITY,
        _QUARANTINE,
        _INTENT_CACHE,
    )
)
SCHEMAS: dict[str, pa.Schema] = {name: table.schema for name, table in TABLES.items()}
MERGE_KEYS: dict[str, tuple[str, ...]] = {name: table.key for name, table in TABLES.items() if table.key}
CLICKS_SCHEMA = SCHEMAS[CLICKS]
ITEMS_SCHEMA = SCHEMAS[ITEMS]
ITEM_VECTORS_SCHEMA = SCHEMAS[ITEM_VECTORS]
SESSIONS_SCHEMA = SCHEMAS[SESSIONS]
SESSION_TEXT_SCHEMA = SCHEMAS[SESSION_TEXT]
SESSION_INTENTS_SCHEMA = SCHEMAS[SESSION_INTENTS]
SCORE_LOG_SCHEMA = SCHEMAS[SCORE_LOG]
QUARANTINE_SCHEMA = SCHEMAS[QUARANTINE]
INTENT_CACHE_SCHEMA = SCHEMAS[INTENT_CACHE]
