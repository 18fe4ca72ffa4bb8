"""The `live-quality` job: what answers were worth, by the next click of their session; out of `score_log`
and `clicks` into `live_quality`. A day is made again whole when anything about it came, so a rerun, a replay
or a late click counts each answer once.
"""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feature_repo.contract.session import FoldConfig
from feature_repo.contract.tables import CLICKS, LIVE_QUALITY, SCHEMAS, SCORE_LOG
from model.evaluate.next_click import Sums, measured
from model.recommender.trained_items import warm_items
from spark_jobs.job import JobResult
from spark_jobs.lake.lake import Lake
from spark_jobs.live.cases import GAINS, SUMMED, session_rows

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

log = logging.getLogger("intentstore.quality")
GROUP = ("period", "start", "day", "model_version", "slice", "value")
Covered = dict[str, list[int]]


def run(lake: Lake) -> JobResult:
    """Bring `live_quality` up to date with `score_log` and `clicks`.

    Parameters
    ----------
    lake : Lake
        Its tables; of its settings ``session`` (gap, types of events) and the models' folder (which items
        were trained on).

    Returns
    -------
    JobResult
        `details`: ``days`` (made again), and of all that was ever answered, by model version,
        ``answers``, ``cases``, ``hit_20``, ``mrr_20``.

    Raises
    ------
    JobError
        There is no table `score_log` or `clicks`.
    """
    started = time.monotonic()
    answers, clicks = lake.read(SCORE_LOG), lake.read(CLICKS)
    config = FoldConfig.from_settings(lake.settings.session)
    rules = {"gap_us": config.gap_us, "events": config.events.as_json()}
    covered = _covered(answers)
    metadata = {"rules": rules, "offsets": covered, "clicks": lake.version(CLICKS)}
    lake.create(LIVE_QUALITY)
    made = lake.metadata(LIVE_QUALITY)
    inserted = updated = 0
    days: list[datetime.date] = []
    if made != metadata:
        days = _days_to_do(lake, answers, made, metadata)
    if days:
        with lake.as_job_error(LIVE_QUALITY):
            rows = _quality(lake, answers, clicks, config, days)
            frame = lake.spark.createDataFrame(rows)
            within = lake.spark.createDataFrame(pa.table({"day": pa.array(days, pa.date32())}))
            done = lake.synchronise(LIVE_QUALITY, frame, within=within, metadata=metadata)
            inserted, updated = done.inserted, done.updated
    details = {"days": len(days), "by_model": _by_model(lake)}
    count, version = lake.read(LIVE_QUALITY).count(), lake.version(LIVE_QUALITY)
    return JobResult(LIVE_QUALITY, count, inserted, updated, 0, version, time.monotonic() - started, details)


def _covered(answers: DataFrame) -> Covered:
    """Return the highest offset and the number of rows of each partition of the score log."""
    from pyspark.sql import functions as F

    rows = answers.groupBy("topic", "partition").agg(F.max("offset"), F.count("*")).collect()
    return {f"{row[0]}/{row[1]}": [int(row[2]), int(row[3])] for row in sorted(rows)}


def _days_to_do(
    lake: Lake, answers: DataFrame, made: Mapping[str, Any], now: Mapping[str, Any]
) -> list[datetime.date]:
    """Return the days whose answers or next clicks are not all counted.

    Answers are new behind the offsets that were counted; where rows came below them too, and where rules or
    clicks changed otherwise than by new ones, all days are made again.
    """
    from pyspark.sql import functions as F

    dated = answers.withColumn("day", F.to_date("scored_at"))
    if made.get("rules") != now["rules"] or not 0 <= made.get("clicks", -1) <= now["clicks"]:
        return _distinct(dated)
    before: Covered = made["offsets"]
    known = lake.spark.createDataFrame(
        [(name, last) for name, (last, _) in before.items()] or [("", -1)], "_name string, _last long"
    )
    name = F.concat_ws("/", "topic", F.col("partition").cast("string"))
    marked = dated.join(F.broadcast(known), name == F.col("_name"), "left")
    fresh = F.col("_last").isNull() | (F.col("offset") > F.col("_last"))
    old = marked.where(~fresh).groupBy("_name").count().collect()
    if {row[0]: row[1] for row in old} != {name: rows for name, (_, rows) in before.items()}:
        return _distinct(dated)
    days = set(_distinct(marked.where(fresh)))
    if made["clicks"] != now["clicks"]:
        touched = lake.changes(CLICKS, made["clicks"]).select("session_id").distinct()
        days |= set(_distinct(dated.join(touched, "session_id", "left_semi")))
    return sorted(days)


def _distinct(dated: DataFrame) -> list[datetime.date]:
    return sorted(row[0] for row in dated.select("day").distinct().collect())


