"""Single days through the real graph and Spark: a range is one call, equals a full run, and late data changes
nothing of others.
"""

from __future__ import annotations

import pytest

from feature_repo.contract import tables as columns
from spark_jobs.lake.log import DeltaLog

FIRST, LAST = "2026-01-01", "2026-01-03"
DAILY = ("daily/clicks", "daily/sessions", "daily/session_features")
TABLES = (columns.CLICKS, columns.SESSIONS, columns.SESSION_FEATURES)
WRITTEN_AT = {"created", "ingest_time", "arrival_time"}


@pytest.fixture
def rows(graph):
    """All rows of the three tables as sorted text, by table."""

    def read():
        names = {
            table: [name for name in columns.SCHEMAS[table].names if name not in WRITTEN_AT]
            for table in TABLES
        }
        return {
            table: sorted(map(str, DeltaLog(graph.settings.table(table)).read(names[table]).to_pylist()))
            for table in TABLES
        }

    return read


def test_range_of_days_is_one_commit_and_equals_a_full_run(graph, rows):
    good, text, made = graph(*DAILY, day=FIRST, until=LAST)
    assert good, text
    assert made == set(DAILY)
    assert DeltaLog(graph.settings.table(columns.CLICKS)).snapshot().version == 1  # made, then filled once
    before = rows()
    assert len(before[columns.CLICKS]) == len(before[columns.SESSION_FEATURES]) == 40
    good, text, _ = graph("sessions", "session_features")
    assert good and rows() == before, text


def test_late_click_changes_its_own_session_and_no_other(graph, rows):
    assert graph(*DAILY, day=FIRST, until=LAST)[0]
    before = rows()
    with (graph.shop / "clicks.csv").open("a", encoding="utf-8") as file:
        file.write("late,i1,2026-01-01T23:59:00\n")
    good, text, _ = graph(*DAILY, day=FIRST)
    assert good, text
    after = rows()
    changed = [row for table in TABLES for row in set(after[table]) ^ set(before[table])]
    assert len(changed) == 3 and all("'late'" in row for row in changed)
