"""What the consumer makes of topics that change under it; the broker's part is in the integration tests."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from feature_repo.contract.key_partitions import key_rule, note_move, partition_of
from feature_repo.contract.messages import ClickError
from feature_repo.contract.settings import KafkaSettings, Settings
from streaming.errors import StateMovedError
from streaming.topics import ensure as topics
from streaming.topics.changes import TopicWatch
from streaming.topics.layout import Layout

MOVED = next(
    key for number in range(99) if partition_of("murmur2", key := b"%d" % number, 6) not in (0, 1, 2, 3)
)


class Topic:
    """Stands in for the admin client: one number of partitions for all topics, and no offsets."""

    def __init__(self, count):
        self.count, self.looks = count, 0

    def describe_topics(self, names):
        self.looks += 1
        return [{"name": name, "partitions": [None] * self.count} for name in names]

    def list_partition_offsets(self, names):
        return {name: SimpleNamespace(offset=100) for name in names}

    def close(self):
        pass


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path)


@pytest.fixture
def watch(settings, monkeypatch):
    """Of a topic with four partitions, by which the states have their places."""
    topic = Topic(4)
    monkeypatch.setattr(topics, "connect", lambda settings, **options: topic)
    watch = TopicWatch(settings)
    watch.open(Layout("0a", 4))
    watch.topic = topic
    return watch


def test_click_that_only_added_partitions_explain_stops_before_anything_is_folded(watch):
    watch.topic.count = 6
    with pytest.raises(StateMovedError, match="6 partitions"):
        watch.check(MOVED, partition_of("murmur2", MOVED, 6), 0)


def test_added_partitions_are_noticed_in_time_without_any_click(watch, monkeypatch):
    watch.topic.count = 6
    watch.turn()
    later = time.monotonic() + 31
    monkeypatch.setattr(time, "monotonic", lambda: later)
    with pytest.raises(StateMovedError):
        watch.turn()


def test_who_reads_an_older_layout_to_its_end_goes_by_that_layout(watch):
    watch.topic.count = 6
    watch.open(Layout("0a", 4), drains=True)
    watch.check(b"s", partition_of("murmur2", b"s", 4), 10**6)
    with pytest.raises(ClickError):
        watch.check(b"s", (partition_of("murmur2", b"s", 4) + 1) % 4, 0)


def test_late_click_of_the_older_number_is_refused_after_a_move_and_the_batch_side_agrees(watch, settings):
    watch.topic.count = 6
    note_move(settings.kafka, settings.home, "0a", 6, dict.fromkeys(range(4), 50))
    watch.open(Layout("0a", 6, 0, True))
    old = partition_of("murmur2", MOVED, 4)
    batch = key_rule(settings.kafka, settings.home, "0a", 6, dict.fromkeys(range(6), 100))
    for rule in (watch, batch):
        with pytest.raises(ClickError):
            rule.check(MOVED, old, 50)
    batch.check(MOVED, old, 49)


def test_a_batch_of_wrong_clicks_asks_the_broker_once_and_says_so_once(watch, caplog):
    wrong = (partition_of("murmur2", b"s", 4) + 1) % 4
    for _ in range(5):
        with pytest.raises(ClickError) as caught:
            watch.check(b"s", wrong, 0)
    assert caught.value.reason == "wrong_partition" and watch.topic.looks == 2
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "b's'" not in caplog.text


def test_right_clicks_ask_the_broker_nothing(watch):
    for number in range(50):
        watch.check(b"%d" % number, partition_of("murmur2", b"%d" % number, 4), number)
    assert watch.topic.looks == 1


@pytest.mark.parametrize(
    ("answers", "letters", "named"),
    [(4, 6, ["recommendations"]), (6, 3, ["clicks.dlq"]), (4, 3, ["recommendations", "clicks.dlq"])],
)
def test_too_few_output_partitions_are_one_line_that_names_each_topic(answers, letters, named):
    line = topics.too_narrow(Settings(), {"clicks": 6, "recommendations": answers, "clicks.dlq": letters})
    assert [name for name in ("recommendations", "clicks.dlq") if f"'{name}'" in line] == named
    assert "'clicks' has 6" in line and "kafka.create_partitions" in line and "\n" not in line


def test_enough_output_partitions_and_topics_that_are_gone_are_no_complaint():
    assert topics.too_narrow(Settings(), {"clicks": 4, "recommendations": 4, "clicks.dlq": 9}) == ""
    assert topics.too_narrow(Settings(kafka=KafkaSettings()), {}) == ""
