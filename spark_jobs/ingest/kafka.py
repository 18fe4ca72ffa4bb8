"""The clicks topic into Delta by offset range: every record once, in effect, whatever dies. Which records are
clicks is `contract.events`'s business.
"""

from __future__ import annotations

import datetime
import json
import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from feature_repo.contract.key_partitions import KeyRule, key_rule
from feature_repo.contract.messages import ClickError, decode_click
from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import CLICK_FIELDS, CLICKS, OPTIONAL_CLICK_COLUMNS, TIME
from spark_jobs.ingest.kafka_options import python_options, spark_options
from spark_jobs.ingest.refused import quarantine
from spark_jobs.job import JobError, JobResult
from spark_jobs.lake.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger("intentstore.ingest")
BATCH_OFFSETS = 1_000_000  # records of one partition in one commit: bounds memory and what a crash repeats
_S = pa.string()
DECODED = pa.schema(
    [
        *((field.name, field.kind) for field in CLICK_FIELDS),
        ("extra", _S),
        ("topic", _S),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("arrival_time", TIME),
        ("reason", _S),
        ("raw", _S),
    ]
)
Offsets = dict[int, int]


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
    topic_id, begin, end = _bounds(lake.settings, topic)
    lake.create(CLICKS)
    rule = key_rule(lake.settings.kafka, lake.settings.home, topic_id, len(end), end)
    position = _start(_held(lake, topic), begin, end, topic)
    if max_offsets is not None:
        end = {partition: min(last, position[partition] + max_offsets) for partition, last in end.items()}
    totals = dict.fromkeys(("records", "inserted", "refused", "duplicates"), 0)
    first = position
    while any(position[partition] < last for partition, last in end.items()):
        until = {partition: min(last, position[partition] + BATCH_OFFSETS) for partition, last in end.items()}
        for name, count in _batch(lake, rule, position, until).items():
            totals[name] += count
        position = until
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


class _Bounds(NamedTuple):
    """Of a topic: Kafka's own id of it, and of each partition the first offset and the end."""

    topic_id: str
    begin: Offsets
    end: Offsets


def _bounds(settings: Settings, topic: str) -> _Bounds:
    from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
    from kafka.errors import KafkaError

    options = python_options(settings)
    servers = ",".join(options["bootstrap_servers"])
    try:
        consumer = KafkaConsumer(
            **options, enable_auto_commit=False, isolation_level="read_committed", bootstrap_timeout_ms=15_000
        )
        try:
            partitions = consumer.partitions_for_topic(topic)
            if not partitions:
                raise JobError(
                    f"topic '{topic}' does not exist on {servers}; create it, or set kafka.clicks_topic"
                )
            with KafkaAdminClient(**options) as admin:
                topic_id = str(admin.describe_topics([topic])[0]["topic_id"])
            every = [TopicPartition(topic, partition) for partition in sorted(partitions)]
            begin, end = consumer.beginning_offsets(every), consumer.end_offsets(every)
        finally:
            consumer.close()
    except (KafkaError, OSError) as error:
        raise JobError(
            f"broker {servers} does not answer ({type(error).__name__}: {str(error)[:120]}); is it running? "
            "`python -m streaming up`"
        ) from None
    return _Bounds(
        topic_id,
        {place.partition: int(offset) for place, offset in begin.items()},
        {place.partition: int(offset) for place, offset in end.items()},
    )


def _held(lake: Lake, topic: str) -> Offsets:
    from pyspark.sql import functions as F

    rows = (
        lake.read(CLICKS)
        .where(F.col("topic") == topic)
        .groupBy("partition")
        .agg(F.max("offset").alias("offset"))
        .collect()
    )
    return {int(row["partition"]): int(row["offset"]) for row in rows}


def _start(held: Offsets, begin: Offsets, end: Offsets, topic: str) -> Offsets:
    position = {}
    for partition, first in begin.items():
        following = held.get(partition, first - 1) + 1
        if following > end[partition]:
            raise JobError(
                f"topic '{topic}' partition {partition} ends at offset {end[partition]}, but the table "
                f"holds offset {following - 1}: the topic was made anew; give it another name "
                "(kafka.clicks_topic), or start with an empty lake"
            )
        if following < first:
            raise JobError(
                f"topic '{topic}' partition {partition} starts at offset {first}, but the table ends at "
                f"{following - 1}: {first - following} records were deleted before they were read; raise "
                "the topic's retention, and name a new topic to go on without them"
            )
        position[partition] = following
    return position


