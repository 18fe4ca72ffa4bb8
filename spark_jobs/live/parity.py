"""The `parity` job: what the consumer served, and what the online store holds, against a batch recomputation.
Every difference is counted and named.
"""

from __future__ import annotations

import datetime
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from feature_repo.contract.endpoints import EndpointError, online_store_url
from feature_repo.contract.session import FoldConfig
from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import CLICKS, SCORE_LOG, SESSION_EVENT_FIELDS, SESSION_FEATURE_FIELDS
from spark_jobs.job import JobError, JobResult
from spark_jobs.lake.lake import Lake
from spark_jobs.sessions.cut import brings_split
from spark_jobs.sessions.features import folded

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

KINDS = ("mismatch", "missing", "extra", "stale")
EXAMPLES = 5  # of each kind
READ_AT_ONCE = 1000  # sessions of one round trip to the online store
EVENTS = tuple(name for name, _ in SESSION_EVENT_FIELDS)
FEATURES = (*(name for name, _ in SESSION_FEATURE_FIELDS), *EVENTS)


def run(lake: Lake, *, date: datetime.date | None = None, no_online: bool = False) -> JobResult:
    """Compare live with batch; nothing is written.

    Parameters
    ----------
    lake : Lake
        Its tables; of its settings `session` (rules of the fold), `kafka` (topic), `online`.
    date : datetime.date, optional
        Only answers to clicks of this day (UTC); the online store holds the latest only and is then left out.
    no_online : bool
        Leave the online store out.

    Returns
    -------
    JobResult
        `rows` = answers compared, `refused` = differences of any kind. `details`: ``compared``, ``mismatch``,
        ``missing``, ``extra``, ``stale`` (served log and online store together), ``by_feature``, ``served``,
        ``online``, ``examples``.

    Raises
    ------
    JobError
        A table is missing, or the online store does not answer.

    Notes
    -----
    Served log: a click without an answer (below the highest answered offset of its partition) is *missing*,
    an answer to a click that the table does not hold is *extra*, an answer with another value is a
    *mismatch*. Online store, for every session that was answered: no row is *missing*, an older row *stale*,
    a newer one *extra*, another value at the same instant a *mismatch*.
    """
    from pyspark.sql import functions as F

    started = time.monotonic()
    log = _answers(lake, date)
    clicks = lake.read(CLICKS)
    sessions = log.select("session_id").distinct()
    places = clicks.select("event_id", F.col("topic").isNotNull().alias("from_kafka"))
    config = FoldConfig.from_settings(lake.settings.session)
    with lake.as_job_error(SCORE_LOG):
        expected = (
            folded(clicks.join(sessions, "session_id", "left_semi"), config, brings_split(lake))
            .drop("event_date")
            .join(places, "event_id")
        )
        with lake.staged(expected) as batch:
            served = _served(log, batch)
            if date is None:
                _add_missing(served, _unanswered(log, clicks, config, brings_split(lake)))
            online: dict[str, Any] = {"compared": 0, "note": "not compared"}
            if date is None and not no_online:
                online = _online(lake.settings, _latest(batch))
    total = {kind: served[kind] + online.get(kind, 0) for kind in KINDS}
    details = {
        "compared": served["compared"] + online["compared"],
        **total,
        "by_feature": served.pop("by_feature") | online.pop("by_feature", {}),
        "examples": served.pop("examples") + online.pop("examples", []),
        "served": served,
        "online": online,
    }
    version = lake.version(SCORE_LOG)
    return JobResult(
        SCORE_LOG, served["compared"], 0, 0, sum(total.values()), version, time.monotonic() - started, details
    )


def _answers(lake: Lake, date: datetime.date | None) -> DataFrame:
    from pyspark.sql import functions as F

    log = lake.read(SCORE_LOG)
    for name, kind in zip(EVENTS, ("array<string>", "array<bigint>", "array<string>"), strict=True):
        if name not in log.columns:  # written by a version that did not count them
            log = log.withColumn(name, F.lit(None).cast(kind))
    return log if date is None else log.where(F.to_date("click_time") == F.lit(date))


