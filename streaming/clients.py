"""Options shared by every Kafka client here: address and security. Secrets are passed on, never logged."""

from __future__ import annotations

import logging
from typing import Any

from feature_repo.contract.endpoints import kafka_options
from feature_repo.contract.key_partitions import partition_of, partitioner_of
from feature_repo.contract.settings import Settings
from streaming.errors import BrokerAwayError, StreamingError

# a command line tool says that there is no broker after this, not after the client's 30 s
TOOL_TIMEOUT_MS = 10_000
# a client of the consumer gives up soon and is made anew, so that SIGTERM is heard meanwhile
BOOTSTRAP_TIMEOUT_MS = 5_000
BROKER_WAIT_SECONDS = 120.0  # for every client alike: a broker that recovers its logs on a busy machine

# The client logs every connection that a restarting broker drops, several times over; what matters comes to
# us as an exception.
logging.getLogger("kafka").setLevel(logging.CRITICAL)


def no_broker(what: str, settings: Settings, error: Exception) -> StreamingError:
    """Give the error for a client that could not be made: one that may pass where the client says so.

    Parameters
    ----------
    what : str
        Of the client: consumer or producer.
    settings : Settings
        Broker.
    error : Exception
        The client's.
    """
    text = (
        f"no {what} for broker {settings.kafka.bootstrap_servers or '(embedded)'} ({error}); is it running?"
    )
    return BrokerAwayError(text) if getattr(error, "retriable", False) else StreamingError(text)


def client_options(settings: Settings) -> dict[str, Any]:
    """Give address and security of the configured broker, and how often its topics are looked at.

    Raises
    ------
    EndpointError
        If no broker is configured and none was started.
    """
    metadata = {"metadata_max_age_ms": round(settings.kafka.metadata_seconds * 1000)}
    return {**kafka_options(settings), **metadata}


def click_partitioner(settings: Settings) -> dict[str, Any]:
    """Give the producer's option that sends clicks where the consumer looks for them."""
    from kafka.partitioner import DefaultPartitioner

    name = partitioner_of(settings.kafka)

    class Stated(DefaultPartitioner):  # type: ignore[misc]
        """What ``kafka.partitioner`` states for the clicks topic; a record without a key goes anywhere."""

        def partition(
            self,
            topic: str,
            key: Any,
            serialized_key: bytes | None,
            value: Any,
            serialized_value: Any,
            cluster: Any,
        ) -> int:
            if serialized_key is None or topic != settings.kafka.clicks_topic:
                return int(super().partition(topic, key, serialized_key, value, serialized_value, cluster))
            return partition_of(name, serialized_key, len(cluster.partitions_for_topic(topic)))

    return {"partitioner": Stated()}


def finish_join(consumer: Any) -> bool:
    """See that a join of the group which a poll broke off is taken up again; to be called after each poll.

    kafka-python (3.0.12) joins within ``poll`` and takes an unfinished join up in the next one, but only
    while a reason to join is seen. Where the reason was a change of the topic's metadata, it is gone as soon
    as the leader has given out the partitions: a poll that times out right then, on a slow machine or after
    the broker came back, leaves the member between two states for ever. It goes on reading, sends no
    heartbeat, and every commit of it fails; the group gives its partitions to somebody else meanwhile.

    Parameters
    ----------
    consumer : KafkaConsumer
        That is polled with a time-out.

    Returns
    -------
    bool
        Whether there was such a join; the next poll ends it.
    """
    from kafka.coordinator.base import MemberState

    coordinator = consumer._coordinator  # nothing public tells whether the next poll will go on with the join
    if coordinator.state is not MemberState.REBALANCING or coordinator.need_rejoin():
        return False
    coordinator.request_rejoin()
    return True
