"""The group's commits, written and read: next offsets, each with the log that it counts in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from streaming.topics.layout import Layout, decode, encode


def offsets_of(topic: str, offsets: Mapping[int, int], layouts: Mapping[int, Layout]) -> dict[Any, Any]:
    """Give next offsets by partition as the client wants them, each with the log that it counts in."""
    from kafka import TopicPartition
    from kafka.structs import OffsetAndMetadata

    return {
        TopicPartition(topic, p): OffsetAndMetadata(offset, encode(layouts[p]).decode(), -1)
        for p, offset in offsets.items()
    }


class Commit(NamedTuple):
    """What the group's commit of a partition says: next offset, and the log that it counts in; None =
    nothing, or an older version said it.
    """

    offset: int | None
    layout: Layout | None


def commits_of(consumer: Any, topic: str, partitions: Iterable[int]) -> dict[int, Commit]:
    """Read the group's commits of some partitions.

    Raises
    ------
    KafkaError
        The broker does not answer.
    """
    from kafka import TopicPartition

    found = {
        number: consumer.committed(TopicPartition(topic, number), metadata=True) for number in partitions
    }
    return {
        number: Commit(None, None) if one is None else Commit(one.offset, decode(one.metadata))
        for number, one in found.items()
    }
