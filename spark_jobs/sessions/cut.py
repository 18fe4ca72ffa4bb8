"""The `sessionise` job: clicks in event order, cut by the gap rule into sessions, split by time into train,
valid and test.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.contract.dataset.session_cut import session_begins
from feature_repo.contract.events.found import TypeCounts
from feature_repo.contract.events.rules import EventRules, counted_clicks, ruled
from feature_repo.contract.session import FoldConfig
from feature_repo.contract.tables import SESSIONS, SESSIONS_SCHEMA
from spark_jobs.job import JobError, JobResult
from spark_jobs.lake.changes import sessions_to_do
from spark_jobs.lake.lake import Lake, MergeResult
from spark_jobs.lake.marker import read_marker, split_rule

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

TRAIN_SHARE, VALID_SHARE = 0.8, 0.1  # of the sessions, by time of their start; the newest rest is the test
# split of clicks that came after a dataset with split files of its own: neither learned from nor tested on
NEW = "new"
CUT = pa.schema([field for field in SESSIONS_SCHEMA if field.name != "session_date"])


def run(
    lake: Lake,
    *,
    date: datetime.date | None = None,
    until: datetime.date | None = None,
) -> JobResult:
    """Bring `sessions` up to date with `clicks`.

    Parameters
    ----------
    lake : Lake
        Its tables; of its settings ``session.gap_minutes``.
    date : datetime.date, optional
        Only session ids with a click on this day (UTC).
    until : datetime.date, optional
        With `date`: on any day from that one to this.

    Returns
    -------
    JobResult
        `details`: ``train``, ``valid``, ``test`` (sessions), ``valid_from``, ``test_from`` (session starts;
        none with split files).

    Raises
    ------
    JobError
        There are no clicks.

    Notes
    -----
    Equal event times keep the order of arrival. The split is by time of the session start over all sessions,
    so new sessions may move old ones from test to valid to train; when the dataset brings split files, their
    split stands.
    """
    from pyspark.sql import functions as F

    started = time.monotonic()
    config = FoldConfig.from_settings(lake.settings.session)
    rules = {"gap_us": config.gap_us, "events": config.events.as_json(), **split_rule(lake.settings)}
    work = sessions_to_do(lake, SESSIONS, rules, date, until)
    if work.clicks is None:
        return _result(
            lake,
            MergeResult(0, 0, lake.version(SESSIONS)),
            started,
        )
    own_split = brings_split(lake)
    if lake.exists(SESSIONS):
        lake.add_new_columns(SESSIONS)
    with (
        lake.as_job_error(SESSIONS),
        lake.staged(cut(work.clicks, config, own_split)) as sessions,
    ):
        if sessions.isEmpty():
            days = f" of {date}" + (f" to {until}" if until else "") if date else ""
            raise JobError(
                _nothing_counts(work.clicks, config.events)
                or f"table 'clicks' holds no clicks{days}; run `python -m spark_jobs ingest`"
            )
        split = _with_split(lake, sessions, work.within, own_split).withColumn(
            "session_date", F.to_date("session_start")
        )
        fresh = not lake.exists(SESSIONS)
        if fresh:
            result = lake.append(SESSIONS, split, metadata=work.metadata, has_rows=True)
        else:
            result = lake.synchronise(SESSIONS, split, metadata=work.metadata)
    return _result(lake, result, started)


def _nothing_counts(clicks: DataFrame, rules: EventRules) -> str | None:
    found = TypeCounts(rules)
    for row in clicks.groupBy("event_type").count().collect():
        found.counts[row["event_type"]] += int(row["count"])
    return found.nothing_folded()


def cut(clicks: DataFrame, config: FoldConfig, own_split: bool = False) -> DataFrame:
    """Cut clicks into sessions.

    Parameters
    ----------
    clicks : DataFrame
        Columns of ``CLICKS_SCHEMA``; every session id with all its clicks.
    config : FoldConfig
        A longer pause than its gap starts a new session; its rules say which types of events are clicks.
    own_split : bool
        Whether the dataset brings split files: a session then never crosses their border (`first_position`
        counts on).

    Returns
    -------
    DataFrame
        Schema ``CUT``; `split` is that of the session's first click, null when the dataset brings none.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.pandas.types import from_arrow_schema

    narrow = clicks.select(
        "session_id",
        F.unix_micros("event_time").alias("us"),
        "item_id",
        "event_id",
        "split",
        "event_type",
        "ingest_time",
        "arrival_seq",
    )
    ordered = narrow.repartition("session_id").sortWithinPartitions(
        "session_id", "us", "ingest_time", "arrival_seq"
    )
    schema = from_arrow_schema(pa.schema([field.with_nullable(True) for field in CUT]))
    return ordered.select("session_id", "us", "item_id", "event_id", "split", "event_type").mapInArrow(
        _cutter(config, own_split), schema
    )


