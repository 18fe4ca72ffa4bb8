"""The consumer against the real broker and valkey, judged by the independent oracle of the soak."""

import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from feature_repo.contract.settings import Settings
from streaming.consumer.partitions import Partitions
from streaming.consumer.sinks import KafkaSink
from streaming.errors import BreakerError, StreamingError
from streaming.metrics import ConsumerMetrics
from streaming.serving.models import Models, open_models
from streaming.topics import dead_letters as dlq
from streaming.topics.lag import measure

sys.path.insert(0, str(Path(__file__).parents[4] / "benchmarks"))
sys.path.append(str(Path(__file__).parents[1]))
import soak
from live_consumer import click, consume, judge, mixed, send


def test_every_effect_is_what_the_oracle_says(live: Settings) -> None:
    send(live, mixed(live.streaming.group))
    totals = consume(live)
    result = judge(live)
    assert soak.faults_of(result) == {}
    assert (totals["answered"], totals["duplicates"], totals["refused"]) == (412, 10, len(soak.POISON) + 3)
    assert measure(live).total == 0


def test_lost_disk_is_rebuilt_from_the_topic_without_a_second_answer(live: Settings) -> None:
    send(live, mixed(live.streaming.group))
    consume(live)
    shutil.rmtree(live.state_dir)
    send(live, [click(2000, f"{live.streaming.group}-3", "after")])
    totals = consume(live)
    assert (totals["restored"], totals["answered"]) == (412, 1)
    result = judge(live)
    assert soak.faults_of(result) == {}
    assert result["answers_repeated_identically"] == 0


