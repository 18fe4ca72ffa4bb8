"""Looks at topics and the consumer group from outside: offsets, lag, members. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from feature_repo.contract.settings import Settings

TIMEOUT_MS = 5_000  # a broker that does not answer within this is reported as down; sensors must not hang


@dataclass(frozen=True)
class GroupState:
    """Where the consumer group stands on the clicks topic.

    Parameters
    ----------
    ends : dict
        Partition (as text) to end offset.
    committed : dict
        Partition (as text) to committed offset; 0 where nothing was committed.
    dead_letters : int
        Records in the dead letter topic, foreign ones too: only offsets are looked at.
    answers : int
        Records in the recommendations topic, foreign ones too.
    """

    ends: dict[str, int]
    committed: dict[str, int]
    dead_letters: int
    answers: int

    @property
    def lag(self) -> int:
        """Clicks that wait for an answer."""
        return sum(max(0, end - self.committed.get(partition, 0)) for partition, end in self.ends.items())


def reachable(settings: Settings) -> bool:
    """Tell whether a broker is set, or the embedded one runs."""
    from streaming.services import services as broker

    return settings.kafka.bootstrap_servers is not None or broker.running(settings) is not None


def options(settings: Settings) -> dict[str, Any]:
    """Return the arguments of a kafka-python consumer that only looks.

    Raises
    ------
    EndpointError
        No broker is set and the embedded one does not run.
    """
    from streaming import clients

    return {
        **clients.client_options(settings),
        "request_timeout_ms": TIMEOUT_MS,
        "bootstrap_timeout_ms": TIMEOUT_MS,
        "enable_auto_commit": False,
    }


def topic_ends(settings: Settings, topic: str | None = None) -> dict[str, int] | None:
    """Return the end offset of each partition of a topic.

    Parameters
    ----------
    settings : Settings
        Broker and the name of the clicks topic.
    topic : str, optional
        Another topic.

    Returns
    -------
    dict or None
        Partition (as text) to offset; empty when there is no such topic, none when no broker answers.
    """
    if not reachable(settings):
        return None
    from kafka import KafkaConsumer, TopicPartition
    from kafka.errors import KafkaError

    name = topic or settings.kafka.clicks_topic
    try:
        consumer = KafkaConsumer(**options(settings), group_id=None)
    except (KafkaError, OSError):
        return None
    try:
        partitions = [TopicPartition(name, number) for number in consumer.partitions_for_topic(name) or ()]
        return (
            {str(part.partition): int(offset) for part, offset in consumer.end_offsets(partitions).items()}
            if partitions
            else {}
        )
    except KafkaError:
        return None
    finally:
        consumer.close()


def group_state(settings: Settings, group: str | None = None) -> GroupState | None:
    """Read the offsets of the group and of the topics around it.

    Parameters
    ----------
    settings : Settings
        Broker, topics, group.
    group : str, optional
        Another consumer group.

    Returns
    -------
    GroupState or None
        None when no broker answers.
    """
    if not reachable(settings):
        return None
    from kafka import KafkaConsumer, TopicPartition
    from kafka.errors import KafkaError

    found: list[dict[str, int]] = []
    for topic in (
        settings.kafka.clicks_topic,
        settings.kafka.dead_letter_topic,
        settings.kafka.recommendations_topic,
    ):
        part = topic_ends(settings, topic)
        if part is None:
            return None  # at once: each further question would wait for its time-out too
        found.append(part)
    ends, dead, answers = found
    try:
        consumer = KafkaConsumer(**options(settings), group_id=group or settings.streaming.group)
    except (KafkaError, OSError):
        return None
    try:
        committed = {
            number: int(consumer.committed(TopicPartition(settings.kafka.clicks_topic, int(number))) or 0)
            for number in ends
        }
    except KafkaError:
        return None
    finally:
        consumer.close(autocommit=False)
    return GroupState(ends, committed, sum(dead.values()), sum(answers.values()))


def members(settings: Settings, group: str | None = None) -> int:
    """Count the consumers of the group that hold partitions; 0 when the group rebalances or no broker
    answers.
    """
    if not reachable(settings):
        return 0
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    from streaming import clients

    name = group or settings.streaming.group
    try:
        admin = KafkaAdminClient(
            **clients.client_options(settings), request_timeout_ms=TIMEOUT_MS, bootstrap_timeout_ms=TIMEOUT_MS
        )
    except (KafkaError, OSError):
        return 0
    try:
        described = admin.describe_groups([name])
        return described_members(described.get(name) if isinstance(described, dict) else described[0])
    except KafkaError:
        return 0
    finally:
        admin.close()


def described_members(described: Any) -> int:
    """Count the members of a described group that is stable.

    Examples
    --------
    >>> (
    ...     described_members({"group_state": "Stable", "members": [{}]}),
    ...     described_members({"group_state": "PreparingRebalance", "members": [{}]}),
    ... )
    (1, 0)
    """
    read = (
        described.get
        if isinstance(described, dict)
        else lambda key, default=None: getattr(described, key, default)
    )
    state = str(read("group_state", None) or read("state", ""))
    return len(read("members", ()) or ()) if state == "Stable" else 0
