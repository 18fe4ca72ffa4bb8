"""Partitions that move between consumers with state folders of their own, topics made anew, partitions added:
with the real broker, judged by the oracle.
"""

import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from feature_repo.contract.settings import Settings
from streaming.clients import client_options
from streaming.consumer import app as run
from streaming.consumer import source as kafka_source
from streaming.consumer.app import assemble
from streaming.consumer.consumer import Consumer
from streaming.consumer.moves import snapshots
from streaming.consumer.state import PartitionStore
from streaming.errors import StateLostError
from streaming.metrics import ConsumerMetrics
from streaming.serving.models import Models
from streaming.topics import ensure as topics
from streaming.topics.lag import measure

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
sys.path.append(str(Path(__file__).parent))
import soak
import soak_topics
from live_consumer import apart, click, consume, judge, mixed, send
from soak_fleet import wait_until


class Killed(BaseException):
    """Like kill -9: nothing handles it."""


def end_after(monkeypatch: Any, writes: int, kill: bool) -> None:
    """End whatever consumer runs next when it has stored so many batches: at once, or as SIGTERM does."""
    write, run, left, running = PartitionStore.write, Consumer.run, [writes], []

    def counted(store: PartitionStore, *arguments: Any) -> None:
        left[0] -= 1
        if left[0] < 0 and kill:
            raise Killed
        write(store, *arguments)
        if left[0] <= 0:
            running[-1].stopping = True

    def started(consumer: Consumer) -> None:
        running.append(consumer)
        run(consumer)

    monkeypatch.setattr(PartitionStore, "write", counted)
    monkeypatch.setattr(Consumer, "run", started)


def commits(settings: Settings) -> list[int]:
    return [one.committed or 0 for one in measure(settings).partitions]


@pytest.mark.parametrize("kill", [True, False])
def test_restore_that_is_ended_and_started_again_answers_nothing_twice(
    live: Settings, monkeypatch: pytest.MonkeyPatch, kill: bool
) -> None:
    send(live, mixed(live.streaming.group))
    consume(apart(live, "a"))
    before = commits(live)
    b = apart(live, "b", max_records=20)
    for writes in (3, 4):  # ended during the restore, twice
        with monkeypatch.context() as patched:
            end_after(patched, writes, kill)
            try:
                consume(b)
            except Killed:
                assert kill
        assert commits(live) == before
    send(live, [click(2000, f"{live.streaming.group}-3", "after")])
    assert consume(b)["answered"] == 1
    assert consume(apart(live, "a"))["answered"] == 0
    result = judge(live, [b.state_dir])
    assert soak.faults_of(result) == {}
    assert (result["answers_repeated_identically"], result["letters_repeated"]) == (0, 0)


def remake(settings: Settings, partitions: int | None = None) -> None:
    """Delete the clicks topic and make it again."""
    from kafka import KafkaAdminClient

    name = settings.kafka.clicks_topic
    with KafkaAdminClient(**client_options(settings)) as admin:
        admin.delete_topics([name])
    wait_until(lambda: name not in soak_topics.topic_names(settings))
    kafka = settings.kafka.model_copy(update={"partitions": partitions or settings.kafka.partitions})
    topics.ensure(settings.model_copy(update={"kafka": kafka}))


def test_topic_made_anew_stops_with_a_line_and_its_clicks_are_answered_when_loss_is_accepted(
    live: Settings,
) -> None:
    send(live, [click(number, f"s{number % 5}") for number in range(100)])
    consume(live)
    remake(live)
    send(live, [click(1000 + number, f"s{number}", "new") for number in range(5)])
    with pytest.raises(StateLostError, match=r"made anew.*--accept-loss"):
        consume(live)
    assert consume(live, accept_loss=True)["answered"] == 5
    send(live, [click(2000 + number, f"s{number}", "newer") for number in range(5)])
    assert consume(live)["answered"] == 5
    # another consumer without state folds the new topic and answers nothing, although older answers speak of
    # higher offsets
    send(live, [click(3000, "s1", "newest")])
    assert consume(apart(live, "b"))["answered"] == 1
    answers = soak.read_topic(live, live.kafka.recommendations_topic)
    assert len(answers) == len({record.value for record in answers}) == 111


