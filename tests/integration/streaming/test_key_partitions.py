"""Several partitioners on one topic, and partitions added to running topics, on the real broker."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from feature_repo.contract.key_partitions import partition_of
from feature_repo.contract.settings import Settings
from streaming.consumer.app import assemble
from streaming.metrics import ConsumerMetrics
from streaming.serving.models import Models
from streaming.topics import dead_letters as dlq
from streaming.topics import ensure as topics

sys.path.insert(0, str(Path(__file__).parent))
from own_topics import answers, click, consume, keys_by_partition, own_topics, send, widen, with_kafka


@pytest.fixture
def live(settings: Settings, services: Any) -> Settings:
    """Topics and a group of this test's own, looked at twice a second."""
    return own_topics(settings, services, metadata_seconds=0.5)


class Running:
    """A consumer in a thread of its own; its error, if it ends with one, is raised at the end."""

    def __init__(self, settings: Settings) -> None:
        self.metrics, self.error = ConsumerMetrics(), None
        self._consumer = assemble(settings, Models(lambda: None), self.metrics)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._consumer.run()
        except BaseException as error:
            self.error = error
            raise

    def held(self) -> set[int]:
        return set(self._consumer._partitions.stores)

    def stop(self) -> None:
        self._consumer.stopping = True
        self._thread.join(60)
        assert self.error is None


@pytest.fixture
def start() -> Iterator[Callable[[Settings], Running]]:
    """Starts consumers that end with the test."""
    running: list[Running] = []

    def one(settings: Settings) -> Running:
        running.append(Running(settings))
        return running[-1]

    yield one
    for each in running:
        each.stop()


def test_strict_refuses_what_another_partitioner_split_and_a_redrive_brings_it_home(live: Settings) -> None:
    session = f"{live.streaming.group}-s"
    home = partition_of("murmur2", session.encode(), 2)
    records = [(*click(number, session), home if number % 2 else 1 - home) for number in range(6)]
    send(live, live.kafka.clicks_topic, records)
    metrics = ConsumerMetrics()
    totals = consume(live, metrics=metrics)
    assert (totals["answered"], totals["refused"]) == (3, 3)
    assert (
        metrics.registry.get_sample_value("intentstore_clicks_refused_total", {"reason": "wrong_partition"})
        == 3
    )
    letters = list(dlq.read(live))
    assert {letter.reason for letter in letters} == {"wrong_partition"}
    assert [letter.value for letter in sorted(letters, key=lambda one: one.offset)] == [
        value for _, value, place in records if place != home
    ]
    assert dlq.redrive(live).sent == 3
    assert consume(live)["answered"] == 3
    assert [answer["event_id"] for answer in answers(live)] == [f"e{number}" for number in range(6)]
    assert {answer["source"]["partition"] for answer in answers(live)} == {home}
    shutil.rmtree(live.state_dir)
    assert consume(live)["answered"] == 0
    assert len(answers(live)) == 6 and len(list(dlq.read(live))) == 3


def test_adopted_partitioner_is_the_rule_and_the_redrive_follows_it(live: Settings) -> None:
    adopted = with_kafka(live, partition_check="adopt", partitioner="crc32")
    sessions = [f"{live.streaming.group}-{number}" for number in range(12)]
    moved = [
        name
        for name in sessions
        if partition_of("crc32", name.encode(), 2) != partition_of("murmur2", name.encode(), 2)
    ]
    assert moved
    places = {name: partition_of("crc32", name.encode(), 2) for name in sessions}
    send(
        live,
        live.kafka.clicks_topic,
        [(*click(number, name), places[name]) for number, name in enumerate(sessions)],
    )
    send(live, live.kafka.clicks_topic, [(*click(100, moved[0]), 1 - places[moved[0]])])
    totals = consume(adopted)
    assert (totals["answered"], totals["refused"]) == (12, 1)
    assert dlq.redrive(adopted).sent == 1
    assert consume(adopted)["answered"] == 1


