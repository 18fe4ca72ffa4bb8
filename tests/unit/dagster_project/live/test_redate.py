"""Only what the topic lacks is sent; clicks of the last century are moved as one."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dagster_project.live import redate
from spark_jobs.ingest.held_out import held_out_file

OLD = datetime.datetime(1998, 4, 1, tzinfo=datetime.UTC)


@pytest.fixture
def held_out(settings):
    def write(*times):
        file = held_out_file(settings)
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            pa.table(
                {
                    "event_id": [str(place) for place in range(len(times))],
                    "event_time": pa.array(times, pa.timestamp("us", "UTC")),
                }
            ),
            file,
        )

    return write


def left(settings, in_topic=frozenset()):
    other, number = redate.still_to_send(settings, "b:1", in_topic)
    rows = pq.read_table(held_out_file(other))
    assert rows.num_rows == number
    return rows, other


def test_old_clicks_keep_their_pauses_and_end_now(settings, held_out):
    held_out(OLD, OLD + datetime.timedelta(minutes=3))
    rows, other = left(settings)
    times = rows["event_time"].to_pylist()
    assert times[1] - times[0] == datetime.timedelta(minutes=3)
    assert times[1].year >= 2026 and times[1] <= datetime.datetime.now(datetime.UTC)
    assert other.kafka.bootstrap_servers == "b:1"


def test_second_replay_moves_by_the_same_time(settings, held_out):
    held_out(OLD, OLD + datetime.timedelta(minutes=3))
    assert left(settings)[0].equals(left(settings)[0])


def test_what_the_topic_holds_is_not_sent_again(settings, held_out):
    held_out(OLD, OLD + datetime.timedelta(minutes=3))
    whole, _ = left(settings)
    rest, _ = left(settings, {"0"})
    assert rest["event_id"].to_pylist() == ["1"] and rest["event_time"][0] == whole["event_time"][1]
    assert left(settings, {"0", "1"})[0].num_rows == 0


def test_recent_clicks_keep_their_times(settings, held_out):
    held_out(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    assert left(settings)[0]["event_time"].to_pylist() == [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)]


def test_nothing_held_out_means_nothing_to_send(settings):
    assert redate.still_to_send(settings, "b:1", set())[1] == 0
