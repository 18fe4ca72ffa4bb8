"""The `replay` job: clicks of the lake, or those that were held back, to a Kafka topic in their original
order.
"""

from __future__ import annotations

import datetime
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feature_repo.contract.key_partitions import partition_of, partitioner_of
from feature_repo.contract.messages import Click, encode_click, parse_time
from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import CLICK_COLUMNS, CLICKS, OPTIONAL_CLICK_COLUMNS
from spark_jobs.ingest.held_out import HELD_OUT_COLUMNS, held_out_file
from spark_jobs.ingest.kafka_options import python_options
from spark_jobs.job import JobError, JobResult
from spark_jobs.lake.lake import Lake

if TYPE_CHECKING:
    from kafka import KafkaProducer

log = logging.getLogger("intentstore.replay")
SAY_EVERY_SECONDS = 10.0
FLUSH_TIMEOUT_SECONDS = 60.0  # twice the broker's request time-out, so that it reports first


def run(
    lake: Lake,
    *,
    date: datetime.date | None = None,
    topic: str | None = None,
    rate: float | None = None,
    limit: int | None = None,
    held_out: bool = False,
    from_time: str | None = None,
    to_time: str | None = None,
    pin: int | None = None,
) -> JobResult:
    """Send clicks to a topic.

    Parameters
    ----------
    lake : Lake
        Its clicks; of its settings `kafka`, `home`.
    date : datetime.date, optional
        Only clicks of this day (UTC).
    topic : str, optional
        None = ``kafka.clicks_topic``.
    rate : float, optional
        Clicks a second; None = as fast as the broker takes them.
    limit : int, optional
        At most so many clicks.
    held_out : bool
        Send what `ingest` held back instead of the table's rows.
    from_time, to_time : str, optional
        First event time that is sent, and first that is not any more; ISO 8601 or epoch.
    pin : int, optional
        Delta version of `clicks` to read.

    Returns
    -------
    JobResult
        `table` is the topic, `rows` the clicks that the broker acknowledged. `details`: ``rate`` (clicks a
        second), ``source``.

    Raises
    ------
    JobError
        Nothing to send, no broker, no such topic, or the broker refused a click.

    Notes
    -----
    Original order = order of arrival: (ingest_time, arrival_seq). Sending is not undone by a second run: the
    consumer knows the event ids and drops the repeats.
    """
    first_us, end_us = _range(date, from_time, to_time)
    source = held_out_clicks(lake.settings) if held_out else _table(lake, pin, first_us, end_us)
    clicks = (
        click
        for click in source
        if (first_us is None or click.event_time >= first_us)
        and (end_us is None or click.event_time < end_us)
    )
    name = str(held_out_file(lake.settings)) if held_out else CLICKS
    return send(lake.settings, clicks, topic=topic, rate=rate, limit=limit, source=name)


def send(
    settings: Settings,
    clicks: Iterable[Click],
    *,
    topic: str | None = None,
    rate: float | None = None,
    limit: int | None = None,
    source: str = CLICKS,
) -> JobResult:
    """Send given clicks to a topic; needs no Spark.

    Parameters
    ----------
    settings : Settings
        `kafka`, `home`.
    clicks : iterable of Click
        In the order in which they are sent; read no faster than they are sent.
    topic, rate, limit
        As in `run`.
    source : str
        Where the clicks are from, for `details`.

    Returns
    -------
    JobResult
        As of `run`.

    Raises
    ------
    JobError
        As `run`.
    """
    started = time.monotonic()
    if rate is not None and rate <= 0:
        raise JobError(
            f"--rate {rate} is not positive; give clicks a second, or leave it out for as fast as possible"
        )
    if limit is not None and limit < 1:
        raise JobError(f"--limit {limit} is not positive; give a number of clicks, or leave it out")
    target = topic or settings.kafka.clicks_topic
    sent, seconds = _send(settings, target, iter(clicks), rate, limit)
    details = {"rate": round(sent / seconds, 1) if seconds else 0.0, "source": source}
    return JobResult(target, sent, sent, seconds=time.monotonic() - started, details=details)


def _range(
    date: datetime.date | None, from_time: str | None, to_time: str | None
) -> tuple[int | None, int | None]:
    try:
        first = parse_time(from_time) if from_time else None
        end = parse_time(to_time) if to_time else None
    except ValueError as error:
        raise JobError(f"--from-time / --to-time: {error}") from None
    if date is not None:
        begin = round(datetime.datetime.combine(date, datetime.time(), datetime.UTC).timestamp()) * 1_000_000
        first = max(begin, first or begin)
        end = min(begin + 86_400_000_000, end if end is not None else begin + 86_400_000_000)
    return first, end


def held_out_clicks(settings: Settings) -> Iterator[Click]:
    """Read the clicks that ingest held back, in their original order.

    Raises
    ------
    JobError
        None were held back.
    """
    import pyarrow.parquet

    file = held_out_file(settings)
    if not file.exists():
        raise JobError(
            f"no clicks were held back ({file} does not exist); set dataset.live_share above 0 and run "
            "`python -m spark_jobs ingest` (of a dataset with split files nothing is held back)"
        )
    for batch in pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=10_000):
        yield from clicks_of(batch)


