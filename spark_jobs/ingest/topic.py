"""A Kafka topic into Delta by offset range: what the broker holds beyond a table, in ranges of bounded size;
records decoded in Spark's workers, refused ones put aside. Knows no click and no item.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from feature_repo.contract.messages import ClickError
from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import TIME
from spark_jobs.ingest.kafka_options import python_options, spark_options
from spark_jobs.ingest.refused import quarantine
from spark_jobs.job import JobError
from spark_jobs.lake.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

BATCH_OFFSETS = 1_000_000  # records of one partition in one commit: bounds memory and what a crash repeats
PLACE = (
    ("topic", pa.string()),
    ("partition", pa.int32()),
    ("offset", pa.int64()),
    ("arrival_time", TIME),
)
REFUSED = (("reason", pa.string()), ("raw", pa.string()))
Offsets = dict[int, int]
Row = dict[str, object]


class Bounds(NamedTuple):
    """Of a topic: Kafka's own id of it, and of each partition the first offset and the end."""

    topic_id: str
    begin: Offsets
    end: Offsets


def bounds(settings: Settings, topic: str, setting: str) -> Bounds:
    """Ask the broker for a topic; `setting` names it in messages.

    Raises
    ------
    JobError
        No broker, or no such topic.
    """
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
                raise JobError(f"topic '{topic}' does not exist on {servers}; create it, or set {setting}")
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
    return Bounds(
        topic_id,
        {place.partition: int(offset) for place, offset in begin.items()},
        {place.partition: int(offset) for place, offset in end.items()},
    )


def held(lake: Lake, table: str, topic: str) -> Offsets:
    """Give the highest offset of each partition that a table holds."""
    from pyspark.sql import functions as F

    rows = (
        lake.read(table)
        .where(F.col("topic") == topic)
        .groupBy("partition")
        .agg(F.max("offset").alias("offset"))
        .collect()
    )
    return {int(row["partition"]): int(row["offset"]) for row in rows}


def first_unread(
    known: Offsets, begin: Offsets, end: Offsets, topic: str, setting: str = "kafka.clicks_topic"
) -> Offsets:
    """Give the offset of each partition that follows what a table holds.

    Raises
    ------
    JobError
        The topic does not hold the records that follow.
    """
    position = {}
    for partition, first in begin.items():
        following = known.get(partition, first - 1) + 1
        if following > end[partition]:
            raise JobError(
                f"topic '{topic}' partition {partition} ends at offset {end[partition]}, but the table "
                f"holds offset {following - 1}: the topic was made anew; give it another name "
                f"({setting}), or start with an empty lake"
            )
        if following < first:
            raise JobError(
                f"topic '{topic}' partition {partition} starts at offset {first}, but the table ends at "
                f"{following - 1}: {first - following} records were deleted before they were read; raise "
                "the topic's retention, and name a new topic to go on without them"
            )
        position[partition] = following
    return position


class Range(NamedTuple):
    """Of each partition the first offset, and the first that is not read any more."""

    first: Offsets
    until: Offsets


def ranges(position: Offsets, end: Offsets) -> Iterator[Range]:
    """Give what lies between two positions in ranges of at most ``BATCH_OFFSETS`` records of a partition.

    Examples
    --------
    >>> [part.until for part in ranges({0: 0}, {0: 1_500_000})]
    [{0: 1000000}, {0: 1500000}]
    """
    while any(position[partition] < last for partition, last in end.items()):
        until = {partition: min(last, position[partition] + BATCH_OFFSETS) for partition, last in end.items()}
        yield Range(position, until)
        position = until


def at_most(position: Offsets, end: Offsets, max_offsets: int | None) -> Offsets:
    """Give the end for so many records of each partition; none = the end that there is."""
    if max_offsets is None:
        return end
    return {partition: min(last, position[partition] + max_offsets) for partition, last in end.items()}


def records_between(lake: Lake, topic: str, first: Offsets, until: Offsets) -> DataFrame:
    """Read a topic from one offset of each partition to another: columns ``topic``, ``partition``,
    ``offset``, ``arrival_us``, ``key``, ``value``.
    """
    from pyspark.sql import functions as F

    reader = (
        lake.spark.read.format("kafka")
        .options(**spark_options(lake.settings))
        .option("subscribe", topic)
        .option("failOnDataLoss", "true")
    )
    reader = reader.option("startingOffsets", _as_json(topic, first)).option(
        "endingOffsets", _as_json(topic, until)
    )
    return reader.load().select(
        "topic", "partition", "offset", F.unix_micros("timestamp").alias("arrival_us"), "key", "value"
    )


def _as_json(topic: str, offsets: Offsets) -> str:
    return json.dumps({topic: {str(partition): offset for partition, offset in offsets.items()}})


def decoded_rows(
    batches: Iterator[pa.RecordBatch], decode: Callable[..., Row], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Decode records one by one; runs in Spark's Python workers.

    Parameters
    ----------
    batches : iterator of pa.RecordBatch
        Columns ``topic``, ``partition``, ``offset``, ``arrival_us``, ``key``, ``value``.
    decode : callable
        Takes these by name, gives a row of `schema`.
    schema : pa.Schema
        With ``PLACE`` and ``REFUSED`` in it.
    """
    for batch in batches:
        yield pa.RecordBatch.from_pylist([decode(**record) for record in batch.to_pylist()], schema=schema)


def place_of(topic: str, partition: int, offset: int, arrival_us: int) -> Row:
    """Give the columns ``PLACE`` of a record."""
    return {"topic": topic, "partition": partition, "offset": offset, "arrival_time": arrival_us}


def refusal(place: Row, error: ClickError, value: bytes | None) -> Row:
    """Give the row of a refused record: its place, the reason, and the beginning of what it held."""
    where = f"topic {place['topic']} partition {place['partition']} offset {place['offset']}"
    raw = None if value is None else value[:10_000].decode("utf-8", errors="replace")
    return place | {"reason": f"{where}: {error.reason}: {error}", "raw": raw}


class Sorted(NamedTuple):
    """Decoded records: all, those refused (in the quarantine already), those that are valid."""

    rows: DataFrame
    refused: DataFrame
    valid: DataFrame


def put_aside(lake: Lake, rows: DataFrame, now: datetime.datetime) -> Sorted:
    """Write the refused records to the quarantine (only new ones are added).

    It comes before the table's own commit, because the next run starts after the table's highest offset.
    """
    from pyspark.sql import functions as F

    refused = rows.where(F.col("reason").isNotNull())
    source = F.concat(F.lit("kafka "), F.col("topic"), F.lit("/"), F.col("partition").cast("string"))
    quarantine(
        lake, refused.select(source.alias("source"), F.col("offset").alias("line"), "reason", "raw"), now
    )
    return Sorted(rows, refused, rows.where(F.col("reason").isNull()))
