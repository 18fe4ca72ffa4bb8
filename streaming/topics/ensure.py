"""The topics: made when missing, checked when there. Deletes nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from feature_repo.contract.settings import Settings
from streaming.clients import BROKER_WAIT_SECONDS, client_options
from streaming.errors import BrokerAwayError, StreamingError
from streaming.topics.layout import Layout

MAX_MESSAGE_BYTES = 4 << 20  # poison of 1 MB must get in, to get out again as a dead letter
# The broker's clock, not the sender's: refusing by time and the order of features must not depend on what a
# sender claims.
_CLICKS_CONFIG = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(MAX_MESSAGE_BYTES)}
# One partition, so that every record has its place among all; a record without a value is kept for ever, as
# it is all that says that an item is withdrawn.
_ITEMS_CONFIG = {
    "cleanup.policy": "compact",
    "message.timestamp.type": "LogAppendTime",
    "max.message.bytes": str(MAX_MESSAGE_BYTES),
    "delete.retention.ms": str(2**62),
}
_TIMEOUT_MS = 5_000
_RETRY_SECONDS = 0.5
log = logging.getLogger("intentstore.topics")


def wanted(settings: Settings) -> dict[str, dict[str, str]]:
    """Give every topic's name and its configuration."""
    kafka = settings.kafka
    return {
        kafka.clicks_topic: _CLICKS_CONFIG,
        kafka.recommendations_topic: {},
        kafka.dead_letter_topic: {"max.message.bytes": str(MAX_MESSAGE_BYTES)},
        kafka.intent_requests_topic: {},
        kafka.items_topic: _ITEMS_CONFIG,
    }


def ensure(settings: Settings, *, same_width: bool = True) -> dict[str, int]:
    """Make the topics that are missing.

    Parameters
    ----------
    settings : Settings
        ``kafka``: names, partitions, replication; an existing topic keeps its own, unless
        ``kafka.create_partitions`` lets outputs grow.
    same_width : bool
        Whether ``recommendations`` and ``clicks.dlq`` must have as many partitions as ``clicks``; a reader
        can do without.

    Returns
    -------
    dict of str to int
        Topic to its number of partitions.

    Raises
    ------
    StreamingError
        The broker does not answer, refuses, or an output topic has too few partitions.
    """
    from kafka.errors import KafkaError

    try:
        admin = connect(settings)
        try:
            _make_missing(admin, settings)
            found = sizes(admin, settings)
        finally:
            admin.close()
    except KafkaError as error:
        servers = ",".join(client_options(settings)["bootstrap_servers"])
        raise StreamingError(
            f"broker {servers}: topics cannot be made or read ({error}); check kafka.bootstrap_servers and "
            "the rights"
        ) from None
    if (problem := too_narrow(settings, found)) and same_width:
        raise StreamingError(problem)
    return found


def layout(settings: Settings) -> Layout:
    """Give the clicks topic's id and number of partitions, as the broker has them now.

    Raises
    ------
    BrokerAwayError
        The broker does not answer.
    StreamingError
        There is no such topic, or it may not be read.
    """
    from kafka.errors import KafkaError

    name = settings.kafka.clicks_topic
    try:
        admin = connect(settings)
        try:
            described = [topic for topic in admin.describe_topics([name]) if topic["partitions"]]
        finally:
            admin.close()
    except KafkaError as error:
        text = f"topic '{name}' cannot be read ({error}); check kafka.bootstrap_servers and the rights"
        raise (BrokerAwayError if error.retriable else StreamingError)(text) from None
    if not described:
        raise StreamingError(
            f"topic '{name}' does not exist; name another by kafka.clicks_topic, or start the consumer "
            "again, which makes it"
        )
    return Layout(str(described[0]["topic_id"]), len(described[0]["partitions"]))


def topic_id(settings: Settings, name: str) -> str:
    """Give Kafka's own id of a topic; empty where there is none.

    Raises
    ------
    KafkaError
        The broker does not answer.
    """
    admin = connect(settings)
    try:
        return next((str(one["topic_id"]) for one in admin.describe_topics([name]) if one["partitions"]), "")
    finally:
        admin.close()


