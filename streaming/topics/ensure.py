"""The topics: made when missing, checked when there. Deletes nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from feature_repo.contract.settings import Settings
from streaming.clients import client_options
from streaming.errors import StreamingError

MAX_MESSAGE_BYTES = 4 << 20  # poison of 1 MB must get in, to get out again as a dead letter
# The broker's clock, not the sender's: refusing by time and the order of features must not depend on what a
# sender claims.
_CLICKS_CONFIG = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(MAX_MESSAGE_BYTES)}
_TIMEOUT_MS = 5_000
BROKER_WAIT_SECONDS = 120.0  # a broker that recovers its logs on a busy machine
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
    }


def ensure(settings: Settings) -> dict[str, int]:
    """Make the topics that are missing.

    Parameters
    ----------
    settings : Settings
        ``kafka``: names, partitions, replication; an existing topic keeps its own.

    Returns
    -------
    dict of str to int
        Topic to its number of partitions.

    Raises
    ------
    StreamingError
        The broker does not answer, refuses, or ``recommendations`` or ``clicks.dlq`` has fewer partitions
        than ``clicks``.
    """
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError, TopicAlreadyExistsError

    try:
        admin = KafkaAdminClient(**client_options(settings), bootstrap_timeout_ms=_TIMEOUT_MS)
        try:
            missing = set(wanted(settings)) - set(admin.list_topics())
            partitions = _partitions(admin, [settings.kafka.clicks_topic]).get(
                settings.kafka.clicks_topic, settings.kafka.partitions
            )
            for name in sorted(missing):
                options = {
                    "num_partitions": partitions,
                    "replication_factor": settings.kafka.replication_factor,
                    "configs": wanted(settings)[name],
                }
                try:
                    admin.create_topics({name: options}, wait_for_metadata=True)
                except TopicAlreadyExistsError:
                    continue  # another process was faster
            found = _partitions(admin, list(wanted(settings)))
        finally:
            admin.close()
    except KafkaError as error:
        servers = ",".join(client_options(settings)["bootstrap_servers"])
        raise StreamingError(
            f"broker {servers}: topics cannot be made or read ({error}); check kafka.bootstrap_servers and "
            "the rights"
        ) from None
    clicks = found[settings.kafka.clicks_topic]
    for name in (settings.kafka.recommendations_topic, settings.kafka.dead_letter_topic):
        if found[name] < clicks:
            raise StreamingError(
                f"topic '{name}' has {found[name]} partitions, but '{settings.kafka.clicks_topic}' has "
                f"{clicks}; give it as many"
            )
    return found


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