def _served(log: DataFrame, batch: DataFrame) -> dict[str, Any]:
    from pyspark.sql import functions as F

    paired = log.alias("s").join(batch.alias("b"), ["session_id", "event_id"], "left")
    known = F.col("b.created").isNotNull()
    # A click that the table has from a file was known at another instant than its replay; then only the
    # content can agree.
    instants = {
        "event_timestamp": _unequal("event_timestamp"),
        "created": F.col("b.from_kafka") & _unequal("created"),
    }
    checks = {**{name: _unequal(name) for name in FEATURES}, **instants}
    for name in EVENTS:  # null = served by a version that did not count them
        checks[name] = F.col(f"s.{name}").isNotNull() & checks[name]
    marked = paired.select(
        "session_id",
        "event_id",
        F.col("s.topic"),
        F.col("s.partition"),
        F.col("s.offset"),
        (~known).alias("_extra"),
        *(F.coalesce(known & check, F.lit(False)).alias(f"_{name}") for name, check in checks.items()),
        *(
            F.struct(
                F.col(f"s.{name}").cast("string").alias("live"),
                F.col(f"b.{name}").cast("string").alias("batch"),
            ).alias(name)
            for name in checks
        ),
    )
    marked = marked.withColumn("_mismatch", F.greatest(*(F.col(f"_{name}") for name in checks)))
    counts = marked.agg(
        F.count("*").alias("compared"),
        F.count_if("_extra").alias("extra"),
        F.count_if("_mismatch").alias("mismatch"),
        *(F.count_if(F.col(f"_{name}")).alias(f"_{name}") for name in checks),
    ).first()
    examples = [
        _example(row.asDict(recursive=True), list(checks))
        for row in marked.where("_mismatch OR _extra").limit(EXAMPLES).collect()
    ]
    by_feature = {name: int(counts[f"_{name}"]) for name in checks if counts[f"_{name}"]}
    found = {name: int(counts[name]) for name in ("compared", "mismatch", "extra")}
    return {
        **found,
        "missing": 0,
        "stale": 0,
        "by_feature": by_feature,
        "examples": examples,
    }


def _unequal(name: str) -> Column:
    from pyspark.sql import functions as F

    return ~F.col(f"s.{name}").eqNullSafe(F.col(f"b.{name}"))


def _add_missing(served: dict[str, Any], missing: DataFrame) -> None:
    lost = missing.select("session_id", "event_id", "partition", "offset").limit(EXAMPLES).collect()
    served["examples"] += [{"kind": "missing", "where": "score_log", **row.asDict()} for row in lost]
    served["missing"] = missing.count() if lost else 0


def _unanswered(log: DataFrame, clicks: DataFrame, config: FoldConfig, own_split: bool) -> DataFrame:
    """Return clicks that moved their session, below the highest answered offset of their partition, that have
    no answer.
    """
    from pyspark.sql import functions as F

    reached = log.groupBy("topic", "partition").agg(
        F.max("offset").alias("_last"), F.min("offset").alias("_first")
    )
    due = clicks.join(F.broadcast(reached), ["topic", "partition"]).where(
        F.col("offset").between(F.col("_first"), F.col("_last"))
    )
    lost = due.join(log.select("event_id").distinct(), "event_id", "left_anti")
    # events kept aside have no answer: the fold tells which of those that have none should have one
    sessions = lost.select("session_id").distinct()
    moved = folded(clicks.join(sessions, "session_id", "left_semi"), config, own_split)
    return lost.join(moved.select("event_id"), "event_id", "left_semi")


def _example(row: dict[str, Any], names: list[str]) -> dict[str, Any]:
    place = {name: row[name] for name in ("session_id", "event_id", "topic", "partition", "offset")}
    kind = "extra" if row["_extra"] else "mismatch"
    return {
        "kind": kind,
        "where": "score_log",
        **place,
        "differs": {name: row[name] for name in names if row[f"_{name}"]},
    }


