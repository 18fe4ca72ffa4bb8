"""The items topic into Delta by offset range: every accepted record once into `item_updates`, and what counts
of each item into `items`. Which records are items is `contract.items`'s business.
"""

from __future__ import annotations

import datetime
import json
import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from feature_repo.contract.items.messages import ItemError, decode_item
from feature_repo.contract.tables import ITEM_UPDATES, ITEMS
from spark_jobs.ingest import topic as source
from spark_jobs.ingest.stock import publish_stock
from spark_jobs.job import JobResult
from spark_jobs.lake.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger("intentstore.ingest")
_S = pa.string()
DECODED = pa.schema(
    [
        *source.PLACE,
        ("item_id", _S),
        ("title", _S),
        ("category", _S),
        ("available", pa.bool_()),
        ("withdrawn", pa.bool_()),
        ("attributes", _S),
        ("extra", _S),
        *source.REFUSED,
    ]
)


def run(lake: Lake, *, max_offsets: int | None = None) -> JobResult:
    """Commit what the topic holds beyond the history.

    Parameters
    ----------
    lake : Lake
        Its tables; of its settings `kafka`.
    max_offsets : int, optional
        At most so many records of each partition; none = up to the end that the topic had when the job began.

    Returns
    -------
    JobResult
        Of `items`; `details`: ``topic``, ``records``, ``updates`` (rows new in `item_updates`), ``offsets``
        (next one of each partition).

    Raises
    ------
    JobError
        No broker, no such topic, or the topic does not hold the records that follow the history's.
    """
    started = time.monotonic()
    topic = lake.settings.kafka.items_topic
    _, begin, end = source.bounds(lake.settings, topic, "kafka.items_topic")
    lake.create(ITEM_UPDATES)
    lake.create(ITEMS)
    lake.add_new_columns(ITEMS)
    held = source.held(lake, ITEM_UPDATES, topic)
    position = source.first_unread(held, begin, end, topic, "kafka.items_topic")
    end = source.at_most(position, end, max_offsets)
    counts = dict.fromkeys(("records", "updates", "refused"), 0)
    for part in source.ranges(position, end):
        for name, count in _batch(lake, topic, part).items():
            counts[name] += count
    # also where nothing is new: a run that died in between left history that is not in `items` yet
    merged = lake.merge(ITEMS, _current(lake, topic))
    publish_stock(lake.settings)
    details = {
        "topic": topic,
        "records": counts["records"],
        "updates": counts["updates"],
        "offsets": {str(partition): offset for partition, offset in end.items()},
    }
    return JobResult(
        ITEMS,
        lake.read(ITEMS).count(),
        merged.inserted,
        merged.updated,
        counts["refused"],
        merged.version,
        time.monotonic() - started,
        details,
    )


def _batch(lake: Lake, topic: str, part: source.Range) -> dict[str, int]:
    #   1 read and decode aside   2 refused to quarantine   3 new history in one commit
    from pyspark.sql import functions as F
    from pyspark.sql.pandas.types import from_arrow_schema

    now = datetime.datetime.now(datetime.UTC)
    records = source.records_between(lake, topic, part.first, part.until)
    with (
        lake.as_job_error(ITEM_UPDATES),
        lake.staged(records.mapInArrow(decode_batches, from_arrow_schema(DECODED))) as rows,
    ):
        found = source.put_aside(lake, rows, now)
        history = found.valid.withColumn("ingest_time", F.lit(now))
        added = lake.merge(ITEM_UPDATES, history, update_changed=False).inserted
        return {"records": rows.count(), "updates": added, "refused": found.refused.count()}


def _current(lake: Lake, topic: str) -> DataFrame:
    """Give what counts of each item of the topic: of a partition the latest offset, of these the latest time;
    a text or attributes that the record does not say stay as `items` has them.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    one = Window.partitionBy("item_id", "partition").orderBy(F.desc("offset"))
    newest = Window.partitionBy("item_id").orderBy(F.desc("arrival_time"), F.desc("partition"))
    said = lake.read(ITEM_UPDATES).where(F.col("topic") == topic)
    said = said.withColumn("_nth", F.row_number().over(one)).where("_nth = 1")
    said = said.withColumn("_nth", F.row_number().over(newest)).where("_nth = 1")
    known = lake.read(ITEMS).alias("t")
    kept = {
        name: F.coalesce(f"s.{name}", f"t.{name}") for name in ("title", "category", "attributes", "extra")
    }
    return (
        said.alias("s")
        .join(known, "item_id", "left")
        .select(
            "item_id",
            *(column.alias(name) for name, column in kept.items()),
            "t.description",
            "t.raw",
            "s.available",
            F.coalesce("t.event_timestamp", F.timestamp_seconds(F.lit(0))).alias("event_timestamp"),
            F.col("s.ingest_time").alias("created"),
        )
    )


def decode_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Decode records of the items topic into ``DECODED``."""
    return source.decoded_rows(batches, decode_record, DECODED)


def decode_record(
    topic: str, partition: int, offset: int, arrival_us: int, key: bytes | None, value: bytes | None
) -> dict[str, object]:
    """Decode one record into a row of ``DECODED``.

    Parameters
    ----------
    topic, partition, offset
        Where the record stands.
    arrival_us : int
        Its Kafka time, microseconds UTC.
    key, value : bytes or None
        As Kafka holds them.

    Returns
    -------
    dict
        With ``reason`` and ``raw`` for a refused record, with the item's columns for a valid one.
    """
    place = source.place_of(topic, partition, offset, arrival_us)
    try:
        item = decode_item(value, key)
    except ItemError as error:
        return source.refusal(place, error, value)
    return place | {
        "item_id": item.item_id,
        "title": item.title,
        "category": item.category,
        "available": item.available,
        "withdrawn": item.withdrawn,
        "attributes": None if item.attributes is None else _json(item.attributes),
        "extra": _json(item.extra) if item.extra else None,
    }


def _json(fields: object) -> str:
    return json.dumps(fields, ensure_ascii=False)
