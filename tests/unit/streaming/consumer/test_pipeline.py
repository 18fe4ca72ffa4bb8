import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.contract import session
from feature_repo.contract.key_partitions import KeyRule, Width, partition_of
from feature_repo.contract.messages import decode_recommendation
from feature_repo.contract.session import FoldClick, FoldConfig
from streaming.consumer import score_log
from streaming.consumer.pipeline import Breaker, Pipeline, RawRecord
from streaming.consumer.recovery import Plan
from streaming.consumer.state import PartitionStore
from streaming.errors import BreakerError
from streaming.serving.answers import Answerer, Popularity

sys.path.append(str(Path(__file__).parents[4] / "benchmarks"))
import soak_oracle

NOW = 1_700_000_000_000_000


def _pipeline(breaker: Breaker | None = None) -> Pipeline:
    answerer = Answerer(lambda: None, Popularity(), 5)
    return Pipeline(
        "clicks",
        FoldConfig(gap_us=600_000_000, max_items=50),
        answerer,
        breaker or Breaker(1.0, 10),
        lambda: NOW,
    )


def _click(offset: int, event: str, session: str = "s", item: str = "i", partition: int = 0) -> RawRecord:
    body = {
        "event_id": event,
        "session_id": session,
        "item_id": item,
        "event_time": NOW // 1000 + offset,
        "schema_version": 1,
    }
    return RawRecord(partition, offset, NOW, session.encode(), json.dumps(body).encode())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PartitionStore]:
    opened = PartitionStore(tmp_path / "p")
    yield opened
    opened.close()


def test_each_click_of_a_batch_is_answered_with_its_own_prefix(store: PartitionStore) -> None:
    outcome = _pipeline().process({0: [_click(0, "a", item="x"), _click(1, "b", item="y")]}, {0: store})
    batch = outcome.partitions[0]
    rows = score_log.batch_of([row for _, row in batch.rows]).to_pylist()
    assert [row["items"] for row in rows] == [["x"], ["x", "y"]]
    assert [decode_recommendation(value).source.offset for _, _, value in batch.outbox.answers] == [0, 1]
    assert (batch.next_offset, outcome.answered, list(batch.states)) == (2, 2, ["s"])


def test_valid_click_on_a_wrong_partition_is_a_letter_and_changes_no_state(store: PartitionStore) -> None:
    pipeline = _pipeline()
    rule = KeyRule("murmur2", (Width(4),))
    home = partition_of("murmur2", b"s", 4)
    away = (home + 1) % 4
    records = {away: [_click(0, "a"), RawRecord(away, 1, NOW, b"s", b"junk")]}
    outcome = pipeline.process(records, {away: store}, check_key=rule.check)
    letters = outcome.partitions[away].outbox.letters
    assert [dict(letter.headers)["reason"] for letter in letters] == [b"wrong_partition", b"not_json"]
    assert letters[0].value == _click(0, "a").value
    assert (outcome.answered, outcome.partitions[away].states) == (0, {})
    right = {home: [_click(0, "a", partition=home)]}
    assert pipeline.process(right, {home: store}, check_key=rule.check).answered == 1


def _event(offset: int, item: str, kind: str) -> RawRecord:
    record = _click(offset, f"e{offset}", item=item)
    assert record.value is not None
    return record._replace(value=json.dumps(json.loads(record.value) | {"event_type": kind}).encode())


def test_events_kept_aside_get_no_answer_and_are_counted_and_said_once(
    store: PartitionStore, caplog: pytest.LogCaptureFixture
) -> None:
    kinds = [
        (0, "x", "impression"),
        (1, "x", "view"),
        (2, "x", "addtocart"),
        (3, "y", "zap"),
        (4, "z", "zap"),
    ]
    outcome = _pipeline().process({0: [_event(*kind) for kind in kinds]}, {0: store})
    batch = outcome.partitions[0]
    assert [offset for offset, _, _ in batch.outbox.answers] == [1]
    assert (outcome.answered, dict(outcome.aside)) == (1, {"impression": 1, "cart": 1, "other": 2})
    assert (batch.states["s"].items, batch.next_offset) == (("x",), 5)
    assert sum("named by no rule" in message for message in caplog.messages) == 1