def _quality(
    lake: Lake, answers: DataFrame, clicks: DataFrame, config: FoldConfig, days: list[datetime.date]
) -> pa.Table:
    """Judge the answers of some days; rows of the table."""
    from pyspark.sql import functions as F
    from pyspark.sql.pandas.types import from_arrow_schema

    if "reason_sources" not in answers.columns:  # of a version that did not keep them
        answers = answers.withColumn("reason_sources", F.lit(None).cast("array<string>"))
    ours = answers.where(F.to_date("scored_at").isin(days))
    versions = [row[0] for row in ours.select("model_version").distinct().collect()]
    warm = {name: warm_items(lake.settings.models_dir / name) for name in versions}

    def judge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = [session_rows(session, config, warm) for session in batch.to_pylist()]
            yield pa.RecordBatch.from_pylist(list(chain.from_iterable(rows)), SUMMED)

    sessions = _sessions(ours, answers, clicks)
    summed = sessions.mapInArrow(judge, from_arrow_schema(SUMMED))
    return _measured(summed)


def _sessions(ours: DataFrame, answers: DataFrame, clicks: DataFrame) -> DataFrame:
    """One row a session id: the answers to judge, and every live event, which are those the topic brought.

    A click that the table knew from a file before it was replayed has no place there; its answer has.
    """
    from pyspark.sql import functions as F

    place = [F.col("partition"), F.col("offset"), F.unix_micros("created").alias("arrival_us")]
    kept = ("recommended", "scores", "reason_sources", "intent_source", "model_version", "click_count")
    given = ours.groupBy("session_id").agg(
        F.collect_list(
            F.struct(*place, F.unix_micros("event_timestamp").alias("newest_us"), "scored_at", *kept)
        ).alias("answers")
    )
    ids = given.select("session_id")
    of_answers = answers.join(ids, "session_id", "left_semi").select(
        "session_id", "event_id", F.col("partition").alias("_partition"), F.col("offset").alias("_offset")
    )
    mine = clicks.join(ids, "session_id", "left_semi").join(of_answers, ["session_id", "event_id"], "left")
    found = F.struct(
        F.coalesce("partition", "_partition").alias("partition"),
        F.coalesce("offset", "_offset").alias("offset"),
        F.unix_micros("arrival_time").alias("arrival_us"),
        F.unix_micros("event_time").alias("time_us"),
        "item_id",
        "event_type",
    )
    events = mine.where("coalesce(partition, _partition) IS NOT NULL")
    listed = events.groupBy("session_id").agg(F.collect_list(found).alias("events"))
    return given.join(listed, "session_id", "left")


def _measured(summed: DataFrame) -> pa.Table:
    """Sum over sessions, and put means and intervals beside."""
    from pyspark.sql import functions as F

    def total(name: str, *factors: str) -> Column:
        product = F.col(name).cast("double")
        for factor in factors:
            product = product * F.col(factor)
        return F.sum(product)

    found = (
        summed.groupBy(*GROUP)
        .agg(
            F.sum("answers").alias("answers"),
            F.sum("cases").alias("cases"),
            total("cases", "cases").alias("squared_cases"),
            F.count_if(F.col("cases") > 0).alias("sessions"),
            *(total(name).alias(name) for name in GAINS),
            *(total(name, name).alias(f"squared_{name}") for name in GAINS),
            *(total(name, "cases").alias(f"crossed_{name}") for name in GAINS),
        )
        .toArrow()
    )
    rows = found.select([*GROUP, "answers", "cases", "sessions"]).to_pylist()
    judged = found.filter(pc.greater(found.column("cases"), 0))

    def numbers(prefix: str = "") -> NDArray[np.float64]:
        return np.stack([judged.column(f"{prefix}{name}").to_numpy() for name in GAINS], axis=1)

    cases, squared_cases, sessions = (
        judged.column(name).to_numpy().astype(float) for name in ("cases", "squared_cases", "sessions")
    )
    gains = numbers(), numbers("squared_"), numbers("crossed_")
    figures = iter(measured(Sums(cases, squared_cases, sessions, *gains)))
    for row in rows:
        if row["cases"]:
            row |= next(figures)
        if row["slice"] != "all":
            row["answers"] = None
    return pa.Table.from_pylist(rows, SCHEMAS[LIVE_QUALITY])


def _by_model(lake: Lake) -> dict[str, dict[str, float]]:
    """Figures of every model version over all days; means over cases, without intervals."""
    from pyspark.sql import functions as F

    days = lake.read(LIVE_QUALITY).where("period = 'day' AND slice = 'all'")
    weighed = [F.sum(F.col(name) * F.col("cases")).alias(name) for name in ("hit_20", "mrr_20")]
    rows = days.groupBy("model_version").agg(F.sum("answers"), F.sum("cases"), *weighed).collect()
    return {
        row[0]: {
            "answers": int(row[1]),
            "cases": int(row[2]),
            **({} if not row[2] else {"hit_20": row[3] / row[2], "mrr_20": row[4] / row[2]}),
        }
        for row in sorted(rows)
    }