def _latest(batch: DataFrame) -> list[dict[str, Any]]:
    """Return the newest row of each session as the online store would hold it; times in microseconds."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    order = Window.partitionBy("session_id").orderBy(F.desc("event_timestamp"), F.desc("created"))
    newest = batch.withColumn("_nth", F.row_number().over(order)).where("_nth = 1")
    columns = [
        F.col("session_id"),
        F.unix_micros("event_timestamp").alias("event_timestamp_us"),
        F.unix_micros("created").alias("created_us"),
    ]
    columns += [
        F.unix_micros(name).alias(name) if name == "session_start" else F.col(name) for name in FEATURES
    ]
    columns.append(F.col("from_kafka"))
    rows: list[dict[str, Any]] = newest.select(*columns).toArrow().to_pylist()
    return rows


def _online(settings: Settings, expected: list[dict[str, Any]]) -> dict[str, Any]:
    from feature_repo.stores.packed.live import LiveFeatureReader

    try:
        url = online_store_url(settings)
    except EndpointError as error:
        raise JobError(f"{error}; or leave the online store out with --no-online") from None
    counted: Counter[str] = Counter()
    by_feature: Counter[str] = Counter()
    examples: list[dict[str, Any]] = []
    reader = LiveFeatureReader(url, cluster=settings.online.cluster)
    try:
        for first in range(0, len(expected), READ_AT_ONCE):
            chunk = expected[first : first + READ_AT_ONCE]
            for batch, live in zip(chunk, reader.read([row["session_id"] for row in chunk]), strict=True):
                kind, names = difference(batch, live)
                counted[kind] += 1
                by_feature.update(f"online.{name}" for name in names)
                if kind != "same" and counted[kind] <= EXAMPLES:
                    shown = {
                        name: {"live": live[name] if live else None, "batch": batch[name]} for name in names
                    }
                    examples.append(
                        {
                            "kind": kind,
                            "where": "online store",
                            "session_id": batch["session_id"],
                            "differs": shown,
                        }
                    )
    except (OSError, RuntimeError, ValueError) as error:  # the store's own errors are one line each
        raise JobError(f"the online store cannot be compared: {' '.join(str(error).split())[:300]}") from None
    finally:
        reader.close()
    return {
        "compared": len(expected),
        **{kind: counted[kind] for kind in KINDS},
        "by_feature": dict(by_feature),
        "examples": examples,
    }


def difference(batch: dict[str, Any], live: dict[str, Any] | None) -> tuple[str, list[str]]:
    """Compare one session's row of the online store with the batch's.

    Parameters
    ----------
    batch : dict
        Features, ``event_timestamp_us``, ``created_us``, and ``from_kafka``: whether the last click came from
        the topic. One out of a file was known at another instant than its replay, so `created` is not
        compared.
    live : dict or None
        The same out of the store; None = no row.

    Returns
    -------
    kind : str
        "same", "mismatch", "missing", "extra" (newer than any click of the batch) or "stale".
    names : list of str
        Features that differ, for a mismatch.

    Examples
    --------
    >>> difference(
    ...     {"event_timestamp_us": 2, "created_us": 2, "from_kafka": True},
    ...     {"event_timestamp_us": 1, "created_us": 9},
    ... )
    ('stale', ['event_timestamp_us', 'created_us'])
    """
    if live is None:
        return "missing", []
    instants = ["event_timestamp_us", "created_us"] if batch["from_kafka"] else ["event_timestamp_us"]
    here, there = [batch[name] for name in instants], [live[name] for name in instants]
    if here != there:
        return ("stale" if there < here else "extra"), [
            name for name in instants if batch[name] != live[name]
        ]
    asked = [name for name in FEATURES if name not in EVENTS or live.get(name) is not None]
    names = [name for name in asked if batch.get(name) != live.get(name)]
    return ("mismatch" if names else "same"), names
