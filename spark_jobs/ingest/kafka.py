"""The clicks topic into Delta by offset range: every record once, in effect, whatever dies. Which records are
clicks is `contract.events`'s business.
"""

from __future__ import annotations

import datetime
import json
import logging
import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from feature_repo.contract.key_partitions import KeyRule, key_rule
from feature_repo.contract.messages import ClickError, decode_click
from feature_repo.contract.tables import CLICK_FIELDS, CLICKS, OPTIONAL_CLICK_COLUMNS
from spark_jobs.ingest import topic as source
from spark_jobs.job import JobResult
from spark_jobs.lake.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger("intentstore.ingest")
DECODED = pa.schema(
    [
        *((field.name, field.kind) for field in CLICK_FIELDS),
        ("extra", pa.string()),
        *source.PLACE,
        *source.REFUSED,
    ]
)


def run(lake: Lake, *, max_offsets: int | None = None) -> JobResult:
    """Commit what the topic holds beyond the table.

    Parameters
    ----------
    lake : Lake
        Its tables; of its settings `kafka`.
    max_offsets : int, optional
        At most so many records of each partition; none = up to the end that the topic had when the job began.

    Returns
    -------
    JobResult
        Of `clicks`; `details`: ``topic``, ``records``, ``duplicates``, ``offsets`` (next one of each
        partition).

    Raises
    ------
    JobError
        No broker, no such topic, or the topic does not hold the records that follow the table's.
    """
    started = time.monotonic()
    topic = lake.settings.kafka.clicks_topic
    topic_id, begin, end = source.bounds(lake.settings, topic, "kafka.clicks_topic")
    lake.create(CLICKS)
    rule = key_rule(lake.settings.kafka, lake.settings.home, topic_id, len(end), end)
    held = source.held(lake, CLICKS, topic)
    first = position = source.first_unread(held, begin, end, topic, "kafka.clicks_topic")
    totals = dict.fromkeys(("records", "inserted", "refused", "duplicates"), 0)
    for part in source.ranges(first, source.at_most(first, end, max_offsets)):
        for name, count in _batch(lake, rule, part).items():
            totals[name] += count
        position = part.until
        log.info(
            "ingest: %s records of topic %s read", f"{sum(position.values()) - sum(first.values()):,}", topic
        )
    rows = lake.read(CLICKS).count()
    details = {
        "topic": topic,
        "records": totals["records"],
        "duplicates": totals["duplicates"],
        "offsets": {str(p): o for p, o in position.items()},
    }
    version = lake.version(CLICKS)
    return JobResult(
        CLICKS, rows, totals["inserted"], 0, totals["refused"], version, time.monotonic() - started, details
    )


def _batch(lake: Lake, rule: KeyRule, part: source.Range) -> dict[str, int]:
    #   1 read and decode aside   2 refused to quarantine   3 new clicks in one commit
    from pyspark.sql import functions as F

    now = datetime.datetime.now(datetime.UTC)
    with (
        lake.as_job_error(CLICKS),
        lake.staged(_decoded(lake, rule, part)) as rows,
    ):
        found = source.put_aside(lake, rows, now)
        clicks = _first_of_each(found.valid).withColumns(
            {
                "split": F.lit(None),
                "arrival_seq": F.col("offset"),
                "ingest_time": F.lit(now),
                "event_date": F.to_date("event_time"),
            }
        )
        inserted = lake.merge(CLICKS, clicks, update_changed=False).inserted
        records, bad = rows.count(), found.refused.count()
    return {"records": records, "inserted": inserted, "refused": bad, "duplicates": records - bad - inserted}


def _first_of_each(clicks: DataFrame) -> DataFrame:
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    order = Window.partitionBy("event_id").orderBy("arrival_time", "partition", "offset")
    return clicks.withColumn("_nth", F.row_number().over(order)).where("_nth = 1").drop("_nth")


def _decoded(lake: Lake, rule: KeyRule, part: source.Range) -> DataFrame:
    from pyspark.sql.pandas.types import from_arrow_schema

    records = source.records_between(lake, lake.settings.kafka.clicks_topic, part.first, part.until)
    return records.mapInArrow(lambda batches: decode_batches(batches, rule), from_arrow_schema(DECODED))


def decode_batches(
    batches: Iterator[pa.RecordBatch], rule: KeyRule | None = None
) -> Iterator[pa.RecordBatch]:
    """Decode records of the clicks topic into ``DECODED``; `rule` says on which partition a key belongs, as
    the consumer's does.
    """
    return source.decoded_rows(batches, partial(decode_record, rule=rule), DECODED)


def decode_record(
    topic: str,
    partition: int,
    offset: int,
    arrival_us: int,
    key: bytes | None,
    value: bytes | None,
    rule: KeyRule | None = None,
) -> dict[str, object]:
    """Decode one record into a row of ``DECODED``.

    Parameters
    ----------
    topic, partition, offset
        Where the record stands.
    arrival_us : int
        Its Kafka time, microseconds UTC: the clock that its event time is checked against, the same at every
        replay.
    key, value : bytes or None
        As Kafka holds them.
    rule : KeyRule, optional
        On which partition a key belongs.

    Returns
    -------
    dict
        With ``reason`` and ``raw`` for a refused record, with the click's columns for a valid one.
    """
    place = source.place_of(topic, partition, offset, arrival_us)
    try:
        click = decode_click(value, key, arrival_us)
        if rule is not None:
            rule.check(key or b"", partition, offset)
    except ClickError as error:
        return source.refusal(place, error, value)
    extra = dict(click.extra)
    lifted = {
        name: extra.pop(name) if isinstance(extra.get(name), str) else None for name in OPTIONAL_CLICK_COLUMNS
    }
    kept = json.dumps(extra, ensure_ascii=False) if extra else None
    return (
        place
        | lifted
        | {
            "event_id": click.event_id,
            "session_id": click.session_id,
            "item_id": click.item_id,
            "event_time": click.event_time,
            "extra": kept,
        }
    )
