"""Records of others in the dead letters and the answers, on the real broker: every reader leaves them out."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kafka.record.default_records import DefaultRecordBatchBuilder

from dagster_project.live import replay as live_run
from feature_repo.contract.key_partitions import partition_of
from feature_repo.contract.settings import Settings
from streaming import commands
from streaming.clients import client_options
from streaming.consumer import recovery
from streaming.http.reader import AnswerReader
from streaming.topics import dead_letters as dlq
from streaming.topics import ensure as topics

sys.path.insert(0, str(Path(__file__).parent))
from own_topics import answers, click, consume, own_topics, read_topic, send


@pytest.fixture
def live(settings: Settings, services: Any) -> Settings:
    """Topics and a group of this test's own."""
    return own_topics(settings, services)


# stands for a header without a value, which other clients write and kafka-python's producer refuses to
NULL = b"\0null"


@pytest.fixture(autouse=True)
def null_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the producer's encoder write headers without a value."""
    append = DefaultRecordBatchBuilder.append

    def nulls(
        self: Any, offset: int, timestamp: int, key: Any, value: Any, headers: Any, **options: Any
    ) -> Any:
        return append(
            self,
            offset,
            timestamp,
            key,
            value,
            [(name, None if text == NULL else text) for name, text in headers],
            **options,
        )

    monkeypatch.setattr(DefaultRecordBatchBuilder, "append", nulls)


def foreign() -> list[tuple[Any, ...]]:
    fields = [
        ("reason", b"not_json"),
        ("topic", b"payments"),
        ("partition", b"0"),
        ("offset", b"7"),
        ("failed_at", b"2026-01-01T00:00:00Z"),
    ]
    return [
        (b"k", b"plain text", 0),
        (None, b'{"any": "json"}', 0),
        (b"k", None, 0, [("reason", b"x")]),
        (b"\xff", b"\xff\xfe", 0),
        (b"k", b"1", 0, [(name, NULL) for name in ("source", "reason", "offset")]),
        (b"k", b"[" * 5000, 1, [("offset", b"a"), ("partition", b"-1")]),
        (b"k", b"2", 1, [("source", b"other/x"), ("source", b"no slash")]),
        (b"k", b"3", 1, fields),
    ]


def test_foreign_records_in_dead_letters_are_listed_and_never_sent_anywhere(
    live: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = live.kafka.dead_letter_topic
    send(live, dead, foreign())
    _, value = click(1, f"{live.streaming.group}-s")
    send(live, live.kafka.clicks_topic, [(b"wrong", value), (b"k", b"junk")])
    consume(live)
    send(live, dead, foreign())
    letters = list(dlq.read(live))
    assert sorted(letter.reason for letter in letters) == ["foreign"] * 16 + ["not_json", "wrong_key"]
    assert {letter.topic for letter in letters if letter.reason == "foreign"} == {dead}
    assert commands.dlq_list(live, SimpleNamespace(reason="foreign", limit=5, json=False)) == 0
    shown = capsys.readouterr()
    assert shown.out.count("foreign") == 5 and "5 of these are foreign" in shown.err
    assert commands.dlq_list(live, SimpleNamespace(reason=None, limit=50, json=True)) == 0
    assert len([json.loads(line) for line in capsys.readouterr().out.splitlines()]) == 18
    outcome = dlq.redrive(live, rekey=True)
    assert (outcome.sent, outcome.foreign, dict(outcome.refused)) == (1, 16, {"not_json": 1})
    assert "foreign: 16" in outcome.to_line()
    send(live, dead + dlq.LEDGER_SUFFIX, [(None, b"x"), (b"\xff", b"x")])
    assert dlq.redrive(live, rekey=True).before == 1


def test_foreign_records_in_the_answers_disturb_neither_recovery_nor_readers(
    live: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    run, output = live.streaming.group, live.kafka.recommendations_topic
    before = live_run.Ends({}, {}, {})
    send(live, output, foreign())
    send(live, live.kafka.clicks_topic, [click(number, f"{run}-{number % 3}") for number in range(12)])
    assert consume(live)["answered"] == 12
    mine = f"{run}-0".encode()
    hostile = [
        (b"k", b"1", partition, [("source", f"{run}/{text}".encode())])
        for partition in (0, 1)
        for text in ("x", "", "-5", "9" * 30)
    ]
    send(live, output, [*foreign(), *hostile, (mine, b'{"other": 1}', partition_of("murmur2", mine, 2))])
    shutil.rmtree(live.state_dir)
    totals = consume(live)
    assert (totals["answered"], totals["restored"]) == (0, 12)
    assert "are foreign and were passed over" in caplog.text
    assert [answer["event_id"] for answer in answers(live)] == [f"e{number}" for number in range(12)]
    logs = dict.fromkeys((0, 1), topics.layout(live).log)
    assert set(recovery.sent_through(live, logs, "nobody").values()) == {recovery.Sent(-1, -1)}
    answered = recovery.sent_through(live, logs, run)
    assert max(sent.answers for sent in answered.values()) > 0
    assert {sent.letters for sent in answered.values()} == {-1}
    measured = live_run.measure(live, before)
    assert (measured["answers"], measured["dead_letters"], measured["foreign_records"]) == (12, 0, 25)


def test_the_reader_of_the_http_side_keeps_the_answer_that_a_foreign_record_follows(
    live: Settings, wait: Any
) -> None:
    from kafka import KafkaConsumer

    session = f"{live.streaming.group}-0"
    send(live, live.kafka.clicks_topic, [click(1, session)])
    consume(live)
    body = json.loads(read_topic(live, live.kafka.recommendations_topic)[0].value)
    other = json.dumps({**body, "session_id": "somebody else"}).encode()
    place = partition_of("murmur2", session.encode(), 2)
    send(
        live,
        live.kafka.recommendations_topic,
        [*foreign(), (session.encode(), b"{}", place), (session.encode(), other, place)],
    )
    taken: list[Any] = []
    reader = AnswerReader(
        lambda: KafkaConsumer(**client_options(live), enable_auto_commit=False),
        live.kafka.recommendations_topic,
        taken.extend,
    )
    reader.start()
    try:
        wait(lambda: not reader.problem and reader.foreign == 10, "the foreign records to be counted")
    finally:
        reader.close()
    assert [json.loads(answer.value)["event_id"] for answer in taken] == ["e1"]
