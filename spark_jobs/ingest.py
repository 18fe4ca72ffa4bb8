"""The `ingest` job: clicks and items of a dataset, of the Kafka topic, or of the consumer's score log into Delta. Parsing is `ingest_files`'s."""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feature_repo.contract.columns import CLICKS, ITEMS, QUARANTINE
from feature_repo.contract.dataset_folder import DatasetFolderError
from feature_repo.contract.settings import Settings
from spark_jobs import delta_tables
from spark_jobs.incremental import on_days
from spark_jobs.ingest_files import Staged, stage
from spark_jobs.ingest_held_out import HeldOut, hold_back
from spark_jobs.job import JobError, JobResult

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

LOGGER = logging.getLogger("intentstore.ingest")
MARKER = "dataset.json"  # beside the tables: whose clicks they are


def run(
    spark: SparkSession,
    settings: Settings,
    *,
    date: datetime.date | None = None,
    until: datetime.date | None = None,
    kafka: bool = False,
    score_log: bool = False,
    max_offsets: int | None = None,
) -> JobResult:
    """Bring clicks into the lake; from the dataset of the settings unless told otherwise.

    Parameters
    ----------
    spark : SparkSession
        The session.
    settings : Settings
        `dataset`, `session` (gap rule of the held-out clicks), `kafka`.
    date : datetime.date, optional
        Only clicks of this day (UTC); not with `kafka` or `score_log`, which go on from where they stopped.
    until : datetime.date, optional
        With `date`: clicks of any day from that one to this.
    kafka : bool
        Read the clicks topic by offset range, each record once.
    score_log : bool
        Commit the files that the consumer wrote under ``home/score_log``.
    max_offsets : int, optional
        With `kafka`: at most so many records of each partition in this run.

    Returns
    -------
    JobResult
        Of the table `clicks` (or `score_log`). `details` of a dataset: ``dataset``, ``items``, ``held_out``, ``duplicates``,
        ``unknown_items``, ``unknown_item_clicks``, ``days``.

    Raises
    ------
    JobError
        The input cannot be read, or a table not be written; one line.
    """
    if kafka or score_log:
        if kafka and score_log:
            raise JobError("--kafka and --score-log are two runs; give one of them")
        if date is not None:
            raise JobError(f"--date {date} does not go with --kafka or --score-log, which go on from where the table stops; leave it out")
        if kafka:
            from spark_jobs import ingest_kafka

            return ingest_kafka.run(spark, settings, max_offsets=max_offsets)
        from spark_jobs import ingest_score_log

        return ingest_score_log.run(spark, settings)
    return _ingest_dataset(spark, settings, date, until)


def _ingest_dataset(spark: SparkSession, settings: Settings, date: datetime.date | None, until: datetime.date | None) -> JobResult:
    # In this order; a crash after any step is repaired by running again, since every step adds only what is missing:
    #   1 parse aside   2 items   3 held-out clicks   4 quarantine   5 clicks
    started = time.monotonic()
    now = datetime.datetime.now(datetime.UTC)
    name = _check_lake(settings)
    with _scratch(settings) as folder:
        staged = _stage(settings, folder, now)
        items = _commit_items(spark, settings, staged, now)
        with delta_tables.told(CLICKS, settings):
            parts = spark.read.parquet(str(staged.clicks))
            unique, repeated = _without_repeats(spark, parts, name) if staged.may_repeat else (parts, None)
            held = hold_back(spark, settings, unique, staged.times)
            duplicates, refused = _commit_refused(spark, settings, staged, repeated, now)
            result = _commit_clicks(spark, settings, held, (date, until), now)
            unknown = _unknown(spark, settings, held.kept)
    (settings.lake / MARKER).write_text(json.dumps({"dataset": name}), encoding="utf-8")
    details: dict[str, Any] = {
        "dataset": name, "items": items, "held_out": held.rows, "held_out_file": str(held.file), "duplicates": duplicates,
        "newly_refused": refused, "own_split": staged.own_split, **unknown,
    }  # fmt: skip
    rows = delta_tables.read(spark, settings, CLICKS).count()
    return JobResult(CLICKS, rows, result.inserted, result.updated, staged.refused_rows + duplicates, result.version, time.monotonic() - started, details)