def test_a_purchase_within_a_session_is_answered_and_one_before_it_is_kept(store: PartitionStore) -> None:
    kinds = [(0, "x", "buy"), (1, "y", "view"), (2, "y", "transaction")]
    outcome = _pipeline().process({0: [_event(*kind) for kind in kinds]}, {0: store})
    batch = outcome.partitions[0]
    assert [offset for offset, _, _ in batch.outbox.answers] == [1, 2]
    rows = score_log.batch_of([row for _, row in batch.rows]).to_pylist()
    assert [(row["items"], row["ended_items"]) for row in rows] == [(["y"], ["x"]), (["y"], ["x", "y"])]
    assert rows[1]["event_types"] == ["purchase", "view"] and rows[1]["event_counts"] == [2, 1]


def test_a_session_of_nothing_but_kept_events_has_no_features_to_write(store: PartitionStore) -> None:
    outcome = _pipeline().process({0: [_event(0, "x", "buy")]}, {0: store})
    batch = outcome.partitions[0]
    assert (list(batch.states), batch.outbox.sessions, batch.outbox.answers) == (["s"], [], [])
    store.write(batch.next_offset, batch.states, batch.outbox, [])
    after = _pipeline().process({0: [_event(1, "y", "view")]}, {0: store}).partitions[0].states["s"]
    assert after.ended == ("x",)


def test_score_log_rows_of_the_version_before_are_read(store: PartitionStore) -> None:
    outcome = _pipeline().process({0: [_click(0, "a")]}, {0: store})
    whole = outcome.partitions[0].rows[0][1]
    before = score_log.batch_of([score_log.unpack(score_log.pack(whole[:-4]))]).to_pylist()[0]
    assert before["event_types"] is before["reason_sources"] is None
    latest = score_log.batch_of([score_log.unpack(score_log.pack(whole[:-1]))]).to_pylist()[0]
    assert latest["event_types"] == ["click"] and latest["reason_sources"] is None


def test_duplicate_gets_no_answer_within_a_batch_or_later(store: PartitionStore) -> None:
    pipeline = _pipeline()
    first = pipeline.process({0: [_click(0, "a"), _click(1, "a")]}, {0: store})
    batch = first.partitions[0]
    store.write(
        batch.next_offset,
        batch.states,
        batch.outbox,
        [(offset, score_log.pack(row)) for offset, row in batch.rows],
    )
    second = pipeline.process({0: [_click(2, "a")]}, {0: store})
    assert (first.answered, first.duplicates, second.answered, second.duplicates) == (1, 1, 0, 1)
    assert second.partitions[0].next_offset == 3


def test_poison_becomes_a_letter_with_its_bytes_and_the_next_click_is_scored(store: PartitionStore) -> None:
    outcome = _pipeline().process(
        {0: [RawRecord(0, 0, NOW, b"\xff", b"\x00junk"), RawRecord(0, 1, NOW, None, None), _click(2, "a")]},
        {0: store},
    )
    letters = outcome.partitions[0].outbox.letters
    assert [(one.key, one.value) for one in letters] == [(b"\xff", b"\x00junk"), (None, None)]
    headers = dict(letters[0].headers)
    assert (headers["topic"], headers["partition"], headers["offset"]) == (b"clicks", b"0", b"0")
    assert {"reason", "failed_at"} <= set(headers)
    assert outcome.answered == 1
    assert sum(outcome.refused.values()) == 2


def test_clicks_answered_before_the_state_was_lost_are_only_folded(store: PartitionStore) -> None:
    records = [_click(0, "a"), RawRecord(0, 1, NOW, b"k", b"junk"), _click(2, "b")]
    outcome = _pipeline().process({0: records}, {0: store}, {0: Plan(0, 2, False, 2)})
    batch = outcome.partitions[0]
    assert (outcome.restored, outcome.answered) == (1, 1)
    assert [offset for offset, _, _ in batch.outbox.answers] == [2]
    assert batch.outbox.letters == []
    assert batch.states["s"].count == 2


def test_partitions_are_scored_in_one_call(store: PartitionStore, tmp_path: Path) -> None:
    calls: list[int] = []

    class Counting(Answerer):
        def __call__(self, prefixes: Any, ended: Any = None) -> Any:
            calls.append(len(prefixes))
            return super().__call__(prefixes, ended)

    other = PartitionStore(tmp_path / "q")
    pipeline = Pipeline(
        "clicks", FoldConfig(), Counting(lambda: None, Popularity(), 5), Breaker(1.0, 10), lambda: NOW
    )
    pipeline.process(
        {0: [_click(0, "a")], 1: [_click(0, "b", session="t", partition=1)]}, {0: store, 1: other}
    )
    assert calls == [2]
    other.close()


