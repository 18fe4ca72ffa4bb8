"""Only what the topic lacks is sent; clicks of the last century are moved as one."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dagster_project.live import redate
from feature_repo.contract.messages import EARLIEST_US
from spark_jobs.ingest.held_out import HELD_OUT_COLUMNS, held_out_file

OLD = datetime.datetime(1998, 4, 1, tzinfo=datetime.UTC)


@pytest.fixture
def held_out(settings):
    def write(*times):
        file = held_out_file(settings)
        file.parent.mkdir(parents=True, exist_ok=True)
        columns = {name: [f"{name}{place}" for place in range(len(times))] for name in HELD_OUT_COLUMNS}
        columns |= {"extra": ["{}"] * len(times), "arrival_seq": list(range(len(times)))}
        columns["event_time"] = pa.array(times, pa.timestamp("us", "UTC"))
        pq.write_table(pa.table(columns), file)

    return write


def left(settings, in_topic=frozenset()):
    found = redate.still_to_send(settings, in_topic)
    clicks = list(found)
    assert len(found) == len(clicks)
    return clicks


def test_old_clicks_keep_their_pauses_and_end_now(settings, held_out):
    held_out(OLD, OLD + datetime.timedelta(minutes=3))
    times = [click.event_time for click in left(settings)]
    assert times[1] - times[0] == 180 * 1_000_000
    assert EARLIEST_US < times[1] <= datetime.datetime.now(datetime.UTC).timestamp() * 1_000_000


def test_second_replay_moves_by_the_same_time(settings, held_out):
    held_out(OLD, OLD + datetime.timedelta(minutes=3))
    first = left(settings)
    assert first == left(settings) and first[0].event_time > EARLIEST_US


def test_what_the_topic_holds_is_not_sent_again(settings, held_out):
    held_out(OLD, OLD + datetime.timedelta(minutes=3))
    whole = left(settings)
    assert left(settings, {"event_id0"}) == whole[1:]
    assert left(settings, {"event_id0", "event_id1"}) == []


def test_recent_clicks_keep_their_times(settings, held_out):
    new_year = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    held_out(new_year)
    assert [click.event_time for click in left(settings)] == [new_year.timestamp() * 1_000_000]


def test_nothing_held_out_means_nothing_to_send(settings):
    assert left(settings) == []