def clicks_of(rows: pa.Table | pa.RecordBatch) -> Iterator[Click]:
    """Read rows with the columns of `HELD_OUT_COLUMNS` as clicks."""
    # a file of an earlier version may lack a column
    present = [name for name in HELD_OUT_COLUMNS if name in rows.schema.names]
    moments = rows.column("event_time").cast("int64")
    for click, moment in zip(rows.select(present).to_pylist(), moments.to_pylist(), strict=True):
        yield _click(click, moment)


def _table(lake: Lake, pin: int | None, first_us: int | None, end_us: int | None) -> Iterator[Click]:
    from pyspark.sql import functions as F

    frame = lake.read(CLICKS, pin)
    moment = F.unix_micros("event_time")
    if first_us is not None:
        frame = frame.where(moment >= first_us)
    if end_us is not None:
        frame = frame.where(moment < end_us)
    ordered = frame.orderBy("ingest_time", "arrival_seq", "event_id")
    columns = [*CLICK_COLUMNS, "extra", moment.alias("us")]
    for row in ordered.select(*columns).toLocalIterator(prefetchPartitions=True):
        click = row.asDict()
        yield _click(click, click["us"])


def _click(row: Mapping[str, Any], event_time_us: int) -> Click:
    more: dict[str, Any] = json.loads(row["extra"]) if row["extra"] else {}
    more |= {name: row[name] for name in OPTIONAL_CLICK_COLUMNS if row.get(name) is not None}
    return Click(row["event_id"], row["session_id"], row["item_id"], event_time_us, extra=more)


def _send(
    settings: Settings, topic: str, clicks: Iterator[Click], rate: float | None, limit: int | None
) -> tuple[int, float]:
    from kafka import KafkaProducer
    from kafka.errors import KafkaError

    options = python_options(settings)
    servers = ",".join(options["bootstrap_servers"])
    failed: list[BaseException] = []
    try:
        producer = KafkaProducer(
            **options,
            acks="all",
            linger_ms=1 if rate else 20,
            max_block_ms=15_000,
            bootstrap_timeout_ms=15_000,
        )
        try:
            _check_topic(settings, topic)
            place = _place(settings, topic, len(producer.partitions_for(topic)))
            sent, seconds = _paced(producer, topic, clicks, rate, limit, failed, place)
            producer.flush(timeout=FLUSH_TIMEOUT_SECONDS)
        finally:
            producer.close(timeout=5)
    except (KafkaError, OSError) as error:
        raise JobError(
            f"broker {servers} does not take clicks ({type(error).__name__}: {str(error)[:120]}); is it "
            "running? `python -m streaming up`"
        ) from None
    if failed:
        raise JobError(
            f"broker {servers} refused {len(failed):,} of {sent:,} clicks for topic '{topic}' (first: "
            f"{failed[0]}); run the replay again"
        )
    if not sent:
        raise JobError("no click to send in the chosen range; widen --date, --from-time or --to-time")
    return sent, seconds


def _place(settings: Settings, topic: str, count: int) -> Callable[[bytes], int | None]:
    """Give the partition of a key as the consumer looks for it; None = by the client, whose own is
    murmur2.
    """
    name = partitioner_of(settings.kafka)
    own = name == "murmur2" or topic != settings.kafka.clicks_topic
    return lambda key: None if own else partition_of(name, key, count)


def _check_topic(settings: Settings, topic: str) -> None:
    from kafka import KafkaConsumer

    consumer = KafkaConsumer(
        **python_options(settings), enable_auto_commit=False, bootstrap_timeout_ms=15_000
    )
    try:
        if not consumer.partitions_for_topic(topic):
            raise JobError(f"topic '{topic}' does not exist; create it, or name another with --topic")
    finally:
        consumer.close()


def _paced(
    producer: KafkaProducer,
    topic: str,
    clicks: Iterator[Click],
    rate: float | None,
    limit: int | None,
    failed: list[BaseException],
    place: Callable[[bytes], int | None],
) -> tuple[int, float]:
    """Send at fixed instants from the start, so that a slow moment is caught up with instead of lowering the
    rate.
    """
    begin = said = time.monotonic()
    sent = 0
    for click in clicks:
        if limit is not None and sent >= limit:
            break
        if rate is not None and (wait := begin + sent / rate - time.monotonic()) > 0:
            time.sleep(wait)
        key = click.session_id.encode()
        producer.send(topic, key=key, value=encode_click(click), partition=place(key)).add_errback(
            failed.append
        )
        sent += 1
        if time.monotonic() - said > SAY_EVERY_SECONDS:
            said = time.monotonic()
            log.info("replay: %s clicks sent", f"{sent:,}")
    return sent, max(time.monotonic() - begin, 1e-9)