def test_crash_between_storing_and_sending_sends_the_very_bytes_that_were_stored(
    live: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(
        live,
        [click(number, f"{live.streaming.group}-{number % 3}") for number in range(20)] + [(b"k", b"junk")],
    )
    stored: dict[int, Any] = {}

    class Crash(BaseException):
        """Like a kill: nothing handles it."""

    def crash(self: KafkaSink, partition: int, outbox: Any, *after: int) -> int:
        stored[partition] = outbox
        raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(KafkaSink, "send", crash)
        with pytest.raises(Crash):
            consume(live)
    assert stored
    consume(live)
    sent = {record.value for record in soak.read_topic(live, live.kafka.recommendations_topic)}
    assert {value for outbox in stored.values() for _, _, value in outbox.answers} <= sent
    assert soak.faults_of(judge(live)) == {}


def test_crash_between_sending_and_committing_repeats_nothing(
    live: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(
        live,
        [click(number, f"{live.streaming.group}-{number % 3}") for number in range(20)] + [(b"k", b"junk")],
    )

    class Crash(BaseException):
        """Like a kill: nothing handles it."""

    flush = KafkaSink.flush

    def crash(self: KafkaSink, stop: Any = None) -> None:
        flush(self)
        raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(KafkaSink, "flush", crash)
        with pytest.raises(Crash):
            consume(live)
    consume(live)
    result = judge(live)
    assert soak.faults_of(result) == {}
    assert (result["answers_repeated_identically"], result["letters_repeated"]) == (0, 0)


def test_transactions_give_the_same_effects(live: Settings) -> None:
    settings = live.model_copy(
        update={"streaming": live.streaming.model_copy(update={"transactional": True})}
    )
    send(settings, mixed(settings.streaming.group))
    consume(settings)
    assert soak.faults_of(judge(settings)) == {}


def test_compressed_bomb_is_a_dead_letter_and_the_next_click_is_answered(live: Settings) -> None:
    bomb = b'{"event_id":"' + b"0" * 20_000_000 + b'"}'
    send(live, [(b"k", bomb), click(1, f"{live.streaming.group}-a")], compression_type="gzip")
    assert consume(live)["answered"] == 1
    assert [record.value == bomb for record in soak.read_topic(live, live.kafka.dead_letter_topic)] == [True]


def test_breaker_stops_a_flood_of_poison_and_loses_none_of_it(live: Settings) -> None:
    streaming = live.streaming.model_copy(update={"dlq_breaker_share": 0.5, "dlq_breaker_window": 10})
    settings = live.model_copy(update={"streaming": streaming})
    send(settings, [(b"k", b"junk")] * 30)
    with pytest.raises(BreakerError, match="dlq list"):
        consume(settings)
    assert (
        len(list(dlq.read(settings))) == len(soak.read_topic(settings, settings.kafka.dead_letter_topic)) > 0
    )


def test_redrive_sends_a_mended_letter_back_once(live: Settings) -> None:
    session = f"{live.streaming.group}-r"
    _, value = click(1, session)
    send(live, [(b"wrong", value), (b"k", b"junk")])
    consume(live)
    assert [letter.reason for letter in sorted(dlq.read(live), key=lambda one: one.reason)] == [
        "not_json",
        "wrong_key",
    ]
    assert dlq.redrive(live, rekey=True, dry_run=True).sent == 1
    assert dlq.redrive(live, rekey=True).sent == 1
    again = dlq.redrive(live, rekey=True)
    assert (again.sent, again.before, dict(again.refused)) == (0, 1, {"not_json": 1})
    assert consume(live)["answered"] == 1
    assert [
        json.loads(record.value)["session_id"]
        for record in soak.read_topic(live, live.kafka.recommendations_topic)
    ] == [session]


def test_another_group_answers_for_itself(live: Settings) -> None:
    send(live, [click(1, f"{live.streaming.group}-a")])
    other = live.model_copy(
        update={"streaming": live.streaming.model_copy(update={"group": live.streaming.group + "-b"})}
    )
    assert consume(live)["answered"] == consume(other)["answered"] == 1


def test_partition_taken_away_in_the_middle_of_a_poll_is_left_to_its_new_owner(
    live: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(live, [click(number, f"{live.streaming.group}-{number}") for number in range(40)])
    adopt, taken = Partitions.adopt, list[int]()

    def adopt_and_lose(self: Partitions, consumer: Any, sink: Any) -> Any:
        result = adopt(self, consumer, sink)
        if self.stores and not taken:
            taken.extend(self.stores)
            self.release(taken, "lost")
            self.give(taken)  # by the next rebalance, which may come before the poll thread goes on
        return result

    monkeypatch.setattr(Partitions, "adopt", adopt_and_lose)
    consume(live)
    assert taken
    assert soak.faults_of(judge(live)) == {}


def answers(settings: Settings) -> list[dict[str, Any]]:
    return [
        json.loads(record.value) for record in soak.read_topic(settings, settings.kafka.recommendations_topic)
    ]


@pytest.fixture
def opened(live: Settings) -> Iterator[Callable[..., Models]]:
    """Opens models, and ends what follows the topic for them."""
    with contextlib.ExitStack() as ending:

        def open_(*words: Any) -> Models:
            models = open_models(live, *words)
            ending.callback(models.close)
            return models

        yield open_


def test_shadow_model_is_compared_and_never_answered_from_even_when_it_fails(
    live: Settings, side: Any, opened: Callable[..., Models]
) -> None:
    first, second = side.versions
    metrics = ConsumerMetrics()
    models = opened(first, second, metrics)
    assert models.shadow is not None
    send(
        live,
        [
            click(number, f"{live.streaming.group}-{number % 3}", f"shoes-{number % 16}")
            for number in range(12)
        ],
    )
    assert consume(live, models, metrics)["answered"] == 12
    assert metrics.registry.get_sample_value("intentstore_shadow_overlap_count") == 12
    broken = Models(
        models.current, models.shadow._replace(scorer=replace(models.shadow.scorer, catalogue=None))
    )
    send(
        live,
        [
            click(100 + number, f"{live.streaming.group}-{number % 3}", f"lamps-{number % 16}")
            for number in range(5)
        ],
    )
    assert consume(live, broken, metrics)["answered"] == 5
    assert {answer["model_version"] for answer in answers(live)} == {first.name}
    assert metrics.registry.get_sample_value("intentstore_shadow_overlap_count") == 12
    assert soak.faults_of(judge(live)) == {}


def test_model_that_fails_while_scoring_loses_no_click(
    live: Settings, side: Any, opened: Callable[..., Models]
) -> None:
    metrics = ConsumerMetrics()
    good = opened(side.versions[0], None, metrics).current()
    assert good is not None
    broken = good._replace(scorer=replace(good.scorer, catalogue=None))
    send(
        live,
        [
            click(number, f"{live.streaming.group}-{number % 3}", f"shoes-{number % 16}")
            for number in range(12)
        ],
    )
    assert consume(live, Models(lambda: broken), metrics)["answered"] == 12
    assert {answer["model_version"] for answer in answers(live)} == {"none"}
    assert metrics.registry.get_sample_value("intentstore_model_failures_total") == 12
    send(live, [click(100, f"{live.streaming.group}-0", "shoes-1")])
    consume(live, Models(lambda: good), metrics)
    assert sum(answer["model_version"] == side.versions[0].name for answer in answers(live)) == 1
    assert soak.faults_of(judge(live)) == {}


def test_error_that_passes_is_survived_with_new_clients_and_a_lasting_one_is_one_line(
    live: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kafka import KafkaConsumer
    from kafka.errors import NotCoordinatorError, UnsupportedCodecError

    send(live, [click(number, f"{live.streaming.group}-{number % 3}") for number in range(20)])
    poll, raised = KafkaConsumer.poll, [NotCoordinatorError("once")]

    def failing(self: Any, *words: Any, **options: Any) -> Any:
        if raised:
            raise raised.pop()
        return poll(self, *words, **options)

    monkeypatch.setattr("streaming.consumer.consumer.RESTART_SECONDS", 0.0)
    monkeypatch.setattr(KafkaConsumer, "poll", failing)
    metrics = ConsumerMetrics()
    assert consume(live, metrics=metrics)["answered"] == 20
    assert metrics.registry.get_sample_value("intentstore_client_restarts_total", {"cause": "send"}) == 1
    raised.append(UnsupportedCodecError("Libraries for zstd compression codec not found"))
    with pytest.raises(StreamingError, match=r"zstd .* install kafka-python\[lz4,snappy,zstd\]"):
        consume(live)
    assert soak.faults_of(judge(live)) == {}
