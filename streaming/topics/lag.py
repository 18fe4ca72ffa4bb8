"""How far a consumer group is behind, per partition. Reads only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from feature_repo.contract.settings import Settings
from streaming.clients import TOOL_TIMEOUT_MS, client_options
from streaming.errors import StreamingError


@dataclass(frozen=True)
class PartitionLag:
    """One partition: next offset by the group's commit (None = never), end of the topic, and the records
    between.
    """

    partition: int
    committed: int | None
    end: int
    lag: int


@dataclass(frozen=True)
class LagReport:
    """All partitions of the clicks topic."""

    group: str
    topic: str
    partitions: tuple[PartitionLag, ...]

    @property
    def total(self) -> int:
        """Records behind, all partitions together."""
        return sum(one.lag for one in self.partitions)

    def to_json(self) -> str:
        """Give one JSON line."""
        return json.dumps({"total": self.total, **asdict(self)})

    def to_table(self) -> str:
        """Give lines for people."""
        lines = [
            f"group {self.group}, topic {self.topic}: {self.total} records behind",
            f"{'partition':>9} {'committed':>12} {'end':>12} {'lag':>12}",
        ]
        lines += [
            (
                f"{one.partition:>9} {'-' if one.committed is None else one.committed:>12} {one.end:>12} "
                f"{one.lag:>12}"
            )
            for one in self.partitions
        ]
        return "\n".join(lines)


def measure(settings: Settings) -> LagReport:
    """Ask the broker.

    Parameters
    ----------
    settings : Settings
        Broker, ``kafka.clicks_topic`` and ``streaming.group``.

    Returns
    -------
    LagReport
        A partition without a commit counts from its beginning.

    Raises
    ------
    StreamingError
        The topic is not there, ends before the commit, or the broker does not answer.
    """
    from kafka import KafkaConsumer, TopicPartition
    from kafka.errors import KafkaError

    topic, group = settings.kafka.clicks_topic, settings.streaming.group
    try:
        reader = KafkaConsumer(
            **client_options(settings),
            bootstrap_timeout_ms=TOOL_TIMEOUT_MS,
            group_id=group,
            enable_auto_commit=False,
        )
        try:
            names = [
                TopicPartition(topic, number) for number in sorted(reader.partitions_for_topic(topic) or ())
            ]
            if not names:
                raise StreamingError(
                    f"topic '{topic}' does not exist; name another by kafka.clicks_topic, or start the "
                    "consumer, which makes it"
                )
            committed = {name: reader.committed(name) for name in names}  # before the ends: they only grow
            begins, ends = reader.beginning_offsets(names), reader.end_offsets(names)
        finally:
            reader.close(autocommit=False)
    except KafkaError as error:
        raise StreamingError(
            f"lag of group '{group}' on '{topic}' cannot be read ({error}); is the broker running?"
        ) from None
    for name in names:
        if (committed[name] or 0) > ends[name]:
            raise StreamingError(
                f"{name.topic}-{name.partition}: group '{group}' has committed offset {committed[name]}, "
                f"but the topic ends at {ends[name]}: it was made anew or lost its end; start the consumer, "
                "which says what helps"
            )
    rows = [
        PartitionLag(
            n.partition,
            committed[n],
            ends[n],
            max(ends[n] - (begins[n] if committed[n] is None else committed[n]), 0),
        )
        for n in names
    ]
    return LagReport(group, topic, tuple(rows))
