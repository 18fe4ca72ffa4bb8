"""Each check must fail when what it guards is broken on purpose."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pytest

from dagster_project.checks import expectations
from dagster_project.checks import tables as table_checks
from dagster_project.run import steps
from feature_repo.contract import tables as columns


def outcome(settings, asset, name, details=None):
    entry = next(entry for entry in expectations.of([asset]) if entry.name == name)
    return expectations.verify(entry, settings, details or {})


def test_good_clicks_pass_every_check(settings, write_table, click):
    write_table("clicks", [click(number) for number in range(8)])
    write_table("items", [{"item_id": f"i{number}"} for number in range(4)])
    found = {entry.name: expectations.verify(entry, settings, {}) for entry in expectations.of(["clicks"])}
    assert {name: one.text for name, one in found.items() if not one.passed} == {}


def test_changed_column_type_fails_the_schema_check(settings, write_table):
    wrong = pa.schema(
        [
            field if field.name != "event_time" else pa.field("event_time", pa.string())
            for field in columns.CLICKS_SCHEMA
        ]
    )
    write_table("clicks", [], schema=wrong)
    found = outcome(settings, "clicks", "schema")
    assert not found.passed and "event_time" in found.text


@pytest.mark.parametrize("bad", [{"event_id": None}, {"event_id": "  "}, {"event_id": "e1"}])
def test_blank_or_repeated_keys_fail_and_are_named(settings, write_table, click, bad):
    write_table("clicks", [click(1), click(2, **bad)])
    found = outcome(settings, "clicks", "keys")
    assert not found.passed and found.facts["examples"]


def test_empty_clicks_fail(settings, write_table):
    write_table("clicks", [])
    assert not outcome(settings, "clicks", "not_empty").passed


def test_clicks_on_unknown_items_warn_with_rows(settings, write_table, click):
    write_table("clicks", [click(1), click(2)])
    write_table("items", [{"item_id": "i1"}])
    found = outcome(settings, "clicks", "items_known")
    assert not found.passed and found.facts["examples"][0]["item_id"] == "i2"


def test_catalogue_without_items_is_no_fault(settings, write_table, click):
    write_table("clicks", [click(1)])
    write_table("items", [])
    assert outcome(settings, "clicks", "items_known").passed


def test_day_far_below_the_usual_warns(settings, write_table, click):
    start = datetime.date(2026, 1, 1)
    counts = [100] * 10 + [1, 50]
    rows = [
        click(day * 1000 + number, event_date=start + datetime.timedelta(days=day))
        for day, count in enumerate(counts)
        for number in range(count)
    ]
    write_table("clicks", rows)
    found = outcome(settings, "clicks", "volume")
    assert not found.passed and "2026-01-11" in found.text


def test_many_refused_rows_stop_what_follows(settings, write_table, click):
    write_table("clicks", [click(1)])
    write_table("quarantine", [{"source": "clicks.csv", "line": 3, "reason": "bad time"}])
    found = outcome(settings, "quarantine", "refused_share")
    assert not found.passed and "clicks.csv" in found.text


def test_click_without_a_session_is_seen(settings, write_table, click):
    write_table("clicks", [click(1), click(2)])
    write_table("sessions", [{"session_id": "s1", "length": 1}])
    assert not outcome(settings, "sessions", "every_click_once").passed


def test_click_without_features_is_named(settings, write_table, click):
    write_table("clicks", [click(1), click(2)])
    write_table("session_features", [{"session_id": "s1", "event_id": "e1"}])
    found = outcome(settings, "session_features", "every_click")
    assert not found.passed and found.facts["examples"] == [{"event_id": "e2"}]


def test_vector_that_is_not_of_unit_length_fails(settings, write_table):
    write_table("items", [{"item_id": "a"}, {"item_id": "b"}])
    write_table(
        "item_vectors", [{"item_id": "a", "vector": [0.6, 0.8]}, {"item_id": "b", "vector": [1.0, 1.0]}]
    )
    assert outcome(settings, "item_vectors", "unit_vectors").facts["not_of_unit_length"] == 1


def test_llm_intent_outside_the_cache_is_named(settings, write_table):
    write_table("session_intents", [{"session_id": "s", "source": "llm", "cache_key": "k"}])
    write_table("intent_cache", [])
    found = outcome(settings, "intent_cache", "coverage")
    assert not found.passed and found.facts["examples"][0]["session_id"] == "s"


def test_answers_that_only_copy_the_session_warn(settings, write_table):
    at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    write_table("session_text", [{"session_id": "s", "event_timestamp": at, "items": ["a"]}])
    write_table(
        "session_intents",
        [
            {
                "session_id": "s",
                "event_timestamp": at,
                "source": "llm",
                "short_items": ["a"],
                "short_text": "A",
            }
        ],
    )
    assert not outcome(settings, "session_intents", "copy_share").passed


def test_case_that_knows_its_future_fails(settings, write_table):
    at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    row = {
        "session_id": "s",
        "event_timestamp": at,
        "session_start": at + datetime.timedelta(hours=1),
        "target": "a",
        "split": "train",
    }
    write_table("training_set", [row])
    assert not outcome(settings, "training_set", "known_in_time").passed


def test_one_mismatch_fails_parity(settings):
    assert outcome(
        settings,
        "live/parity",
        "parity",
        {"compared": 10, "mismatch": 0, "missing": 0, "extra": 0, "stale": 0},
    ).passed
    assert not outcome(settings, "live/parity", "parity", {"compared": 10, "mismatch": 1}).passed


def test_unanswered_clicks_fail(settings):
    assert outcome(
        settings, "live/recommendations", "answered", {"clicks": 3, "answers": 2, "dead_letters": 1}
    ).passed
    assert not outcome(settings, "live/recommendations", "answered", {"clicks": 3, "answers": 2}).passed


def test_missing_table_is_a_failed_check_not_a_crash(settings):
    assert "materialise" in outcome(settings, "clicks", "keys").text


def test_every_table_of_the_contract_is_checked():
    checked = {steps.TABLES.get(entry.asset) for entry in expectations.EXPECTATIONS}
    assert set(columns.SCHEMAS) - checked <= {columns.SCORE_LOG, columns.ITEM_UPDATES}


def test_thresholds_are_shares():
    assert 0 < table_checks.MAX_COPY_SHARE < 1


def test_language_model_that_is_down_stops_the_run_with_its_reason(settings):
    folder = settings.home / "intents"
    folder.mkdir(parents=True)
    (folder / "retry.jsonl").write_text(
        '{"cache_key": "k", "reason": "connection refused"}', encoding="utf-8"
    )
    found = outcome(settings, "session_intents", "model_answers", {"llm_calls": 0, "failed": 4})
    assert (
        not found.passed
        and "all 4 calls" in found.text
        and "connection refused" in found.text
        and "endpoint" in found.text
    )
    assert outcome(settings, "session_intents", "model_answers", {"llm_calls": 3, "failed": 1}).passed
    assert not outcome(settings, "session_intents", "calls_answered", {"llm_calls": 3, "failed": 1}).passed
    assert outcome(settings, "session_intents", "model_answers", {"llm_calls": 0, "failed": 0}).passed
