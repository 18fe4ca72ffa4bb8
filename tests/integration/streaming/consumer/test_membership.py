"""A member of the group whose join a poll broke off, as on a slow machine after the broker came back."""

import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.coordinator.base import MemberState
from kafka.errors import RebalanceInProgressError
from kafka.structs import OffsetAndMetadata

from feature_repo.contract.settings import Settings
from streaming.clients import finish_join
from streaming.consumer import consumer as loop
from streaming.consumer.app import assemble
from streaming.consumer.source import kafka_consumer
from streaming.metrics import ConsumerMetrics
from streaming.serving.models import Models
from streaming.topics.lag import measure

sys.path.append(str(Path(__file__).parents[1]))
from live_consumer import click, send


def forget_metadata(client: Any) -> None:
    """As when the broker came back and named the topic's partitions a moment later: a reason to join that is
    gone once the partitions are given out.
    """
    client._coordinator._assignment_snapshot = {}


def test_join_that_a_poll_broke_off_is_taken_up_again(live: Settings, wait: Any) -> None:
    client = kafka_consumer(live)
    try:
        client.partitions_for_topic(live.kafka.clicks_topic)
        client.subscribe([live.kafka.clicks_topic])
        wait(lambda: client.poll(timeout_ms=100) or client.assignment(), "an assignment")
        coordinator = client._coordinator
        while coordinator._join_task is None:
            forget_metadata(client)
            client.poll(timeout_ms=1)  # times out in the middle of the join
        wait(lambda: coordinator._join_task.is_done, "the broker's answer to the join")
        for _ in range(5):
            client.poll(timeout_ms=100)
        offsets = {TopicPartition(live.kafka.clicks_topic, 0): OffsetAndMetadata(0, "", -1)}
        # what the client does by itself; when it does better, ``finish_join`` can go
        assert coordinator.state is MemberState.REBALANCING
        with pytest.raises(RebalanceInProgressError):
            client.commit(offsets, timeout_ms=5_000)
        assert finish_join(client)
        client.poll(timeout_ms=5_000)
        assert coordinator.state is MemberState.STABLE and not finish_join(client)
        client.commit(offsets, timeout_ms=30_000)
    finally:
        client.close(autocommit=False)


def test_consumer_goes_on_committing_whenever_its_joins_are_broken_off(
    live: Settings, monkeypatch: pytest.MonkeyPatch, wait: Any
) -> None:
    clients: list[Any] = []

    def kept(settings: Settings) -> Any:
        clients.append(kafka_consumer(settings))
        return clients[-1]

    monkeypatch.setattr(loop, "kafka_consumer", kept)
    monkeypatch.setattr(loop, "POLL_MS", 1)
    metrics = ConsumerMetrics()
    consumer = assemble(live, Models(lambda: None), metrics)
    thread = threading.Thread(target=consumer.run)
    thread.start()
    try:
        for number in range(5):
            send(live, [click(number, f"{live.streaming.group}-{number}")])
            wait(lambda: measure(live).total == 0, "the commit")
            forget_metadata(clients[0])
        send(live, [click(9, f"{live.streaming.group}-9")])
        wait(lambda: measure(live).total == 0, "the last commit")
    finally:
        consumer.stopping = True
        thread.join(60)
    assert len(clients) == 1, "no new clients were needed"