def connect(settings: Settings, **options: Any) -> Any:
    """Connect an admin client that gives up soon; ``options`` are the client's own.

    Raises
    ------
    KafkaError
        The broker does not answer.
    """
    from kafka import KafkaAdminClient

    return KafkaAdminClient(**client_options(settings), bootstrap_timeout_ms=_TIMEOUT_MS, **options)


def sizes(admin: Any, settings: Settings) -> dict[str, int]:
    """Give the number of partitions of every topic that is there.

    With ``kafka.create_partitions``, outputs narrower than ``clicks`` are widened first.

    Raises
    ------
    KafkaError
        The broker does not answer, or refuses.
    """
    found = _partitions(admin, list(wanted(settings)))
    if settings.kafka.create_partitions and (narrow := _narrow(settings, found)):
        _widen(admin, narrow, found[settings.kafka.clicks_topic])
        found = _partitions(admin, list(wanted(settings)))
    return found


def _widen(admin: Any, names: list[str], count: int) -> None:
    from kafka.errors import InvalidPartitionsError, KafkaError

    for name in names:
        try:
            admin.create_partitions({name: count})
            log.warning("topic '%s' was given %d partitions, as many as the clicks have", name, count)
        except InvalidPartitionsError:
            continue  # another process was faster; what the topic has now is looked at next
        except KafkaError as error:
            if error.retriable:
                raise
            log.error("topic '%s' cannot be given %d partitions (%s); alter it by hand", name, count, error)


def too_narrow(settings: Settings, found: Mapping[str, int]) -> str:
    """Say in one line which output topics have fewer partitions than ``clicks``, and what helps; else
    nothing.
    """
    clicks = settings.kafka.clicks_topic
    parts = [f"topic '{name}' has {found.get(name, 0)} partitions" for name in _narrow(settings, found)]
    if not parts:
        return ""
    by_hand = f"kafka-topics --alter --partitions {found[clicks]}"
    remedy = f"give it as many ({by_hand}), or set kafka.create_partitions"
    return f"{' and '.join(parts)}, but '{clicks}' has {found[clicks]}; {remedy}"


def _narrow(settings: Settings, found: Mapping[str, int]) -> list[str]:
    kafka = settings.kafka
    return [
        name
        for name in (kafka.recommendations_topic, kafka.dead_letter_topic)
        if found.get(name, 0) < found.get(kafka.clicks_topic, 0)
    ]


def _make_missing(admin: Any, settings: Settings) -> None:
    from kafka.errors import TopicAlreadyExistsError

    missing = set(wanted(settings)) - set(admin.list_topics())
    partitions = _partitions(admin, [settings.kafka.clicks_topic]).get(
        settings.kafka.clicks_topic, settings.kafka.partitions
    )
    for name in sorted(missing):
        options = {
            "num_partitions": 1 if name == settings.kafka.items_topic else partitions,
            "replication_factor": settings.kafka.replication_factor,
            "configs": wanted(settings)[name],
        }
        try:
            admin.create_topics({name: options}, wait_for_metadata=True)
        except TopicAlreadyExistsError:
            continue  # another process was faster


def ensure_patiently(
    settings: Settings, seconds: float = BROKER_WAIT_SECONDS, stopping: Callable[[], bool] = lambda: False
) -> dict[str, int]:
    """Do as ``ensure``, and wait for a broker that is just coming up.

    Raises
    ------
    StreamingError
        As ``ensure``, after so many seconds without success.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ensure(settings)
        except StreamingError as error:
            if time.monotonic() > deadline or stopping():
                raise
            log.warning("%s; trying again", error)
            time.sleep(_RETRY_SECONDS)


def _partitions(admin: Any, names: list[str]) -> dict[str, int]:
    described = admin.describe_topics(names)
    return {topic["name"]: len(topic["partitions"]) for topic in described if topic["partitions"]}
