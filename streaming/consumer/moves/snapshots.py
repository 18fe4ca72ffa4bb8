"""States of sessions that were moved to other partitions, in a compacted topic keyed by session id: partition
n holds those that clicks partition n has now.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from feature_repo.contract.settings import Settings
from streaming.clients import client_options
from streaming.consumer.records import Marks
from streaming.consumer.recovery import EVERYTHING
from streaming.consumer.state import PartitionStore
from streaming.errors import StreamingError
from streaming.topics.layout import Layout, decode, encode
from streaming.topics.tails import read_between, reader_of

log = logging.getLogger("intentstore.snapshots")
MAX_STATE_BYTES = 4 << 20
# the last record of each partition: first offset that is not in the states, and their layout; no session id
# begins so
_POSITION_KEY = b"\x00position"
_LOAD_RECORDS = 2_000
_READ_SECONDS = 60.0  # without any record


def topic_of(settings: Settings, layout: Layout) -> str:
    """Give the name of the topic: one for each group and number of partitions of a clicks topic."""
    return (
        f"{settings.kafka.clicks_topic}.states.{settings.streaming.group}.{layout.topic_id[:8]}."
        f"{layout.partitions}"
    )


def write(
    settings: Settings,
    layout: Layout,
    states: Iterable[tuple[int, bytes, bytes]],
    positions: Mapping[int, int],
) -> int:
    """Write states, to be read by whoever is assigned their partition. Repeating it is harmless: the newest
    record of a session counts.

    Parameters
    ----------
    settings : Settings
        Broker, topic, group, replication.
    layout : Layout
        Where the sessions are to go.
    states : iterable of (int, bytes, bytes)
        New partition, session id, encoded state.
    positions : mapping of int to int
        For every new partition the first offset whose click is not in the states.

    Returns
    -------
    int
        States written.

    Raises
    ------
    StreamingError
        The broker does not take them.
    """
    from kafka import KafkaProducer
    from kafka.errors import KafkaError

    topic, futures, number = topic_of(settings, layout), [], 0
    try:
        _make(settings, topic, layout.partitions)
        producer = KafkaProducer(
            **client_options(settings),
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            max_request_size=MAX_STATE_BYTES,
        )
        try:
            for partition, session_id, state in states:
                futures.append(producer.send(topic, state, session_id, None, partition))
                number += 1
                if len(futures) >= _LOAD_RECORDS:
                    _taken(producer, futures)
            _taken(producer, futures)
            for partition, position in positions.items():
                futures.append(
                    producer.send(
                        topic,
                        encode(layout),
                        _POSITION_KEY,
                        [("position", str(position).encode())],
                        partition,
                    )
                )
            _taken(producer, futures)
        finally:
            producer.close(timeout=2.0)
    except KafkaError as error:
        raise StreamingError(
            f"topic '{topic}': moved states cannot be written ({error}); mend that and run it again"
        ) from None
    return number


def _taken(producer: Any, futures: list[Any]) -> None:
    producer.flush(timeout=_READ_SECONDS)
    for future in futures:
        future.get(timeout=_READ_SECONDS)
    futures.clear()


def _make(settings: Settings, topic: str, partitions: int) -> None:
    from kafka import KafkaAdminClient
    from kafka.errors import TopicAlreadyExistsError

    admin = KafkaAdminClient(**client_options(settings))
    configs = {"cleanup.policy": "compact", "retention.ms": "-1", "max.message.bytes": str(MAX_STATE_BYTES)}
    options = {
        "num_partitions": partitions,
        "replication_factor": settings.kafka.replication_factor,
        "configs": configs,
    }
    try:
        admin.create_topics({topic: options}, wait_for_metadata=True)
    except TopicAlreadyExistsError:
        log.info("topic '%s' is there from a run that was broken off; its states are written again", topic)
    finally:
        admin.close()


def load(settings: Settings, partition: int, layout: Layout, store: PartitionStore, cut: int) -> None:
    """Fill a store that has no state with those that were moved to its partition; broken off, it is done
    again from the start.

    Parameters
    ----------
    settings : Settings
        Broker, topic, group.
    partition : int
        Of the clicks.
    layout : Layout
        By which the group works.
    store : PartitionStore
        Is filled.
    cut : int
        Of the partition's log, see ``Layout``.

    Raises
    ------
    StreamingError
        The topic is gone or does not hold all of them.
    KafkaTimeoutError
        It cannot be read now.
    """
    from kafka import TopicPartition

    topic, number = topic_of(settings, layout), 0
    position: int | None = None
    store.clear()
    name = TopicPartition(topic, partition)
    with reader_of(settings, max_poll_records=_LOAD_RECORDS) as reader:
        if partition not in (reader.partitions_for_topic(topic) or ()):
            raise _gone(topic, partition)
        begins, ends = reader.beginning_offsets([name]), reader.end_offsets([name])
        for batch in read_between(reader, begins, ends, _READ_SECONDS):
            states = {record.key.decode(): record.value for record in batch if record.key != _POSITION_KEY}
            store.load(states)
            number += len(states)
            for record in batch:
                if record.key == _POSITION_KEY and decode(record.value) == layout:
                    position = int(dict(record.headers)["position"])
    if position is None:
        raise _gone(topic, partition)
    store.begin(position, Marks(replace(layout, cut=cut), EVERYTHING.answer_from, EVERYTHING.letter_from))
    log.info(
        "%s-%d: %d moved states, from offset %d on", settings.kafka.clicks_topic, partition, number, position
    )


def _gone(topic: str, partition: int) -> StreamingError:
    return StreamingError(
        f"topic '{topic}', partition {partition}: the states that were moved here are gone; restore that "
        "topic, or delete the group's commits and state folders to fold the clicks topic anew"
    )
