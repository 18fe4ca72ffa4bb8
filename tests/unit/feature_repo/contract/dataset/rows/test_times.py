"""Times that are none: dates written as numbers are read, other numbers before 2000 refused, a whole file of
them named.
"""

from __future__ import annotations

import datetime

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.contract.dataset.folder import DatasetFolderError, parse_rows, read_clicks
from feature_repo.contract.messages import format_time, parse_time
from feature_repo.contract.times import parse_times

HEADER = "session_id,item_id,event_time\n"


def folder(path, *times):
    (path / "clicks.csv").write_text(
        HEADER + "".join(f"s,i{number},{time}\n" for number, time in enumerate(times))
    )
    return path


def rows(column):
    return pa.table({"session_id": ["s"] * len(column), "item_id": ["i"] * len(column), "event_time": column})


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("20240301", "2024-03-01T00:00:00"),
        (20240229, "2024-02-29T00:00:00"),
        (20240301.0, "2024-03-01T00:00:00"),
        ("20240301.0", "2024-03-01T00:00:00"),
        ("202403011530", "2024-03-01T15:30:00"),
        (20240301153059, "2024-03-01T15:30:59"),
        ("2019-10-01 00:00:01 UTC", "2019-10-01T00:00:01"),
        ("2019-10-01T00:00:01 GMT", "2019-10-01T00:00:01"),
        ("2019-10-01 02:00:01+02:00", "2019-10-01T00:00:01"),
        ("2019-10-01", "2019-10-01T00:00:00"),
        ("1583020800", "2020-03-01T00:00:00"),
        (1583020800000.0, "2020-03-01T00:00:00"),
    ],
)
def test_a_time_has_one_meaning_alone_and_in_a_column(value, moment):
    assert format_time(parse_time(value))[:19] == moment
    for column in (pa.array([value]), pa.array([str(value)])):
        times, valid = parse_times(column)
        assert valid.tolist() == [True] and format_time(int(times[0]))[:19] == moment


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.integers(19_990_000, 21_010_000),
            st.integers(20_000_000_000_000, 20_991_231_235_959),
            st.integers(-(10**16), 10**16),
        ),
        max_size=9,
    )
)
def test_numbers_in_a_column_are_read_as_each_alone(numbers):
    times, valid = parse_times(pa.array(numbers, pa.int64()))
    assert valid.all() and times.tolist() == [parse_time(number) for number in numbers]


@pytest.mark.parametrize(
    "bad",
    [
        "0",
        "1",
        "45352",
        "20240231",
        "19990101",
        "1500000",
        "360000.5",
        "-5",
        "1970-01-01T00:28:29",
        "1970-06-01",
    ],
)
def test_a_number_before_2000_refuses_its_row(tmp_path, bad):
    (block,) = read_clicks(folder(tmp_path, "2024-03-01T10:00:00Z", bad, "1709280000"))
    assert block.rows.column("item_id").to_pylist() == ["i0", "i2"]
    assert (
        [row.line for row in block.refused] == [3]
        and bad in block.refused[0].reason
        and "is before" in block.refused[0].reason
    )


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        (["0", "1500", "360000"], "since the start of the session"),
        (["12.5", "0.0", "3600.25"], "since the start of the session"),
        (["45352", "45352.4", "45360"], "days as spreadsheets count them"),
        (["19783", "19784"], "days since 1970"),
        (["2023", "2024"], "years"),
        (["202403", "202404"], "months"),
        (["474800", "474801"], "hours since 1970"),
        (["28488000", "28488001"], "minutes since 1970"),
        (["1709280000000000000", "1709280000000000001"], "nanoseconds"),
        (["881250949", "891250949"], "of the years 1990 to 1999"),
        (["1970-01-01T00:28:29", "1970-01-20T18:48:00"], "unit was lost"),
    ],
)
def test_a_file_of_no_times_stops_with_the_likely_unit(tmp_path, times, unit):
    with pytest.raises(DatasetFolderError) as caught:
        list(read_clicks(folder(tmp_path, *times)))
    assert (
        "no event_time is the time of a click" in str(caught.value)
        and unit in str(caught.value)
        and "\n" not in str(caught.value)
    )


def test_all_none_is_judged_by_the_whole_file_not_by_its_first_block(tmp_path, monkeypatch):
    monkeypatch.setattr("feature_repo.contract.dataset.files.lines.BLOCK_BYTES", 40)
    found = list(read_clicks(folder(tmp_path, *range(20), "2024-03-01")))
    assert (
        sum(block.rows.num_rows for block in found) == 1 and sum(len(block.refused) for block in found) == 20
    )


def test_dates_of_the_nineties_that_are_written_as_dates_are_taken(tmp_path):
    assert next(read_clicks(folder(tmp_path, "1997-09-20T03:05:10Z"))).rows.num_rows == 1
    moment = datetime.datetime(1997, 9, 20, tzinfo=datetime.UTC)
    assert parse_rows(rows(pa.array([moment])))[0].num_rows == 1


@pytest.mark.parametrize(
    "column",
    [
        pa.array([datetime.timedelta(seconds=5)]),
        pa.array([datetime.time(1, 2)]),
        pa.array([True]),
        pa.array([datetime.timedelta(1)], pa.duration("ms")),
    ],
)
def test_durations_and_times_of_day_are_no_times(tmp_path, column):
    pyarrow.parquet.write_table(rows(column), tmp_path / "clicks.parquet")
    with pytest.raises(
        DatasetFolderError,
        match=r"clicks.parquet: column 'event_time' has the type .*, which is no point in time",
    ):
        list(read_clicks(tmp_path))


@pytest.mark.parametrize(
    "times", [["20240301", "20240302"], ["2024-03-01", "2024-03-01"], ["1709251200", "1709337600"]]
)
def test_days_without_a_time_of_day_are_said(tmp_path, times):
    found = list(read_clicks(folder(tmp_path, *times)))
    words = "event_time holds days without a time of day; the order within a day is the file's"
    assert words in found[-1].notes[0]


@pytest.mark.parametrize(
    ("times", "days"),
    [
        ([f"2024-{month:02d}-05T00:00:00{zone}" for month, zone in ((1, "+01:00"), (4, "+02:00"))] * 3, True),
        ([f"2024-03-{day:02d}T00:00:00-05:00" for day in range(1, 6)], True),
        (["2024-03-01T10:00:00Z"] * 5, False),
        ([f"2024-03-{day:02d}T10:0{day}:00Z" for day in range(1, 6)], False),
        ([f"2024-03-{day:02d}T{7 * day % 3:02d}:00:00Z" for day in range(1, 9)], False),
    ],
)
def test_midnights_of_another_zone_are_days_too(tmp_path, times, days):
    notes = [note for block in read_clicks(folder(tmp_path, *times)) for note in block.notes]
    assert any("days without a time of day" in note for note in notes) == days


def test_times_of_day_are_not_called_days(tmp_path):
    assert next(read_clicks(folder(tmp_path, "2024-03-01", "2024-03-01T10:00:00Z"))).notes == ()


def test_time_zones_of_a_column_are_kept(tmp_path):
    moment = datetime.datetime(2024, 3, 1, 12, tzinfo=datetime.UTC)
    for kind in (pa.timestamp("ns", "Europe/Berlin"), pa.timestamp("s", "UTC"), pa.timestamp("ms")):
        column = pa.array([moment if kind.tz else moment.replace(tzinfo=None)], kind)
        assert format_time(int(parse_times(column)[0][0])) == "2024-03-01T12:00:00.000000Z"
