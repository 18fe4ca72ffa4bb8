"""Clicks of the last century are moved as one, and only they."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dagster_project import redate
from spark_jobs.ingest_held_out import held_out_file

OLD = datetime.datetime(1998, 4, 1, tzinfo=datetime.UTC)


@pytest.fixture
def held_out(settings):
    def write(*times):
        file = held_out_file(settings)
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"event_id": [str(place) for place in range(len(times))], "event_time": pa.array(times, pa.timestamp("us", "UTC"))}), file)

    return write


def test_old_clicks_keep_their_pauses_and_end_now(settings, held_out):
    held_out(OLD, OLD + datetime.timedelta(minutes=3))
    moved = redate.settings_for_replay(settings, "b:1")
    times = pq.read_table(held_out_file(moved))["event_time"].to_pylist()
    assert times[1] - times[0] == datetime.timedelta(minutes=3)
    assert times[1].year >= 2026 and times[1] <= datetime.datetime.now(datetime.UTC)
    assert moved.kafka.bootstrap_servers == "b:1"


def test_second_replay_sends_the_very_same_clicks(settings, held_out):
    held_out(OLD)
    first = held_out_file(redate.settings_for_replay(settings, "b:1")).read_bytes()
    assert held_out_file(redate.settings_for_replay(settings, "b:1")).read_bytes() == first


def test_recent_clicks_are_left_as_they_are(settings, held_out):
    held_out(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    assert redate.settings_for_replay(settings, "b:1") is settings


def test_nothing_held_out_changes_nothing(settings):
    assert redate.settings_for_replay(settings, "b:1") is settings
