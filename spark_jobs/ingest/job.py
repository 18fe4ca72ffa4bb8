"""The `ingest` job: clicks and items of a dataset, of the Kafka topic, or of the consumer's score log into
Delta. Parsing is `ingest_files`'s.
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feature_repo.contract.dataset.folder import DatasetFolderError
from feature_repo.contract.dataset.look import look_at
from feature_repo.contract.dataset.refusals import too_many
from feature_repo.contract.events.rules import EventRules
from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import CLICKS, ITEM_UPDATES, ITEMS, QUARANTINE
from spark_jobs.ingest import items_topic
from spark_jobs.ingest import kafka as ingest_kafka
from spark_jobs.ingest import score_log as ingest_score_log
from spark_jobs.ingest.files import STAGED_REFUSED, Staged, stage
from spark_jobs.ingest.held_out import HeldOut, hold_back
from spark_jobs.ingest.refused import quarantine
from spark_jobs.ingest.stock import publish_stock
from spark_jobs.job import JobError, JobResult
from spark_jobs.lake.changes import on_days
from spark_jobs.lake.errors import explain
from spark_jobs.lake.lake import Lake, MergeResult
from spark_jobs.lake.marker import read_marker, write_marker

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger("intentstore.ingest")


def run(
    lake: Lake,
    *,
    date: datetime.date | None = None,
    until: datetime.date | None = None,
    kafka: bool = False,
    items: bool = False,
    score_log: bool = False,
    max_offsets: int | None = None,
    max_refused_share: float | None = None,
) -> JobResult:
    """Bring clicks into the lake; from the dataset of the settings unless told otherwise.

    Parameters
    ----------
    lake : Lake
        Its tables; of its settings `dataset`, `session` (gap rule of the held-out clicks), `kafka`.
    date : datetime.date, optional
        Only clicks of this day (UTC); not with `kafka` or `score_log`, which go on from where they stopped.
    until : datetime.date, optional
        With `date`: clicks of any day from that one to this.
    kafka : bool
        Read the clicks topic by offset range, each record once.
    items : bool
        Read the items topic so, into `item_updates` and `items`.
    score_log : bool
        Commit the files that the consumer wrote under ``home/score_log``.
    max_offsets : int, optional
        With `kafka` or `items`: at most so many records of each partition in this run.
    max_refused_share : float, optional
        Of a dataset's rows; more refused ones stop the run once they are in the quarantine, before anything
        else is written. None = no limit here: in Dagster the check `refused_share` judges the tables.

    Returns
    -------
    JobResult
        Of the table `clicks` (or `items`, `score_log`). `details` of a dataset: ``dataset``, ``items``,
        ``held_out``, ``duplicates``, ``refused_by`` (kind of reason to rows), ``own_split``, ``notes``,
        ``unknown_items``, ``unknown_item_clicks``.

    Raises
    ------
    JobError
        The input cannot be read, or a table not be written; one line.
    """
    if kafka or items or score_log:
        if kafka + items + score_log > 1:
            raise JobError("--kafka, --items and --score-log are runs of their own; give one of them")
        if date is not None:
            raise JobError(
                f"--date {date} does not go with --kafka, --items or --score-log, which go on from where the "
                "table stops; leave it out"
            )
        if items:
            return items_topic.run(lake, max_offsets=max_offsets)
        if kafka:
            return ingest_kafka.run(lake, max_offsets=max_offsets)
        return ingest_score_log.run(lake)
    return _ingest_dataset(lake, (date, until), max_refused_share)


def look(settings: Settings) -> None:
    """Look at the dataset folder before anything is started: what is missing is said at once.

    Raises
    ------
    JobError
        The folder does not exist, a file is no table or lacks a column, or the lake holds another dataset;
        one line.
    """
    _check_lake(settings)
    if settings.dataset.path is not None:
        try:
            look_at(settings.dataset.path)
        except DatasetFolderError as error:
            raise JobError(str(error)) from None


def _ingest_dataset(
    lake: Lake,
    days: tuple[datetime.date | None, datetime.date | None],
    max_refused_share: float | None,
) -> JobResult:
    # In this order; a crash after any step is repaired by running again, since every step adds only what is
    # missing:
    #   1 parse aside   2 quarantine   3 stop where too little is left   4 items   5 held-out clicks   6
    #                   clicks
    started = time.monotonic()
    now = datetime.datetime.now(datetime.UTC)
    name = _check_lake(lake.settings)
    with _scratch(lake.settings) as folder:
        staged = _stage(lake.settings, folder, now)
        _say(staged)
        refused = _commit_refused(lake, staged, now)
        _check_staged(lake.settings, name, staged, max_refused_share)
        items = _commit_items(lake, staged, now)
        with lake.as_job_error(CLICKS):
            parts = lake.spark.read.parquet(str(staged.clicks))
            held = hold_back(
                lake, parts, staged.times, 0.0 if staged.own_split else lake.settings.dataset.live_share
            )
            result = _commit_clicks(lake, held, days, now)
            unknown = _unknown(lake, held.kept)
    write_marker(lake.settings, name, staged.session_key, staged.own_split)
    details: dict[str, Any] = {
        "dataset": name,
        "items": items,
        "held_out": held.rows,
        "held_out_file": str(held.file),
        "duplicates": staged.repeats,
        "refused_by": staged.tally.ranked(),
        "newly_refused": refused,
        "own_split": staged.own_split,
        "notes": list(staged.notes),
        **unknown,
    }
    rows = lake.read(CLICKS).count()
    return JobResult(
        CLICKS,
        rows,
        result.inserted,
        result.updated,
        staged.tally.total,
        result.version,
        time.monotonic() - started,
        details,
    )


def _say(staged: Staged) -> None:
    for note in staged.notes:
        log.warning("ingest: %s", note)
    for kind, count in staged.tally.ranked().items():
        log.warning("ingest: %s rows refused, such as %s", f"{count:,}", staged.tally.examples[kind])


def _check_staged(settings: Settings, name: str, staged: Staged, max_refused_share: float | None) -> None:
    """Raise where nothing, or too little, is left, or where ids mean something else than in the lake; all
    refused rows are in the quarantine by then.
    """
    see = "`python -m spark_jobs quarantine` prints the rows"
    if not staged.clicks_taken:
        why = (
            f" ({staged.tally.total:,} rows refused: {staged.tally.summary()}); {see}"
            if staged.tally.total
            else "; add rows to clicks.*"
        )
        raise JobError(f"{name}: no valid click{why}")
    stop = too_many(
        name, staged.tally, staged.clicks_taken, 1.0 if max_refused_share is None else max_refused_share
    )
    if stop:
        raise JobError(f"{stop}; {see}")
    marker = read_marker(settings)
    known = marker.get("session_key", "session")
    if marker and known != staged.session_key:
        raise JobError(
            f"{name}: a session is named by {staged.session_key} now, and by {known} in the lake at "
            f"{settings.lake}, so its sessions would fall apart; remove that folder and ingest again, or "
            "set INTENTSTORE_HOME to another one"
        )


def _check_lake(settings: Settings) -> str:
    """Name the dataset, and refuse to mix it with another one's clicks."""
    name = str(settings.dataset.path.absolute()) if settings.dataset.path is not None else "ml-100k"
    known = read_marker(settings).get("dataset", name)
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
        raise JobError(explain(str(error), CLICKS, settings)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _stage(settings: Settings, folder: Path, now: datetime.datetime) -> Staged:
    ml_100k = None
    if settings.dataset.path is None:
        from feature_repo.contract.assets import fetch as assets

        ml_100k = assets.fetch("ml-100k", settings.assets_dir)
    try:
        return stage(
            settings.dataset.path,
            ml_100k,
            folder,
            round(now.timestamp() * 1_000_000),
            settings.session.gap_minutes,
            EventRules.from_settings(settings.session.event_types),
        )
    except DatasetFolderError as error:
        raise JobError(str(error)) from None


def _commit_items(lake: Lake, staged: Staged, now: datetime.datetime) -> int:
    """Merge the catalogue. Texts are valid since ever (1970): a catalogue has no dates, and an as-of join
    must find them for old clicks.
    """
    if staged.items is None:
        log.info("ingest: the dataset has no items file; going on without titles, on behaviour alone")
        lake.create(ITEMS)
        return 0
    if not staged.titled_items:
        log.warning(
            "ingest: no item has a title (0 of %s); intents need titles, the rest works on behaviour alone",
            f"{staged.items.num_rows:,}",
        )
    rows = _commit_catalogue(lake, staged.items, now)
    publish_stock(lake.settings)
    return rows


def _commit_catalogue(lake: Lake, items: pa.Table, now: datetime.datetime) -> int:
    from pyspark.sql import functions as F

    # so that a lake of before is not written anew
    unsaid = [
        name for name in ("raw", "available", "attributes") if items.column(name).null_count == items.num_rows
    ]
    same = {"catalogue": _digest(items.drop_columns(unsaid))}
    if lake.metadata(ITEMS) == same:
        return int(items.num_rows)
    lake.create(ITEMS)
    lake.add_new_columns(ITEMS)
    frame = lake.spark.createDataFrame(items)
    frame = frame.withColumn("event_timestamp", F.timestamp_seconds(F.lit(0))).withColumn(
        "created", F.lit(now)
    )
    if lake.exists(ITEM_UPDATES):  # of these items the topic has the word
        told = lake.read(ITEM_UPDATES).select("item_id").distinct()
        frame = frame.join(told, "item_id", "left_anti")
    lake.merge(ITEMS, frame.withColumn("extra", F.lit(None).cast("string")), metadata=same)
    return int(items.num_rows)


def _digest(table: pa.Table) -> str:
    found = hashlib.blake2b(digest_size=12)
    for batch in table.to_batches(max_chunksize=65_536):
        found.update(batch.serialize())
    return found.hexdigest()


def _commit_refused(lake: Lake, staged: Staged, now: datetime.datetime) -> int:
    """Put refused rows into the quarantine; return how many are new there."""
    if not staged.tally.total:
        lake.create(QUARANTINE)
        return 0
    return quarantine(lake, _refused(lake.spark, staged), now)


def _refused(spark: SparkSession, staged: Staged) -> DataFrame:
    from pyspark.sql.pandas.types import from_arrow_schema

    return spark.read.schema(from_arrow_schema(STAGED_REFUSED)).parquet(str(staged.refused))


def _commit_clicks(
    lake: Lake,
    held: HeldOut,
    days: tuple[datetime.date | None, datetime.date | None],
    now: datetime.datetime,
) -> MergeResult:
    from pyspark.sql import functions as F

    rows = held.kept.withColumns(
        {
            "arrival_time": F.col("event_time"),
            "ingest_time": F.lit(now),
            "event_date": F.to_date("event_time"),
            "topic": F.lit(None),
            "partition": F.lit(None),
            "offset": F.lit(None),
        }
    )
    date, until = days
    if date is not None:
        rows = rows.where(on_days("event_date", date, until))
    if lake.create(CLICKS) or lake.read(CLICKS).isEmpty():
        return lake.append(CLICKS, rows, has_rows=date is None)
    return lake.merge(CLICKS, rows, update_changed=False)


def _unknown(lake: Lake, clicks: DataFrame) -> dict[str, int]:
    """Count clicks on items that the catalogue does not hold: they are kept, and get their text when the
    catalogue does.
    """
    from pyspark.sql import functions as F

    counted = (
        clicks.groupBy("item_id").count().join(lake.read(ITEMS).select("item_id"), "item_id", "left_anti")
    )
    row = counted.agg(
        F.count("*").alias("items"), F.coalesce(F.sum("count"), F.lit(0)).alias("clicks")
    ).first()
    return {"unknown_items": int(row["items"]), "unknown_item_clicks": int(row["clicks"])}
