"""The checks themselves: each looks at tables of the lake and says what it found. Knows nothing of
Dagster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.contract import tables as columns
from feature_repo.contract.events.rules import EventRules, ruled
from feature_repo.contract.settings import ASKED_SOURCES, Settings
from spark_jobs.lake.log import DeltaLog

EXAMPLES = 5  # rows that a failed check names
MAX_UNKNOWN_ITEM_SHARE = 0.05
VOLUME_FACTOR = 20.0  # a day this many times above or below the median of the days before it is worth a look
VOLUME_DAYS = 28
MAX_COPY_SHARE = 0.90
UNIT_TOLERANCE = 1e-2  # of a vector's length; vectors are stored as float32


@dataclass(frozen=True)
class Outcome:
    """Result of one check.

    Parameters
    ----------
    passed : bool
        Whether the table is as expected.
    text : str
        One line for the graph: what was found, and the remedy when it failed.
    facts : dict
        Figures and examples of rows.
    """

    passed: bool
    text: str
    facts: dict[str, Any] = field(default_factory=dict)


def _read(settings: Settings, table: str, *names: str) -> pa.Table:
    return DeltaLog(settings.table(table)).read(names)


def _examples(table: pa.Table, mask: pa.ChunkedArray | pa.Array) -> list[dict[str, Any]]:
    return _as_text(table.filter(mask))


def _as_text(table: pa.Table) -> list[dict[str, Any]]:
    """Return the first rows for people: every value as text."""
    rows = table.slice(0, EXAMPLES).to_pylist()
    return [dict(zip(row, map(str, row.values()), strict=True)) for row in rows]


_KINDS = {
    "int32": "integer",
    "int64": "long",
    "float": "float",
    "double": "double",
    "string": "string",
    "date32[day]": "date",
    "bool": "boolean",
}


def delta_type(kind: pa.DataType) -> str:
    """Name an Arrow type as Delta does.

    Examples
    --------
    >>> delta_type(pa.list_(pa.float32())), delta_type(pa.timestamp("us", "UTC"))
    ('array<float>', 'timestamp')
    """
    if pa.types.is_list(kind):
        return f"array<{delta_type(kind.value_type)}>"
    return "timestamp" if pa.types.is_timestamp(kind) else _KINDS.get(str(kind), str(kind))


def schema_matches(table: str) -> Callable[[Settings, Mapping[str, Any]], Outcome]:
    """Return the check that a table has the columns of the contract with their types (more columns are
    fine).
    """

    def test(settings: Settings, details: Mapping[str, Any]) -> Outcome:
        stored = DeltaLog(settings.table(table)).stored_schema()
        wanted = {
            name: delta_type(columns.SCHEMAS[table].field(name).type) for name in columns.SCHEMAS[table].names
        }
        wrong = {
            name: f"is {stored.get(name, 'missing')}, expected {kind}"
            for name, kind in wanted.items()
            if stored.get(name) != kind
        }
        text = (
            f"{len(wanted)} columns as in the contract"
            if not wrong
            else f"columns of '{table}' differ: {wrong}; remove the table and materialise it again"
        )
        return Outcome(not wrong, text, {"differences": wrong})

    return test


def keys_whole(table: str) -> Callable[[Settings, Mapping[str, Any]], Outcome]:
    """Return the check that the columns of the merge key are never null or blank and never repeat."""
    key = columns.MERGE_KEYS[table]

    def test(settings: Settings, details: Mapping[str, Any]) -> Outcome:
        rows = _read(settings, table, *key)
        empty = (
            pa.chunked_array([pa.array([False] * rows.num_rows)])
            if rows.num_rows
            else pa.chunked_array([pa.array([], pa.bool_())])
        )
        for name in key:
            column = rows[name]
            bad = (
                pc.or_(pc.is_null(column), pc.equal(pc.utf8_trim_whitespace(column), ""))
                if pa.types.is_string(column.type)
                else pc.is_null(column)
            )
            empty = pc.or_(empty, pc.fill_null(bad, True))
        nulls = pc.sum(empty).as_py() or 0
        counted = rows.group_by(list(key)).aggregate([([], "count_all")])
        repeated = pc.greater(counted["count_all"], 1)
        repeats = pc.sum(repeated).as_py() or 0
        facts = {
            "rows": rows.num_rows,
            "blank": nulls,
            "repeated": repeats,
            "examples": _examples(rows, empty) + _examples(counted, repeated),
        }
        if nulls or repeats:
            return Outcome(
                False,
                (
                    f"'{table}': {nulls} rows with a blank key {key}, {repeats} keys more than once, e.g. "
                    f"{facts['examples'][:1]}; see the job's log"
                ),
                facts,
            )
        return Outcome(True, f"{rows.num_rows:,} rows, every key {key} once", facts)

    return test


def not_empty(table: str) -> Callable[[Settings, Mapping[str, Any]], Outcome]:
    """Return the check that a table holds rows."""

    def test(settings: Settings, details: Mapping[str, Any]) -> Outcome:
        rows = DeltaLog(settings.table(table)).snapshot().rows()
        return Outcome(
            rows > 0,
            f"{rows:,} rows"
            if rows
            else f"'{table}' is empty; look at `quarantine` and at the dataset folder",
            {"rows": rows},
        )

    return test


def refused_share(settings: Settings, details: Mapping[str, Any]) -> Outcome:
    """Compare what ingest refused with what it took."""
    refused = (
        DeltaLog(settings.table(columns.QUARANTINE)).snapshot().rows()
        if DeltaLog(settings.table(columns.QUARANTINE)).version() >= 0
        else 0
    )
    taken = DeltaLog(settings.table(columns.CLICKS)).snapshot().rows()
    share, limit = refused / max(1, refused + taken), settings.dataset.max_refused_share
    examples: list[dict[str, Any]] = []
    if refused:
        examples = _as_text(_read(settings, columns.QUARANTINE, "source", "line", "reason"))
    text = f"{refused:,} of {refused + taken:,} rows refused ({share:.2%})"
    remedy = (
        ""
        if share <= limit
        else f", more than {limit:.0%}; first: {examples[:1]}; correct the files named in `quarantine`"
    )
    return Outcome(share <= limit, text + remedy, {"refused": refused, "share": share, "examples": examples})


def items_known(settings: Settings, details: Mapping[str, Any]) -> Outcome:
    """Count clicks on items that the catalogue does not hold: news rather than errors, so this only warns."""
    clicks = _read(settings, columns.CLICKS, "event_id", "item_id")
    known = _read(settings, columns.ITEMS, "item_id")["item_id"]
    unknown = pc.invert(pc.is_in(clicks["item_id"], value_set=known.combine_chunks()))
    number = pc.sum(unknown).as_py() or 0
    share = number / max(1, clicks.num_rows)
    text = f"{number:,} of {clicks.num_rows:,} clicks are on items without a catalogue row ({share:.2%})"
    good = share <= MAX_UNKNOWN_ITEM_SHARE or len(known) == 0
    return Outcome(
        good,
        text if good else f"{text}; add them to items.*",
        {"unknown": number, "share": share, "examples": _examples(clicks, unknown)},
    )


def volume(settings: Settings, details: Mapping[str, Any]) -> Outcome:
    """Compare the newest whole day with the median of the days before it."""
    days = (
        _read(settings, columns.CLICKS, "event_date")
        .group_by("event_date")
        .aggregate([([], "count_all")])
        .sort_by("event_date")
    )
    counts = [int(value) for value in days["count_all"].to_pylist()]
    if len(counts) < 8:  # fewer days say nothing about what is usual
        return Outcome(True, f"{len(counts)} days of clicks; too few to compare", {"days": len(counts)})
    last, usual = counts[-2], sorted(counts[-2 - VOLUME_DAYS : -2])  # the newest day may not be over yet
    median = usual[len(usual) // 2]
    good = median / VOLUME_FACTOR <= last <= median * VOLUME_FACTOR
    day = days["event_date"].to_pylist()[-2]
    text = f"{day}: {last:,} clicks, usually {median:,} a day"
    return Outcome(
        good,
        text if good else f"{text}; check that day's files, then ingest it again",
        {"day": str(day), "clicks": last, "median": median},
    )


def sessions_cover(settings: Settings, details: Mapping[str, Any]) -> Outcome:
    """Check that each event that is a click is in exactly one session."""
    clicks = int(_folded(settings, _read(settings, columns.CLICKS, "event_type")).sum())
    lengths = pc.sum(_read(settings, columns.SESSIONS, "length")["length"]).as_py() or 0
    text = f"{lengths:,} clicks in sessions, {clicks:,} in `clicks` by session.event_types"
    return Outcome(
        lengths == clicks,
        text if lengths == clicks else f"{text}; run `sessionise` again",
        {"in_sessions": lengths, "clicks": clicks},
    )


def _folded(settings: Settings, clicks: pa.Table) -> np.ndarray:
    rules = EventRules.from_settings(settings.session.event_types)
    return ruled(clicks["event_type"], rules).folded


def features_cover(settings: Settings, details: Mapping[str, Any]) -> Outcome:
    """Check that each event that is a click has its row of features."""
    clicks = _read(settings, columns.CLICKS, "event_id", "event_type")
    clicks = clicks.filter(pa.array(_folded(settings, clicks))).select(["event_id"])
    made = _read(settings, columns.SESSION_FEATURES, "event_id")["event_id"]
    lacking = pc.invert(pc.is_in(clicks["event_id"], value_set=made.combine_chunks()))
    number = pc.sum(lacking).as_py() or 0
    text = f"{len(made):,} rows of features for {clicks.num_rows:,} clicks"
    remedy = "" if not number else f"; {number:,} clicks lack theirs; run `session-features` again"
    return Outcome(number == 0, text + remedy, {"lacking": number, "examples": _examples(clicks, lacking)})


def vectors_whole(settings: Settings, details: Mapping[str, Any]) -> Outcome:
    """Check that each item has one vector of unit length and that all have one width."""
    import numpy as np

    vectors = _read(settings, columns.ITEM_VECTORS, "item_id", "vector")
    items = DeltaLog(settings.table(columns.ITEMS)).snapshot().rows()
    lists = vectors["vector"].combine_chunks()
    widths = set(pc.list_value_length(lists).to_pylist())
    if len(widths) > 1:
        return Outcome(
            False,
            f"vectors of widths {sorted(widths)}; remove `item_vectors` and encode again",
            {"widths": sorted(widths)},
        )
    width = widths.pop() if widths else 0
    matrix = np.asarray(lists.flatten()).reshape(-1, width) if width else np.zeros((0, 0))
    bad = int((np.abs(np.linalg.norm(matrix, axis=1) - 1.0) > UNIT_TOLERANCE).sum()) if width else 0
    facts = {"items": items, "vectors": vectors.num_rows, "width": width, "not_of_unit_length": bad}
    good = bad == 0 and vectors.num_rows <= items
    return Outcome(
        good,
        f"{vectors.num_rows:,} vectors of width {width} for {items:,} items, {bad} not of unit length",
        facts,
    )


def copy_share(settings: Settings, details: Mapping[str, Any]) -> Outcome:
    """Measure how many LLM answers only repeat an item of their session."""
    intents = _read(
        settings,
        columns.SESSION_INTENTS,
        "session_id",
        "event_timestamp",
        "source",
        "long_items",
        "short_items",
        "short_text",
    )
    texts = {
        (row["session_id"], row["event_timestamp"]): set(row["items"])
        for row in _read(settings, columns.SESSION_TEXT, "session_id", "event_timestamp", "items").to_pylist()
    }
    asked = [row for row in intents.to_pylist() if row["source"] in ASKED_SOURCES]
    copied = [
        row
        for row in asked
        if row["short_items"]
        and row["short_items"][0] in texts.get((row["session_id"], row["event_timestamp"]), set())
    ]
    share = len(copied) / len(asked) if asked else 0.0
    text = (
        f"{len(copied):,} of {len(asked):,} LLM answers are nearest to an item of their own session "
        f"({share:.0%})"
    )
    facts = {
        "asked": len(asked),
        "copied": len(copied),
        "share": share,
        "examples": [
            {"session_id": row["session_id"], "text": row["short_text"]} for row in copied[:EXAMPLES]
        ],
    }
    good = share <= MAX_COPY_SHARE
    return Outcome(
        good, text if good else f"{text}; change the prompt or the model, or take source = encoder", facts
    )


def cache_covers(settings: Settings, details: Mapping[str, Any]) -> Outcome:
    """Check that each LLM intent in use stands in the cache, so that a rerun costs no call."""
    intents = _read(settings, columns.SESSION_INTENTS, "session_id", "source", "cache_key")
    asked = intents.filter(pc.is_in(intents["source"], value_set=pa.array(ASKED_SOURCES)))
    if asked.num_rows == 0:
        return Outcome(True, "no intent came from an LLM", {"asked": 0})
    cached = _read(settings, columns.INTENT_CACHE, "cache_key")["cache_key"].combine_chunks()
    lacking = pc.invert(pc.is_in(asked["cache_key"], value_set=cached))
    number = pc.sum(lacking).as_py() or 0
    text = f"{asked.num_rows - number:,} of {asked.num_rows:,} LLM intents are in the cache"
    return Outcome(
        number == 0,
        text if not number else f"{text}; run `intents` again",
        {"asked": asked.num_rows, "lacking": number, "examples": _examples(asked, lacking)},
    )


def intents_whole(settings: Settings, details: Mapping[str, Any]) -> Outcome:
    """Check that each session with a text has an intent."""
    texts = DeltaLog(settings.table(columns.SESSION_TEXT)).snapshot().rows()
    intents = _read(settings, columns.SESSION_INTENTS, "source")
    by_source = {row["values"]: row["counts"] for row in pc.value_counts(intents["source"]).to_pylist()}
    expected = 0 if settings.intents.source == "none" else texts
    good = intents.num_rows >= expected
    return Outcome(
        good,
        f"{intents.num_rows:,} intents for {texts:,} session texts {by_source}"
        + ("" if good else "; run `intents` again"),
        {"by_source": by_source},
    )


def cases_known_in_time(settings: Settings, details: Mapping[str, Any]) -> Outcome:
    """Check that no case carries features made after its own time and that none has its own target hidden in
    nulls.
    """
    cases = _read(
        settings, columns.TRAINING_SET, "session_id", "event_timestamp", "session_start", "target", "split"
    )
    late = pc.fill_null(pc.greater(cases["session_start"], cases["event_timestamp"]), False)
    blank = pc.or_(pc.is_null(cases["target"]), pc.equal(cases["target"], ""))
    wrong = pc.or_(late, pc.fill_null(blank, True))
    number = pc.sum(wrong).as_py() or 0
    splits = {row["values"]: row["counts"] for row in pc.value_counts(cases["split"]).to_pylist()}
    text = f"{cases.num_rows:,} cases {splits}, {number} with features from their future or without a target"
    return Outcome(
        number == 0 and cases.num_rows > 0,
        text,
        {"splits": splits, "wrong": number, "examples": _examples(cases, wrong)},
    )


def parity_holds(settings: Settings, details: Mapping[str, Any]) -> Outcome:
    """Demand that features served live equal those recomputed in batch, in every row."""
    wrong = {name: int(details.get(name) or 0) for name in ("mismatch", "missing", "extra", "stale")}
    compared = int(details.get("compared") or 0)
    good = not any(wrong.values())
    text = f"{compared:,} served rows compared: {wrong}"
    return Outcome(
        good,
        text if good else f"{text}; first: {list(details.get('examples') or [])[:1]}",
        {"compared": compared, **wrong, "examples": details.get("examples")},
    )


def live_answered(settings: Settings, details: Mapping[str, Any]) -> Outcome:
    """Demand that each click that was replayed got an answer, is of a type that is kept aside, was a known
    duplicate, or is among the dead letters.
    """
    sent, answers = int(details.get("clicks") or 0), int(details.get("answers") or 0)
    accounted = answers + sum(int(details.get(name) or 0) for name in ("aside", "duplicates", "dead_letters"))
    text = (
        f"{sent:,} clicks sent, {answers:,} answered, {details.get('dead_letters') or 0} dead letters, "
        f"{details.get('aside') or 0} kept aside, {details.get('duplicates') or 0} duplicates"
    )
    return Outcome(
        accounted >= sent,
        text if accounted >= sent else f"{text}; look at `python -m streaming lag` and `dlq list`",
        dict(details),
    )
