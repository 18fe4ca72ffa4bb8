"""What waits in a topic that grew: by which number of partitions each click was sent, and so where each
partition ends for the old one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from feature_repo.contract.key_partitions import partitioner_of
from feature_repo.contract.settings import Settings
from streaming.clients import client_options
from streaming.topics.fence import Fence, Widths, fences_of, left_home, place_of
from streaming.topics.growth import Waiting, growth_of

_READ_SECONDS = 120.0  # without any record


def survey(settings: Settings, before: int, now: int, committed: Mapping[int, int | None]) -> Fence:
    """Read what waits, and work out the fence of the old number of partitions.

    Parameters
    ----------
    settings : Settings
        Broker, topic and its partitioner.
    before, now : int
        Number of partitions by which states are placed, and of the topic. Who calls looks at the topic again
        afterwards: a growth meanwhile makes another survey.
    committed : mapping of int to (int or None)
        Next offset of each partition by the group's commit.

    Returns
    -------
    Fence
        For who reads the topic by the old number.

    Raises
    ------
    KafkaTimeoutError
        The topic cannot be read.
    """
    from kafka import KafkaConsumer

    place = place_of(settings.kafka)
    reader = KafkaConsumer(
        **client_options(settings), group_id=None, enable_auto_commit=False, isolation_level="read_committed"
    )
    try:
        names = [_name(settings, partition) for partition in committed]
        reader.assign(names)
        begins, ends = reader.beginning_offsets(names), reader.end_offsets(names)
        starts = {name: max(committed[name.partition] or 0, begins[name]) for name in names}
        growth = growth_of(partitioner_of(settings.kafka), before, now, _waiting(reader, starts, ends))
        widths = Widths(before, growth.later)
        left = left_home(place, widths, _waiting(reader, starts, ends)) if len(widths.later) > 1 else {}
        fences = fences_of(place, widths, growth.began_ms, _waiting(reader, starts, ends), left)
    finally:
        reader.close()
    return Fence(place, widths, fences, {name.partition: end for name, end in ends.items()})


def _waiting(reader: Any, starts: Mapping[Any, int], ends: Mapping[Any, int]) -> Iterator[Waiting]:
    """Give every click with a key from one offset of each partition up to another."""
    from kafka.errors import KafkaTimeoutError

    for name, start in starts.items():
        reader.seek(name, start)
    moved = time.monotonic()
    while any(reader.position(name) < end for name, end in ends.items()):
        polled = reader.poll(timeout_ms=200)
        moved = time.monotonic() if polled else moved
        if time.monotonic() - moved > _READ_SECONDS:
            raise KafkaTimeoutError(f"topic '{next(iter(ends)).topic}' cannot be read")
        for name, records in polled.items():
            yield from (
                Waiting(record.timestamp, record.partition, record.offset, record.key)
                for record in records
                if record.key is not None and record.offset < ends[name]
            )


def _name(settings: Settings, partition: int) -> Any:
    from kafka import TopicPartition

    return TopicPartition(settings.kafka.clicks_topic, partition)
