"""The form of a commit: next offsets, each with the log that it counts in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streaming.topics.layout import Layout, encode


def offsets_of(topic: str, offsets: Mapping[int, int], layouts: Mapping[int, Layout]) -> dict[Any, Any]:
    """Give next offsets by partition as the client wants them, each with the log that it counts in."""
    from kafka import TopicPartition
    from kafka.structs import OffsetAndMetadata

    return {
        TopicPartition(topic, p): OffsetAndMetadata(offset, encode(layouts[p]).decode(), -1)
        for p, offset in offsets.items()
    }
