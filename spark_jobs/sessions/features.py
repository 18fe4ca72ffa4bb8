"""The `session-features` job: the one fold of `contract.session` over every session, one row after each
click, in arrival order.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feature_repo.contract.session import (
    SEEN_EVENTS,
    STATE_VERSION,
    FoldClick,
    FoldConfig,
    SessionState,
    apply,
    empty,
    event_features,
    features,
)
from feature_repo.contract.tables import (
    CLICKS,
    SESSION_EVENT_FIELDS,
    SESSION_FEATURE_FIELDS,
    SESSION_FEATURES,
    TIME,
)
from spark_jobs.job import JobResult
from spark_jobs.lake.changes import sessions_to_do
from spark_jobs.lake.lake import Lake, MergeResult
from spark_jobs.lake.marker import split_rule
from spark_jobs.sessions.cut import NEW, brings_split

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

FOLDED = pa.schema(
    [
        ("session_id", pa.string()),
        ("event_timestamp", TIME),
        ("created", TIME),
        *SESSION_FEATURE_FIELDS,
        ("event_id", pa.string()),
        *SESSION_EVENT_FIELDS,
    ]
)
_INPUT = ("session_id", "event_id", "item_id", "event_us", "arrival_us", "event_type", "part")


def run(
    lake: Lake,
    *,
    date: datetime.date | None = None,
    until: datetime.date | None = None,
) -> JobResult:
    """Bring `session_features` up to date with `clicks`.

    Parameters
    ----------
    lake : Lake
        Its tables; of its settings `session`: gap and number of clicks kept.
    date : datetime.date, optional
        Only session ids with a click on this day (UTC).
    until : datetime.date, optional
        With `date`: on any day from that one to this.

    Returns
    -------
    JobResult
        `details`: ``sessions_done`` ("all" or how many had new clicks), ``deleted``.

    Raises
    ------
    JobError
        There is no table `clicks`, or the write failed.

    Notes
    -----
    Only sessions with new clicks are folded again, each from its first click, so the table equals that of a
    full run.
    """
    started = time.monotonic()
    config = FoldConfig.from_settings(lake.settings.session)
    rules = {
        "gap_us": config.gap_us,
        "max_items": config.max_items,
        "fold": [STATE_VERSION, SEEN_EVENTS],
        "events": config.events.as_json(),
        **split_rule(lake.settings),
    }
    work = sessions_to_do(lake, SESSION_FEATURES, rules, date, until)
    fresh = lake.create(SESSION_FEATURES)
    lake.add_new_columns(SESSION_FEATURES)
    done: int | str = 0
    result = MergeResult(0, 0, lake.version(SESSION_FEATURES))
    if work.clicks is not None:
        done = "all" if work.within is None else work.within.count()
        rows = folded(work.clicks, config, brings_split(lake))
        with lake.as_job_error(SESSION_FEATURES):
            if fresh and not work.clicks.isEmpty():
                result = lake.append(SESSION_FEATURES, rows, metadata=work.metadata, has_rows=True)
            elif done:
                result = lake.synchronise(SESSION_FEATURES, rows, within=work.within, metadata=work.metadata)
    rows_now = lake.read(SESSION_FEATURES).count()
    details: dict[str, Any] = {
        "sessions_done": done,
        "deleted": result.deleted,
        "clicks_version": lake.version(CLICKS),
    }
    return JobResult(
        SESSION_FEATURES,
        rows_now,
        result.inserted,
        result.updated,
        0,
        result.version,
        time.monotonic() - started,
        details,
    )


def folded(clicks: DataFrame, config: FoldConfig, own_split: bool = False) -> DataFrame:
    """Fold clicks into features.

    Parameters
    ----------
    clicks : DataFrame
        Columns of ``CLICKS_SCHEMA``; every session id with all its clicks.
    config : FoldConfig
        The rules of the fold.
    own_split : bool
        Whether the dataset brings split files: the clicks of each are folded by themselves, since a session
        ends at their border.

    Returns
    -------
    DataFrame
        Columns of ``SESSION_FEATURES_SCHEMA``, one row an event that moved its session, in no order.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.pandas.types import from_arrow_schema

    narrow = clicks.select(
        "session_id",
        "event_id",
        "item_id",
        F.unix_micros("event_time").alias("event_us"),
        F.unix_micros("arrival_time").alias("arrival_us"),
        "event_type",
        F.unix_micros("ingest_time").alias("ingest_us"),
        "arrival_seq",
        (F.coalesce("split", F.lit(NEW)) if own_split else F.lit("")).alias("part"),
    )
    ordered = (
        narrow.repartition("session_id")
        .sortWithinPartitions("session_id", "ingest_us", "arrival_seq", "event_id")
        .select(*_INPUT)
    )
    return ordered.mapInArrow(_folder(config), from_arrow_schema(FOLDED)).withColumn(
        "event_date", F.to_date("event_timestamp")
    )


def _folder(config: FoldConfig) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run_in_worker(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from fold_batches(batches, config)

    return run_in_worker


def fold_batches(batches: Iterator[pa.RecordBatch], config: FoldConfig) -> Iterator[pa.RecordBatch]:
    """Fold sorted clicks; runs in Spark's Python workers.

    Parameters
    ----------
    batches : iterator of pa.RecordBatch
        ``session_id``, ``event_id``, ``item_id``, ``event_us``, ``arrival_us``, ``event_type``, ``part`` (of
        the user's own split), sorted by session id, then by arrival; a session may span batches.
    config : FoldConfig
        The rules of the fold.

    Yields
    ------
    pa.RecordBatch
        Schema ``FOLDED``; a click that the fold drops as a duplicate, or keeps aside, has no row.
    """
    states: dict[str, SessionState] = {}  # of the current session, one a part
    current = None
    plain = [name for name, _ in SESSION_FEATURE_FIELDS if name != "items"]
    counts = [name for name, _ in SESSION_EVENT_FIELDS]
    for batch in batches:
        columns: dict[str, list[Any]] = {name: [] for name in FOLDED.names}
        flat, offsets = [], [0]
        rows = zip(*(batch.column(name).to_pylist() for name in _INPUT), strict=True)
        for session, event, item, event_us, arrival_us, event_type, part in rows:
            if session != current:
                states, current = {}, session
            before = states.get(part) or empty()
            state = apply(before, FoldClick(event, item, event_us, arrival_us, event_type), config)
            states[part] = state
            if not state.moved_since(before):
                continue
            values, counted = features(state), event_features(state)
            flat.extend(values["items"])
            offsets.append(len(flat))
            for name in plain:
                columns[name].append(values[name])
            for name in counts:
                columns[name].append(counted[name])
            columns["session_id"].append(session)
            columns["event_id"].append(event)
            columns["event_timestamp"].append(state.event_timestamp_us)
            columns["created"].append(state.created_us)
        items = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(flat, pa.string()))
        yield pa.RecordBatch.from_arrays(
            [
                items if name == "items" else _array(columns[name], FOLDED.field(name).type)
                for name in FOLDED.names
            ],
            schema=FOLDED,
        )


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    return pa.array(values, pa.int64()).cast(kind) if pa.types.is_timestamp(kind) else pa.array(values, kind)