def test_without_a_model_the_most_clicked_items_are_the_answer(store: PartitionStore) -> None:
    records = [
        _click(number, f"e{number}", item="often" if number % 2 else f"i{number}") for number in range(6)
    ]
    pipeline = _pipeline()
    pipeline.process({0: records}, {0: store})
    last = pipeline.process({0: [_click(6, "z")]}, {0: store}).partitions[0].outbox.answers[0][2]
    answer = decode_recommendation(last)
    assert (answer.model_version, answer.items[0].item_id, answer.intents.source) == ("none", "often", "none")


def test_breaker_trips_on_a_full_window_only() -> None:
    breaker = Breaker(0.5, 10)
    for _ in range(9):
        breaker.count(True)
    breaker.check()
    breaker.count(True)
    with pytest.raises(BreakerError, match=r"10 of the latest 10.*dlq list"):
        breaker.check()
    for _ in range(5):
        breaker.count(False)
    breaker.check()


@settings(deadline=None, max_examples=25)  # each example opens two stores
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("stu"), st.booleans()), max_size=25),
    st.integers(1, 7),
)
def test_batches_of_any_size_give_the_same_state_and_answer_each_event_once(
    tmp_path_factory: Any, clicks: list[tuple[str, str, bool]], size: int
) -> None:
    records = [
        _click(offset, f"{event}{offset // 3}", session) if good else RawRecord(0, offset, NOW, b"k", b"junk")
        for offset, (event, session, good) in enumerate(clicks)
    ]
    results = []
    for step in (size, max(len(records), 1)):
        opened, pipeline, answered = PartitionStore(tmp_path_factory.mktemp("s") / "p"), _pipeline(), []
        for start in range(0, len(records), step):
            batch = pipeline.process({0: records[start : start + step]}, {0: opened}).partitions[0]
            opened.write(
                batch.next_offset,
                batch.states,
                batch.outbox,
                [(offset, score_log.pack(row)) for offset, row in batch.rows],
            )
            answered += [
                decode_recommendation(value).event_id + key.decode() for _, key, value in batch.outbox.answers
            ]
        results.append((dict(opened.sessions()), answered))
        opened.close()
    assert results[0] == results[1]
    assert len(set(results[0][1])) == len(results[0][1])


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(-900, 900)), max_size=700))
@settings(max_examples=20, deadline=None)
def test_fold_and_soak_oracle_agree_on_what_is_a_duplicate(clicks: list[tuple[int, int]]) -> None:
    state, naive, config, now = (
        session.empty(),
        soak_oracle.Session(),
        FoldConfig(gap_us=soak_oracle.GAP_US, max_items=soak_oracle.KEPT),
        NOW,
    )
    for number, (event, step) in enumerate(clicks):
        now += step * 1_000_000
        after = session.apply(state, FoldClick(f"e{event}", f"i{event % 7}", now, NOW + number), config)
        assert (after is not state) == naive.click(number, f"e{event}", f"i{event % 7}", now, NOW + number)
        state = after
    if clicks:
        assert {
            **session.features(state),
            **session.event_features(state),
            "event_timestamp_us": state.event_timestamp_us,
            "created_us": state.created_us,
        } == naive.features()


def test_event_id_is_known_after_the_session_gap_and_forgotten_after_256_newer_ones() -> None:
    config = FoldConfig(gap_us=600_000_000, max_items=50)
    state = session.apply(session.empty(), FoldClick("first", "i", NOW, NOW), config)
    for number in range(session.SEEN_EVENTS):
        moment = NOW + (number + 1) * 3_600_000_000  # an hour apart: each starts a new session
        assert session.apply(state, FoldClick("first", "i", moment, moment), config) is state
        state = session.apply(state, FoldClick(f"e{number}", "i", moment, moment), config)
    assert session.apply(state, FoldClick("first", "i", moment, moment), config) is not state


def test_letters_and_answers_that_are_out_are_told_apart(store: PartitionStore) -> None:
    records = [
        RawRecord(0, 0, NOW, b"k", b"junk"),
        _click(1, "a"),
        RawRecord(0, 2, NOW, b"k", b"junk"),
        _click(3, "b"),
    ]
    outcome = _pipeline().process({0: records}, {0: store}, {0: Plan(0, 3, False, 1)})
    outbox = outcome.partitions[0].outbox
    assert [offset for offset, _, _ in outbox.answers] == [3]
    assert [letter.offset for letter in outbox.letters] == [2]
