"""What the broker knows of the group: its members, its commits, and by which layout its states are placed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feature_repo.contract.settings import Settings
from streaming.clients import client_options, no_broker
from streaming.consumer.state import PartitionStore
from streaming.errors import StreamingError
from streaming.topics import layout as layouts
from streaming.topics.layout import Layout


def group_client(settings: Settings) -> Any:
    """Connect a client that reads and writes the group's commits, and is no member.

    Raises
    ------
    StreamingError
        The broker does not answer.
    """
    from kafka import KafkaConsumer
    from kafka.errors import KafkaError

    try:
        return KafkaConsumer(
            **client_options(settings),
            group_id=settings.streaming.group,
            enable_auto_commit=False,
            isolation_level="read_committed",
        )
    except KafkaError as error:
        raise no_broker("consumer", settings, error) from None


def store_folder(settings: Settings, partition: int) -> Path:
    """Give where this machine keeps a partition's state."""
    return settings.state_dir / settings.streaming.group / f"{settings.kafka.clicks_topic}-{partition}"


def layout_before(settings: Settings, now: Layout, commits: list[Layout | None]) -> Layout | None:
    """Give the layout of the states: by the group's commits, or where there are none by the stores of this
    machine.
    """
    known = [one for one in commits if one is not None]
    if not known:
        for partition in range(now.partitions):
            if store_folder(settings, partition).is_dir():
                store = PartitionStore(store_folder(settings, partition))
                known += [store.marks.layout] if store.marks is not None else []
                store.close()
    if any(one.topic_id != now.topic_id for one in known):
        raise layouts.made_anew(f"topic '{settings.kafka.clicks_topic}'", "the group's state is")
    count = max((one.partitions for one in known), default=now.partitions)
    return (
        Layout(now.topic_id, count, 0, any(one.moved for one in known if one.partitions == count))
        if known
        else None
    )


def members(settings: Settings, group: str) -> int:
    """Give how many consumers a group has; one that was stopped counts for a session time-out.

    Raises
    ------
    StreamingError
        The broker does not answer.
    """
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    try:
        with KafkaAdminClient(**client_options(settings)) as admin:
            return len(admin.describe_groups([group])[group]["members"])
    except KafkaError as error:
        raise StreamingError(f"group '{group}' cannot be read ({error}); is the broker running?") from None
