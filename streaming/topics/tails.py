"""Reads topics from one offset of each partition to another and not beyond, without a group."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from feature_repo.contract.settings import Settings
from streaming.clients import client_options

_POLL_MS = 200


@contextlib.contextmanager
def reader_of(settings: Settings, **options: Any) -> Iterator[Any]:
    """Connect a client that reads committed records, as a member of no group; ``options`` are its own.

    Raises
    ------
    KafkaError
        The broker does not answer.
    """
    from kafka import KafkaConsumer

    reader = KafkaConsumer(
        **client_options(settings),
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        **options,
    )
    try:
        yield reader
    finally:
        reader.close(autocommit=False)


def read_between(
    reader: Any, starts: Mapping[Any, int], ends: Mapping[Any, int], patience_seconds: float
) -> Iterator[list[Any]]:
    """Give the records of partitions, those of one poll and partition at a time, in offset order.

    Parameters
    ----------
    reader : KafkaConsumer
        Is assigned the partitions.
    starts : mapping of TopicPartition to int
        First offset.
    ends : mapping of TopicPartition to int
        First offset that is not read any more.
    patience_seconds : float
        Without any record, although there must be some.

    Yields
    ------
    list of ConsumerRecord
        Not empty.

    Raises
    ------
    KafkaTimeoutError
        The patience is over.
    """
    from kafka.errors import KafkaTimeoutError

    reader.assign(list(starts))
    for name, start in starts.items():
        reader.seek(name, start)
    moved = time.monotonic()
    # the client's own position also counts transaction markers, which are no records
    while any(reader.position(name) < ends[name] for name in starts):
        polled = reader.poll(timeout_ms=_POLL_MS)
        if polled:
            moved = time.monotonic()
        elif time.monotonic() - moved > patience_seconds:
            raise KafkaTimeoutError(
                f"topic '{next(iter(starts)).topic}' gave no record for {patience_seconds:.0f} s"
            )
        for name, records in polled.items():
            if within := [record for record in records if record.offset < ends[name]]:
                yield within
