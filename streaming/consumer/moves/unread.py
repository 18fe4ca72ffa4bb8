"""What waits in a topic that grew: by which number of partitions each click was sent, and so where each
partition ends for the old one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from feature_repo.contract.key_partitions import partitioner_of
from feature_repo.contract.settings import Settings
from streaming.topics.fence import Fence, Widths, fences_of, left_home, place_of
from streaming.topics.growth import Waiting, growth_of
from streaming.topics.tails import read_between, reader_of

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
    place = place_of(settings.kafka)
    with reader_of(settings) as reader:
        names = [_name(settings, partition) for partition in committed]
        begins, ends = reader.beginning_offsets(names), reader.end_offsets(names)
        starts = {name: max(committed[name.partition] or 0, begins[name]) for name in names}
        growth = growth_of(partitioner_of(settings.kafka), before, now, _waiting(reader, starts, ends))
        widths = Widths(before, growth.later)
        left = left_home(place, widths, _waiting(reader, starts, ends)) if len(widths.later) > 1 else {}
        fences = fences_of(place, widths, growth.began_ms, _waiting(reader, starts, ends), left)
    return Fence(place, widths, fences, {name.partition: end for name, end in ends.items()})


def _waiting(reader: Any, starts: Mapping[Any, int], ends: Mapping[Any, int]) -> Iterator[Waiting]:
    """Give every click with a key from one offset of each partition up to another."""
    for records in read_between(reader, starts, ends, _READ_SECONDS):
        yield from (
            Waiting(record.timestamp, record.partition, record.offset, record.key)
            for record in records
            if record.key is not None
        )


def _name(settings: Settings, partition: int) -> Any:
    from kafka import TopicPartition

    return TopicPartition(settings.kafka.clicks_topic, partition)
