"""What a topic that grows must not disturb: groups that had just begun, sessions that come back, other
partitioners; with the real broker, judged by the oracle.
"""

import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from feature_repo.contract.key_partitions import partition_of
from feature_repo.contract.settings import Settings
from oracles.consumer_state import stored_features
from streaming.clients import client_options
from streaming.consumer import app
from streaming.consumer.moves.group import group_client
from streaming.consumer.sinks import KafkaSink
from streaming.topics import dead_letters as dlq
from streaming.topics import ensure as topics
from streaming.topics.fence import Fence
from streaming.topics.offsets import commits_of

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
sys.path.append(str(Path(__file__).parent))
import soak
import soak_oracle
from live_consumer import apart, click, consume, judge, send
from soak_topics import add_partitions, librdkafka_partitioner, noted_widths


class Killed(BaseException):
    """Like kill -9: nothing handles it."""


def test_group_says_by_which_layout_it_works_before_its_first_answer(
    live: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, name = live.streaming.group, live.kafka.clicks_topic
    send(live, [click(number, f"{run}-{number % 12}") for number in range(36)])

    def killed(*words: object) -> int:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(KafkaSink, "send", killed)
        consume(apart(live, "a"), idle_seconds=60.0)  # it ends when it is killed, and not before
    client = group_client(live)
    said = commits_of(client, name, range(2))
    client.close(autocommit=False)
    assert {layout for _, layout in said.values()} == {topics.layout(live)}
    assert {offset for offset, _ in said.values()} == {0}
    consume(apart(live, "a"))
    add_partitions(live, 5)
    send(live, [click(100 + number, f"{run}-{number % 12}", "grown") for number in range(24)])
    b = apart(live, "b")
    assert consume(b)["answered"] == 24
    result = judge(live, [b.state_dir])
    assert soak.faults_of(result) == {}
    assert result["answers_repeated_identically"] == 0


def test_group_that_answered_and_never_committed_is_moved_from_where_it_said(
    live: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = live.streaming.group
    send(live, [click(number, f"{run}-{number % 12}") for number in range(36)])
    with monkeypatch.context() as patched:
        patched.setattr("streaming.consumer.commits.Commits.commit", lambda self, consumer: None)
        assert consume(apart(live, "a"))["answered"] == 36
    add_partitions(live, 5)
    send(live, [click(100 + number, f"{run}-{number % 12}", "grown") for number in range(24)])
    b = apart(live, "b")
    assert consume(b)["answered"] == 24
    result = judge(live, [b.state_dir])
    assert soak.faults_of(result) == {}
    assert result["answers_repeated_identically"] == 0


def test_consumer_that_moved_states_for_long_reads_on_afterwards(
    live: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, moved, clock = live.streaming.group, app.follow, time.monotonic
    send(live, [click(number, f"{run}-{number % 12}") for number in range(36)])
    consume(apart(live, "a"))
    add_partitions(live, 5)
    send(live, [click(100 + number, f"{run}-{number % 12}", "grown") for number in range(24)])
    late = []

    def slowly(*words: Any) -> Any:
        """The move ends an hour later by the consumer's clock."""
        found = moved(*words)
        late.append(3600.0)
        return found

    monkeypatch.setattr(app, "follow", slowly)
    later = SimpleNamespace(monotonic=lambda: clock() + sum(late), sleep=time.sleep)
    monkeypatch.setattr("streaming.consumer.consumer.time", later)
    # a first poll that ends before the group has answered, as on a busy machine
    monkeypatch.setattr("streaming.consumer.consumer.POLL_MS", 1)
    b = apart(live, "b")
    assert consume(b)["answered"] == 24 and late == [3600.0]
    assert soak.faults_of(judge(live, [b.state_dir])) == {}


def test_sessions_that_came_back_to_their_first_partition_keep_their_order(live: Settings) -> None:
    run, homes = live.streaming.group, {}
    for number in range(2_000):
        places = tuple(partition_of("murmur2", f"{run}-{number}".encode(), count) for count in (2, 4, 6))
        homes.setdefault(places, f"{run}-{number}")
    back = [name for (first, between, last), name in homes.items() if first == last != between]
    assert back
    numbers = iter(range(10_000))
    for item, partitions in (("first", 2), ("between", 4), ("last", 6)):
        if partitions > 2:
            add_partitions(live, partitions)
        # those that come back first, so that nothing before them in their partition tells of the growth
        names = [*back, *homes.values()]
        send(live, [click(next(numbers), name, item) for name in names for _ in range(2)])
        if partitions == 2:
            consume(apart(live, "a"))
    b = apart(live, "b")
    consume(b)
    result = judge(live, [b.state_dir])
    assert soak.faults_of(result) == {}
    assert result["letters_wanted"] == 0


def test_clicks_of_another_partitioner_do_not_end_the_old_partitions_early(live: Settings) -> None:
    run = live.streaming.group
    names = [f"{run}-{number}" for number in range(60)]
    consume(live)
    # what the other producer wrote at the very beginning stands, by accident, where more partitions put it
    strays = [
        name
        for name in names
        if (at := zlib.crc32(name.encode()) % 2) != partition_of("murmur2", name.encode(), 2)
        and at == partition_of("murmur2", name.encode(), 5)
    ]
    assert strays
    send(live, [click(5_000 + at, name) for at, name in enumerate(strays)], **librdkafka_partitioner())
    send(live, [click(number, name) for number, name in enumerate(names * 3)])
    add_partitions(live, 5)
    send(live, [click(1_000 + number, name) for number, name in enumerate(names)])
    totals = consume(live)
    assert (totals["answered"], totals["refused"]) == (len(names) * 4, len(strays))
    assert {letter.reason for letter in dlq.read(live)} == {"wrong_partition"}


def two_producers(settings: Settings, names: list[str], numbers: Iterator[int], others: int) -> None:
    """Send a click of each session by its key, and beside those in the middle `others` by CRC32. Begin and
    end are the right producer's: where both write within a millisecond of a growth, nothing tells the order.
    """
    from kafka import KafkaProducer

    right = KafkaProducer(**client_options(settings))
    other = KafkaProducer(**client_options(settings), **librdkafka_partitioner())
    begin = (len(names) - others) // 2
    for at, name in enumerate(names):
        key, value = click(next(numbers), name)
        right.send(settings.kafka.clicks_topic, value, key)
        if others and begin <= at < begin + others:
            key, value = click(number := next(numbers), name, event_id=f"{soak_oracle.OTHER}{number}")
            other.send(settings.kafka.clicks_topic, value, key)
        if at in (begin, begin + others):
            right.flush()
            other.flush()
    right.flush()
    right.close()
    other.close()


def judge_grown(settings: Settings, folder: Path) -> dict[str, int]:
    """Let the oracle judge clicks of several numbers of partitions, as the consumers noted them."""
    grown = soak_oracle.grown_of(noted_widths(settings))
    clicks = soak.read_topic(settings, settings.kafka.clicks_topic)
    expected = soak_oracle.truth(clicks, grown)
    return {
        "refused_wrongly": expected.refused_wrongly,
        "refused_elsewhere": expected.elsewhere,
        "answered": len(expected.answered),
        **soak_oracle.check_answers(
            expected, soak.read_topic(settings, settings.kafka.recommendations_topic)
        ),
        **soak_oracle.check_letters(expected, soak.read_topic(settings, settings.kafka.dead_letter_topic)),
        **soak_oracle.check_features(expected, stored_features(settings, [folder]), "state"),
    }


def test_two_growths_within_two_seconds_beside_another_partitioner_refuse_no_right_click(
    live: Settings,
) -> None:
    run, numbers = live.streaming.group, iter(range(100_000))
    names = [f"{run}-{number}" for number in range(120)]
    two_producers(live, names, numbers, 60)
    consume(apart(live, "a"))
    began = time.monotonic()
    for partitions in (2, 3, 5):
        if partitions > 2:
            add_partitions(live, partitions)
        two_producers(live, names, numbers, 60)
    assert time.monotonic() - began < 30  # no measure: the look of a running consumer is 30 s apart
    b = apart(live, "b")
    consume(b)
    result = judge_grown(live, b.state_dir)
    assert soak.faults_of(result) == {}
    assert result["refused_elsewhere"] > 60 and result["answered"] >= 4 * len(names)


def test_growth_while_states_are_moved_is_seen_before_a_click_of_it_is_read(
    live: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, numbers = live.streaming.group, iter(range(100_000))
    names = [f"{run}-{number}" for number in range(300)]
    place = lambda name, count: partition_of("murmur2", name.encode(), count)
    back = [name for name in names if place(name, 2) == place(name, 5) and place(name, 3) == 2]
    assert back
    two_producers(live, names, numbers, 40)
    consume(apart(live, "a"))
    two_producers(live, names[:20], numbers, 0)
    add_partitions(live, 3)
    two_producers(live, back, numbers, 0)  # nothing in their first partitions tells of the growth
    cut, grown = Fence.cut, []

    def grows(fence: Fence, *words: Any) -> Any:
        """The topic grows when the drain has begun, and is written to at once."""
        if not grown:
            grown.append(fence)
            add_partitions(live, 5)
            two_producers(live, back, numbers, 0)
            two_producers(live, names, numbers, 40)
        return cut(fence, *words)

    monkeypatch.setattr(Fence, "cut", grows)
    b = apart(live, "b")
    consume(b)
    result = judge_grown(live, b.state_dir)
    assert soak.faults_of(result) == {} and grown[0].outdated
    # clicks were sent in the order of their times, so nothing came late where each was read in its turn
    states = stored_features(live, [b.state_dir])
    alone = {*names[:100], *names[200:]}  # whose clicks are the right producer's only
    assert {states[name]["late_clicks"] for name in alone} == {0}
    assert result["answered"] >= 2 * len(names) + 2 * len(back) + 20