def _check_lake(settings: Settings) -> str:
    """Name the dataset, and refuse to mix it with another one's clicks."""
    name = str(settings.dataset.path.absolute()) if settings.dataset.path is not None else "ml-100k"
    marker = settings.lake / MARKER
    known = json.loads(marker.read_text(encoding="utf-8"))["dataset"] if marker.exists() else name
    if known != name:
        raise JobError(
            f"the lake at {settings.lake} holds the clicks of '{known}', the settings name '{name}'; "
            f"set INTENTSTORE_HOME to another folder, or remove {settings.lake} to start again"
        )
    return name


@contextmanager
def _scratch(settings: Settings) -> Iterator[Path]:
    folder = settings.home / "spark" / "staged" / uuid.uuid4().hex
    try:
        folder.mkdir(parents=True)
        yield folder
    except OSError as error:
        raise JobError(delta_tables.explain(str(error), CLICKS, settings)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _stage(settings: Settings, folder: Path, now: datetime.datetime) -> Staged:
    ml_100k = None
    if settings.dataset.path is None:
        from feature_repo.contract import assets

        ml_100k = assets.fetch("ml-100k", settings.assets_dir)
    try:
        return stage(settings.dataset.path, ml_100k, folder, round(now.timestamp() * 1_000_000))
    except DatasetFolderError as error:
        raise JobError(str(error)) from None


def _commit_items(spark: SparkSession, settings: Settings, staged: Staged, now: datetime.datetime) -> int:
    """Merge the catalogue. Texts are valid since ever (1970): a catalogue has no dates, and an as-of join must find them for old clicks."""
    from pyspark.sql import functions as F

    if staged.items is None:
        LOGGER.info("ingest: the dataset has no items file; going on without titles, on behaviour alone")
        delta_tables.empty_if_missing(spark, settings, ITEMS)
        return 0
    if not staged.titled_items:
        LOGGER.warning("ingest: no item has a title (0 of %s); intents need titles, the rest works on behaviour alone", f"{staged.items.num_rows:,}")
    decoded = staged.items.column("raw").null_count < staged.items.num_rows
    same = {"catalogue": _digest(staged.items if decoded else staged.items.drop_columns(["raw"]))}  # so that a lake of before is not written anew
    if delta_tables.metadata(settings, ITEMS) == same:
        return int(staged.items.num_rows)
    delta_tables.empty_if_missing(spark, settings, ITEMS)
    delta_tables.add_new_columns(spark, settings, ITEMS)
    frame = spark.createDataFrame(staged.items)
    frame = frame.withColumn("event_timestamp", F.timestamp_seconds(F.lit(0))).withColumn("created", F.lit(now))
    delta_tables.merge(spark, settings, ITEMS, frame, metadata=same)
    return int(staged.items.num_rows)


def _digest(table: pa.Table) -> str:
    found = hashlib.blake2b(digest_size=12)
    for batch in table.to_batches(max_chunksize=65_536):
        found.update(batch.serialize())
    return found.hexdigest()


def _without_repeats(spark: SparkSession, parts: DataFrame, source: str) -> tuple[DataFrame, DataFrame]:
    """Split rows into the first of each event id (by event time), and the others as rows for the quarantine."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    # Hashes first: 8 bytes a row instead of a sort of all ids, and almost always nothing is left to look at.
    hashed = parts.withColumn("_hash", F.xxhash64("event_id"))
    suspects = hashed.groupBy("_hash").agg(F.count("*").alias("_rows")).where("_rows > 1").select("_hash")
    within = Window.partitionBy("event_id").orderBy("arrival_seq")
    numbered = hashed.join(suspects, "_hash", "left_semi").withColumn("_nth", F.row_number().over(within)).withColumn("_first", F.first("line").over(within))
    repeated = numbered.where("_nth > 1")
    where = F.concat(F.col("file"), F.coalesce(F.concat(F.lit(" line "), F.col("line").cast("string")), F.lit("")))
    before = F.coalesce(F.concat(F.lit(" at line "), F.col("_first").cast("string")), F.lit(""))
    reason = F.concat(where, F.lit(": event_id '"), F.col("event_id"), F.lit("' was seen before"), before, F.lit("; give every click its own event_id"))
    raw = F.to_json(F.struct("event_id", "session_id", "item_id", "event_time"))
    rows = repeated.select(F.lit(source).alias("source"), "line", reason.alias("reason"), raw.alias("raw"), "arrival_seq")
    if suspects.isEmpty():
        return parts, rows.drop("arrival_seq").limit(0)
    return parts.join(rows.select("arrival_seq"), "arrival_seq", "left_anti"), rows.drop("arrival_seq")


def _commit_refused(spark: SparkSession, settings: Settings, staged: Staged, repeated: DataFrame | None, now: datetime.datetime) -> tuple[int, int]:
    """Put refused rows and repeats into the quarantine; return how many repeats there are, and how many rows are new there."""
    if repeated is None:
        if not staged.refused_rows:
            delta_tables.empty_if_missing(spark, settings, QUARANTINE)
            return 0, 0
        return 0, quarantine(spark, settings, _refused(spark, staged), now)
    with delta_tables.staged(spark, settings, repeated) as repeats:
        return repeats.count(), quarantine(spark, settings, _refused(spark, staged).unionByName(repeats), now)


def _refused(spark: SparkSession, staged: Staged) -> DataFrame:
    from pyspark.sql.pandas.types import from_arrow_schema

    from spark_jobs.ingest_files import STAGED_REFUSED

    return spark.read.schema(from_arrow_schema(STAGED_REFUSED)).parquet(str(staged.refused))


def quarantine(spark: SparkSession, settings: Settings, rows: DataFrame, now: datetime.datetime) -> int:
    """Add refused rows that the table does not hold yet.

    Parameters
    ----------
    spark : SparkSession
        The session.
    settings : Settings
        For the lake's folder.
    rows : DataFrame
        Columns ``source``, ``line``, ``reason``, ``raw``.
    now : datetime.datetime
        Their `ingest_time`.

    Returns
    -------
    int
        Rows added; the same refused row of the same source is added once, however often it is read.
    """
    from pyspark.sql import functions as F

    delta_tables.empty_if_missing(spark, settings, QUARANTINE)
    known = delta_tables.read(spark, settings, QUARANTINE).select("source", "line", "reason").alias("t")
    same = (F.col("s.source") == F.col("t.source")) & F.col("s.line").eqNullSafe(F.col("t.line")) & (F.col("s.reason") == F.col("t.reason"))
    new = rows.alias("s").join(known, same, "left_anti").withColumn("ingest_time", F.lit(now))
    return delta_tables.append(spark, settings, QUARANTINE, new).inserted


def _commit_clicks(
    spark: SparkSession, settings: Settings, held: HeldOut, days: tuple[datetime.date | None, datetime.date | None], now: datetime.datetime
) -> delta_tables.MergeResult:
    from pyspark.sql import functions as F

    rows = held.kept.withColumns({
        "arrival_time": F.col("event_time"), "ingest_time": F.lit(now), "event_date": F.to_date("event_time"),
        "topic": F.lit(None), "partition": F.lit(None), "offset": F.lit(None),
    })  # fmt: skip
    date, until = days
    if date is not None:
        rows = rows.where(on_days("event_date", date, until))
    if delta_tables.empty_if_missing(spark, settings, CLICKS) or delta_tables.read(spark, settings, CLICKS).isEmpty():
        return delta_tables.append(spark, settings, CLICKS, rows, has_rows=date is None)
    return delta_tables.merge(spark, settings, CLICKS, rows, update_changed=False)


def _unknown(spark: SparkSession, settings: Settings, clicks: DataFrame) -> dict[str, int]:
    """Count clicks on items that the catalogue does not hold: they are kept, and get their text when the catalogue does."""
    from pyspark.sql import functions as F

    counted = clicks.groupBy("item_id").count().join(delta_tables.read(spark, settings, ITEMS).select("item_id"), "item_id", "left_anti")
    row = counted.agg(F.count("*").alias("items"), F.coalesce(F.sum("count"), F.lit(0)).alias("clicks")).first()
    return {"unknown_items": int(row["items"]), "unknown_item_clicks": int(row["clicks"])}