def _batch(lake: Lake, rule: KeyRule, first: Offsets, until: Offsets) -> dict[str, int]:
    # In this order: the quarantine before the clicks, because the next run starts after the clicks' highest
    # offset.
    #   1 read and decode aside   2 refused to quarantine (adds only new ones)   3 new clicks in one commit
    from pyspark.sql import functions as F

    now = datetime.datetime.now(datetime.UTC)
    with (
        lake.as_job_error(CLICKS),
        lake.staged(_decoded(lake, rule, first, until)) as rows,
    ):
        refused = rows.where(F.col("reason").isNotNull())
        source = F.concat(F.lit("kafka "), F.col("topic"), F.lit("/"), F.col("partition").cast("string"))
        quarantine(
            lake,
            refused.select(source.alias("source"), F.col("offset").alias("line"), "reason", "raw"),
            now,
        )
        valid = rows.where(F.col("reason").isNull())
        clicks = _first_of_each(valid).withColumns(
            {
                "split": F.lit(None),
                "arrival_seq": F.col("offset"),
                "ingest_time": F.lit(now),
                "event_date": F.to_date("event_time"),
            }
        )
        inserted = lake.merge(CLICKS, clicks, update_changed=False).inserted
        records, bad = rows.count(), refused.count()
    return {"records": records, "inserted": inserted, "refused": bad, "duplicates": records - bad - inserted}


def _first_of_each(clicks: DataFrame) -> DataFrame:
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    order = Window.partitionBy("event_id").orderBy("arrival_time", "partition", "offset")
    return clicks.withColumn("_nth", F.row_number().over(order)).where("_nth = 1").drop("_nth")


def _decoded(lake: Lake, rule: KeyRule, first: Offsets, until: Offsets) -> DataFrame:
    from pyspark.sql import functions as F
    from pyspark.sql.pandas.types import from_arrow_schema

    topic = lake.settings.kafka.clicks_topic
    reader = (
        lake.spark.read.format("kafka")
        .options(**spark_options(lake.settings))
        .option("subscribe", topic)
        .option("failOnDataLoss", "true")
    )
    reader = reader.option("startingOffsets", _as_json(topic, first)).option(
        "endingOffsets", _as_json(topic, until)
    )
    records = reader.load().select(
        "topic", "partition", "offset", F.unix_micros("timestamp").alias("arrival_us"), "key", "value"
    )
    return records.mapInArrow(lambda batches: decode_batches(batches, rule), from_arrow_schema(DECODED))


def _as_json(topic: str, offsets: Offsets) -> str:
    return json.dumps({topic: {str(partition): offset for partition, offset in offsets.items()}})


def decode_batches(
    batches: Iterator[pa.RecordBatch], rule: KeyRule | None = None
) -> Iterator[pa.RecordBatch]:
    """Decode records of the clicks topic; runs in Spark's Python workers.

    Parameters
    ----------
    batches : iterator of pa.RecordBatch
        Columns ``topic``, ``partition``, ``offset``, ``arrival_us``, ``key``, ``value``.
    rule : KeyRule, optional
        On which partition a key belongs; the consumer's rule.

    Yields
    ------
    pa.RecordBatch
        Schema ``DECODED``; a refused record has a `reason` and no click.
    """
    for batch in batches:
        records = [decode_record(**record, rule=rule) for record in batch.to_pylist()]
        yield pa.RecordBatch.from_pylist(records, schema=DECODED)


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
        See `decode_batches`.

    Returns
    -------
    dict
        With ``reason`` and ``raw`` for a refused record, with the click's columns for a valid one.
    """
    place: dict[str, object] = {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "arrival_time": arrival_us,
    }
    try:
        click = decode_click(value, key, arrival_us)
        if rule is not None:
            rule.check(key or b"", partition, offset)
    except ClickError as error:
        raw = None if value is None else value[:10_000].decode("utf-8", errors="replace")
        return place | {
            "reason": f"topic {topic} partition {partition} offset {offset}: {error.reason}: {error}",
            "raw": raw,
        }
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