def test_added_partitions_wait_for_their_outputs_while_the_old_ones_go_on(
    live: Settings, start: Callable[[Settings], Running], wait: Any, caplog: pytest.LogCaptureFixture
) -> None:
    clicks, run = live.kafka.clicks_topic, live.streaming.group
    first = start(live)
    wait(lambda: first.held() == {0, 1}, "the first partitions")
    widen(live, [clicks], 4)
    sessions = keys_by_partition(4, run)
    send(live, clicks, [(*click(number, name), number) for number, name in sessions.items()])
    wait(
        lambda: first.metrics.registry.get_sample_value("intentstore_partitions_waiting") == 2,
        "two partitions that wait",
    )
    named = f"topic '{live.kafka.recommendations_topic}' has 2 partitions"
    wait(lambda: named in caplog.text, "the line that names the topics")
    second = start(live)
    wait(
        lambda: (
            len(second.held() | first.held()) == 2
            and second._consumer._partitions.waiting | first._consumer._partitions.waiting == {2, 3}
        ),
        "both",
    )
    send(live, clicks, [(*click(10 + number, sessions[number]), number) for number in (0, 1)])
    wait(
        lambda: {answer["event_id"] for answer in answers(live)} == {"e0", "e1", "e10", "e11"},
        "answers of the old partitions",
    )
    assert caplog.text.count(named) == 2  # once by each consumer
    widen(live, [live.kafka.recommendations_topic, live.kafka.dead_letter_topic], 4)
    wait(lambda: len(answers(live)) == 6, "answers of the new partitions")
    wait(
        lambda: first.held() | second.held() == {0, 1, 2, 3} and not first.held() & second.held(),
        "all partitions",
    )
    assert first.metrics.registry.get_sample_value(
        "intentstore_client_restarts_total", {"cause": "send"}
    ) in (None, 0)
    assert len({answer["event_id"] for answer in answers(live)}) == 6


def test_two_consumers_share_what_all_three_topics_were_given(
    live: Settings, start: Callable[[Settings], Running], wait: Any
) -> None:
    kafka, both = live.kafka, [start(live), start(live)]
    wait(lambda: [len(one.held()) for one in both] == [1, 1], "a partition each")
    widen(live, [kafka.clicks_topic, kafka.recommendations_topic, kafka.dead_letter_topic], 4)
    sessions = keys_by_partition(4, live.streaming.group)
    send(live, kafka.clicks_topic, [(*click(number, name), number) for number, name in sessions.items()])
    wait(
        lambda: [answer["event_id"] for answer in answers(live)] == ["e0", "e1", "e2", "e3"],
        "each click answered once",
    )
    wait(lambda: [len(one.held()) for one in both] == [2, 2], "two partitions each")
    assert all(
        one.metrics.registry.get_sample_value("intentstore_client_restarts_total", {"cause": "send"})
        in (None, 0)
        for one in both
    )


def test_missing_output_partitions_are_made_where_the_settings_say_so(
    live: Settings, start: Callable[[Settings], Running], wait: Any
) -> None:
    making = with_kafka(live, create_partitions=True)
    both = [start(making), start(making)]
    wait(lambda: [len(one.held()) for one in both] == [1, 1], "a partition each")
    widen(live, [live.kafka.clicks_topic], 3)
    sessions = keys_by_partition(3, live.streaming.group)
    send(live, live.kafka.clicks_topic, [(*click(number, name), number) for number, name in sessions.items()])
    wait(lambda: len(answers(live)) == 3, "answers of all partitions")
    assert topics.ensure(live)[live.kafka.recommendations_topic] == 3


def test_clicks_before_the_growth_are_answered_where_they_stand_and_late_ones_are_refused(
    live: Settings,
) -> None:
    making, clicks = with_kafka(live, create_partitions=True), live.kafka.clicks_topic
    consume(making)
    moving = next(
        name
        for number in range(1000)
        if partition_of("murmur2", (name := f"{live.streaming.group}-{number}").encode(), 3) == 2
    )
    old = partition_of("murmur2", moving.encode(), 2)
    send(live, clicks, [(*click(1, moving), old)])
    widen(live, [clicks], 3)
    counts = {"answered": 1, "duplicates": 0, "refused": 0, "restored": 0, "aside": 0}
    assert consume(making) | {"restored": 0} == counts
    send(live, clicks, [(*click(2, moving), old)])
    assert consume(making)["refused"] == 1
    assert [letter.reason for letter in dlq.read(live)] == ["wrong_partition"]