def _cutter(
    config: FoldConfig, own_split: bool
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run_in_worker(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from cut_batches(batches, config, own_split)

    return run_in_worker


def cut_batches(
    batches: Iterator[pa.RecordBatch], config: FoldConfig, own_split: bool = False
) -> Iterator[pa.RecordBatch]:
    """Cut sorted clicks into sessions; runs in Spark's Python workers.

    Parameters
    ----------
    batches : iterator of pa.RecordBatch
        ``session_id``, ``us``, ``item_id``, ``event_id``, ``split``, ``event_type``, sorted by session id and
        time; a session id may span batches.
    config : FoldConfig
    own_split : bool
        Both as in `cut`.

    Yields
    ------
    pa.RecordBatch
        Schema ``CUT``.

    Notes
    -----
    Column at a time, no loop over clicks. Events that are no clicks only speak for items (`weights`). The
    last session id of a batch may go on in the next one, so it waits for it.
    """
    waiting: pa.Table | None = None
    for batch in batches:
        if not batch.num_rows:
            continue
        table = pa.Table.from_batches([batch])
        table = table if waiting is None else pa.concat_tables([waiting, table])
        ids = table.column("session_id").combine_chunks()
        last = pc.index(pc.equal(ids, ids[len(ids) - 1]), True).as_py()
        if last:
            yield _sessions(table.slice(0, last), config, own_split)
        waiting = table.slice(last)
    if waiting is not None:
        yield _sessions(waiting, config, own_split)


def _sessions(table: pa.Table, config: FoldConfig, own_split: bool) -> pa.RecordBatch:
    gap_us = config.gap_us
    session, item, part = (_codes(table.column(name)) for name in ("session_id", "item_id", "split"))
    if own_split:  # a test event says nothing of training
        session = session * (int(part.max(initial=0)) + 2) + part
    types = ruled(table.column("event_type"), config.events)
    clicks = counted_clicks(session, item, table.column("us").to_numpy(), types, gap_us)
    if not len(clicks.places):
        return pa.RecordBatch.from_pylist([], schema=CUT)
    table = table.take(pa.array(clicks.places)).combine_chunks()
    ids, us = table.column("session_id").combine_chunks(), table.column("us").to_numpy()
    rows = len(us)
    new_id = np.ones(rows, dtype=bool)
    new_id[1:] = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    split = (
        np.asarray(_plain(table, "split").dictionary_encode().indices.fill_null(-1)) if own_split else None
    )
    starts = np.flatnonzero(session_begins(new_id, us, gap_us, split))
    ends = np.append(starts[1:], rows)
    id_starts = np.flatnonzero(new_id)
    position = starts - id_starts[np.searchsorted(id_starts, starts, side="right") - 1]
    offsets = pa.array(np.append(starts, rows), pa.int32())
    moments = pa.array(us, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    lists = [
        pa.ListArray.from_arrays(offsets, column)
        for column in (_plain(table, "item_id"), _plain(table, "event_id"), moments)
    ]
    first = pa.array(starts)
    columns = [
        ids.take(first),
        moments.take(first),
        moments.take(pa.array(ends - 1)),
        pa.array(position),
        *lists,
    ]
    columns += [pa.array(ends - starts, pa.int32()), _plain(table, "split").take(first)]
    columns.append(pa.ListArray.from_arrays(offsets, pa.array(clicks.weights)))
    return pa.RecordBatch.from_arrays(columns, names=CUT.names)


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """Return a number an id, in any order; -1 for null."""
    codes = column.combine_chunks().dictionary_encode().indices.fill_null(-1)
    return np.asarray(codes, dtype=np.int64)


def _plain(table: pa.Table, name: str) -> pa.Array:
    return table.column(name).combine_chunks()


def _with_split(lake: Lake, sessions: DataFrame, within: DataFrame | None, own_split: bool) -> DataFrame:
    """Split all sessions, those that are not done again included: the limits move with every new session."""
    from pyspark.sql import functions as F

    every = sessions
    if within is not None and lake.exists(SESSIONS):
        kept = lake.read(SESSIONS).join(within, "session_id", "left_anti").select(*sessions.columns)
        every = sessions.unionByName(kept)
    if own_split:
        return every.withColumn("split", F.coalesce("split", F.lit(NEW)))
    valid_from, test_from = limits(
        every.select(F.unix_micros("session_start").alias("us")).toArrow().column("us").to_numpy()
    )
    begin = F.unix_micros("session_start")
    return every.withColumn(
        "split", F.when(begin < valid_from, "train").when(begin < test_from, "valid").otherwise("test")
    )


def brings_split(lake: Lake) -> bool:
    """Tell whether the clicks came with split files of the user's own."""
    from pyspark.sql import functions as F

    known = read_marker(lake.settings).get("own_split")
    if known is not None:
        return bool(known)
    return not lake.read("clicks").where(F.col("split").isin("valid", "test")).isEmpty()


def limits(starts: np.ndarray) -> tuple[int, int]:
    """Return the session starts, microseconds UTC, from which on sessions are for validation and for the
    test.

    Examples
    --------
    >>> limits(np.arange(10))
    (8, 9)
    """
    ordered = np.sort(starts)
    places = [
        min(len(ordered) - 1, int(len(ordered) * share + 1e-9))
        for share in (TRAIN_SHARE, TRAIN_SHARE + VALID_SHARE)
    ]
    return int(ordered[places[0]]), int(ordered[places[1]])


def _result(lake: Lake, result: MergeResult, started: float) -> JobResult:
    from pyspark.sql import functions as F

    counted = (
        lake.read(SESSIONS)
        .groupBy("split")
        .agg(F.count("*").alias("rows"), F.min("session_start").alias("first"))
        .collect()
    )
    details: dict[str, Any] = {row["split"]: int(row["rows"]) for row in counted}
    details |= {
        f"{row['split']}_from": row["first"].isoformat()
        for row in counted
        if row["split"] in ("valid", "test")
    }
    details["deleted"] = result.deleted
    rows = sum(int(row["rows"]) for row in counted)
    return JobResult(
        SESSIONS,
        rows,
        result.inserted,
        result.updated,
        0,
        result.version,
        time.monotonic() - started,
        details,
    )
