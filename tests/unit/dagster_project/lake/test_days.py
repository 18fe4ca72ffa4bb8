"""Single days: which steps of theirs run again, and what their checks say."""

from __future__ import annotations

import datetime

import pytest

from dagster_project.checks import days as day_checks
from dagster_project.lake.days import Days, clicks_by_day, ranges
from dagster_project.run import steps
from dagster_project.run.child import Work
from dagster_project.run.memory import Report, StepMemory
from feature_repo.contract.settings import load_settings

FIFTH, SIXTH = Days.parse("2026-01-05"), Days.parse("2026-01-06")
BOTH = Days.parse("2026-01-05..2026-01-06")
FEATURES = steps.step_of("daily/session_features")
ONE_DAY = datetime.timedelta(days=1)


@pytest.fixture
def next_day(click):
    def make(number, **given):
        row = click(number)
        return (
            row
            | {"event_time": row["event_time"] + ONE_DAY, "event_date": row["event_date"] + ONE_DAY}
            | given
        )

    return make


@pytest.fixture
def memory(settings, write_table, click):
    write_table("clicks", [click(1), click(2)])
    write_table("session_features", [{"event_id": "e1"}, {"event_id": "e2"}])
    found = StepMemory(settings)
    found.remember(FEATURES, found.now(FEATURES, FIFTH), Report("session_features", rows=2), FIFTH)
    return found


def test_clicks_of_another_day_leave_a_day_as_it_is(memory, write_table, next_day):
    write_table("clicks", [next_day(3)])
    assert memory.unchanged(FEATURES, FIFTH) == Report("session_features", rows=2, skipped=True)


def test_late_click_runs_its_own_day_again(memory, write_table, click):
    write_table("clicks", [click(3, ingest_time=click(3)["ingest_time"] + ONE_DAY)])
    assert memory.unchanged(FEATURES, FIFTH) is None


def test_changed_setting_of_an_earlier_step_runs_the_later_ones_again(settings, memory):
    intents = steps.step_of("daily/session_intents")
    memory.remember(intents, memory.now(intents, FIFTH), Report("session_intents"), FIFTH)
    other = load_settings(None, {"INTENTSTORE_SESSION__GAP_MINUTES": "3"}, {"home": str(settings.home)})
    assert StepMemory(other).unchanged(intents, FIFTH) is None


def test_days_in_a_row_are_done_in_one_go(settings):
    work = Work(
        settings, ["ingest", "sessionise"], "daily", ["2026-01-02", "2026-01-01", "2026-02-01"], False, {}
    )
    assert [(step.name, str(days)) for step, days in work.plan()] == [
        ("ingest", "2026-01-01..2026-01-02"),
        ("sessionise", "2026-01-01..2026-01-02"),
        ("ingest", "2026-02-01"),
        ("sessionise", "2026-02-01"),
    ]


def test_month_and_year_ends_do_not_break_a_range():
    assert [str(part) for part in ranges(["2025-12-31", "2026-01-01", "2024-02-29", "2024-03-01"])] == [
        "2024-02-29..2024-03-01",
        "2025-12-31..2026-01-01",
    ]


def test_clicks_are_counted_by_day(settings, write_table, click, next_day):
    write_table("clicks", [click(1), click(2), next_day(3)])
    assert list(clicks_by_day(settings, BOTH).values()) == [2, 1]


def test_day_without_clicks_is_refused_with_the_remedy(settings, write_table, click):
    write_table("clicks", [click(1)])
    found = day_checks.has_clicks(settings, {"days": str(SIXTH)})
    assert not found.passed and "2026-01-06" in found.text and "dataset folder" in found.text
    assert day_checks.has_clicks(settings, {"days": str(BOTH)}).passed


def test_empty_day_within_a_range_is_named(settings, write_table, click):
    write_table("clicks", [click(1)])
    found = day_checks.every_day(settings, {"days": str(BOTH)})
    assert not found.passed and found.facts["empty"] == ["2026-01-06"]


def test_click_of_the_day_without_features_is_named(settings, write_table, click, next_day):
    write_table("clicks", [click(1), next_day(3)])
    write_table("session_features", [{"event_id": "e1"}])
    assert day_checks.features_of_days(settings, {"days": str(FIFTH)}).passed
    assert day_checks.features_of_days(settings, {"days": str(BOTH)}).facts["examples"] == ["e3"]