def grow(settings: Settings, partitions: int) -> Settings:
    """Add partitions to all three topics."""
    soak_topics.add_partitions(settings, partitions)
    return settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"partitions": partitions})})


class Crash(BaseException):
    """Like kill -9 of the command."""


def crashing(patched: Any, moment: str) -> None:
    """Let `repartition` be killed: while it answers what waits, while it writes states, or right before the
    commit that switches.
    """
    from kafka import KafkaConsumer

    def crash(*arguments: Any, **options: Any) -> None:
        raise Crash

    write = snapshots.write
    half = lambda settings, layout, states, positions: (
        write(settings, layout, list(states)[:3], {}),
        crash(),
    )
    target, name, new = {
        "drain": (PartitionStore, "write", crash),
        "states": (snapshots, "write", half),
        "commit": (KafkaConsumer, "commit", crash),
    }[moment]
    patched.setattr(target, name, new)


def test_partitions_are_added_and_every_session_keeps_its_past(
    live: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, sessions = (
        apart(live, "a"),
        apart(live, "b"),
        [f"{live.streaming.group}-{number}" for number in range(12)],
    )
    send(live, [click(number, sessions[number % 12]) for number in range(36)])
    consume(a)
    send(
        live,
        [click(100 + number, sessions[number % 12], "waiting") for number in range(24)] + [(b"k", b"junk")],
    )  # not read before partitions are added
    grow(live, 5)
    send(live, [click(200 + number, sessions[number % 12], "new") for number in range(24)])
    send(
        live, [click(number, sessions[number % 12]) for number in range(12)]
    )  # duplicates, on other partitions than the first time
    for moment in ("drain", "states", "commit"):
        with monkeypatch.context() as patched, pytest.raises(Crash):
            crashing(patched, moment)
            consume(a)
    consume(b)  # on another machine: nothing but the broker is shared
    send(live, [click(300 + number, sessions[number], "last") for number in range(12)])
    assert consume(a)["answered"] == 12
    result = judge(live, [a.state_dir])
    assert soak.faults_of(result) == {}
    assert (result["answers_wanted"], result["answers_repeated_identically"], result["letters_repeated"]) == (
        96,
        0,
        0,
    )
    for partitions in (7, 8):  # and twice more before anybody looks, by a machine that has lost its disk
        grow(live, partitions)
        send(live, [click(100 * partitions + number, sessions[number % 12], "grown") for number in range(36)])
    c = apart(live, "c")
    assert run.move(c).to_line().startswith("moved 12 sessions from 5 to 8 partitions; ")
    assert run.move(a).to_line().startswith("nothing to move")
    consume(c)
    assert soak.faults_of(judge(live, [c.state_dir])) == {}


def test_partitions_added_while_a_consumer_runs_are_read_and_sessions_keep_their_past(
    live: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        kafka_source,
        "client_options",
        lambda settings: {**client_options(settings), "metadata_max_age_ms": 500},
    )
    consumer, run = assemble(live, Models(lambda: None), ConsumerMetrics()), live.streaming.group
    thread = threading.Thread(target=consumer.run)
    thread.start()
    try:
        send(live, [click(number, f"{run}-{number % 12}") for number in range(24)])
        wait_until(lambda: consumer.totals["answered"] == 24)
        grow(live, 5)
        wait_until(
            lambda: (
                {4, 3, 2} <= {one.partition for one in measure(live).partitions if one.committed is not None}
            )
        )
        send(live, [click(100 + number, f"{run}-{number % 12}", "new") for number in range(24)])
        wait_until(lambda: len(soak.read_topic(live, live.kafka.recommendations_topic)) == 48)
    finally:
        consumer.stopping = True
        thread.join()
    assert soak.faults_of(judge(live)) == {}
