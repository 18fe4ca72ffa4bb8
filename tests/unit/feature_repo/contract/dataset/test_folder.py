"""The rules by which rows are taken or refused; the same for Spark and the model."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.contract.dataset.files import lines as folder_lines
from feature_repo.contract.dataset.folder import (
    DatasetFolderError,
    derive_event_id,
    find_table,
    left_aside,
    parse_items,
    parse_rows,
    read_clicks,
    read_item_blocks,
    read_sequences,
)
from feature_repo.contract.dataset.rows.clicks import fill_event_ids
from feature_repo.contract.messages import parse_time
from feature_repo.contract.times import parse_times

HEADER = "session_id,item_id,event_time\n"


def rows(*times, **more):
    count = len(times)
    return pa.table(
        {"session_id": ["s"] * count, "item_id": ["i"] * count, "event_time": list(times), **more}
    )


@given(
    st.lists(
        st.one_of(
            st.integers(-(10**16), 10**16).map(str),
            st.floats(0, 1e10).map(lambda value: f"{value:.3f}"),
            st.text(max_size=12),
            st.datetimes(datetime.datetime(1971, 1, 1), datetime.datetime(2100, 1, 1)).map(
                lambda value: value.isoformat()
            ),
        ),
        max_size=8,
    )
)
def test_a_column_of_times_is_read_as_each_time_alone(texts):
    times, valid = parse_times(pa.array(texts, pa.string()))
    for text, time, good in zip(texts, times.tolist(), valid.tolist(), strict=True):
        try:
            wanted = parse_time(text)
        except ValueError:
            assert not good
        else:
            assert good
            assert abs(time - wanted) <= 1  # a float of seconds carries microseconds to +-1


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1577836800, None]),
        pa.array([1577836800.0, float("nan")]),
        pa.array([datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), None]),
        pa.array([datetime.date(2020, 1, 1), None]),
        pa.array(["2020-01-01T01:00:00+01:00", ""]),
        pa.array([1577836800000000, 10**18]),
    ],
)
def test_typed_columns_give_the_same_instant(column):
    times, valid = parse_times(column)
    assert times[0] == 1577836800_000000
    assert valid.tolist() == [True, False]


def test_a_click_in_the_future_is_refused_only_by_the_readers_clock():
    now = parse_time("2020-01-01")
    assert parse_rows(rows("2020-01-03"), now_us=now)[1][0].reason == (
        "clicks line 1: event_time '2020-01-03' is more than a day in the future; check the unit and the zone"
    )
    assert parse_rows(rows("2020-01-01T23:59:59"), now_us=now)[0].num_rows == 1
    assert parse_rows(rows("2020-01-03"))[0].num_rows == 1


def test_event_ids_are_kept_and_missing_ones_derived():
    found, given = fill_event_ids(parse_rows(rows("2020-01-01", "2020-01-01", event_id=["mine", None]))[0])
    assert given.tolist() == [True, False]
    assert found.column("event_id").to_pylist() == ["mine", derive_event_id("s", "i", 1577836800_000000)]


def test_further_columns_are_kept_as_json():
    assert parse_rows(rows("2020-01-01", price=[3]))[0].column("extra").to_pylist() == ['{"price": 3}']


def test_numbers_as_ids_become_text():
    found = parse_rows(pa.table({"session_id": [1], "item_id": [2], "event_time": [1577836800]}))[0]
    assert (found.column("session_id")[0].as_py(), found.column("item_id")[0].as_py()) == ("1", "2")


def test_a_title_of_ten_megabytes_is_refused_with_its_size():
    found, refused = parse_items(pa.table({"item_id": ["a", "b"], "title": ["x" * 10_000_000, "ok"]}))
    assert found.num_rows == 1
    assert (
        "title 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...' has 10000000 characters; shorten it to 10000"
        in refused[0].reason
    )
    assert len(refused[0].raw) <= 10_000


def test_lines_survive_refused_rows(tmp_path):
    text = (HEADER + "s,a,2020-01-01\nbroken\n,x,2020-01-01\ns,b,2020-01-02\n").encode()
    (tmp_path / "clicks.csv").write_bytes(text + b"s,\xff,2020-01-03\ns,c,2020-01-04\n")
    block = next(iter(read_clicks(tmp_path)))
    assert block.lines.tolist() == [2, 5, 7]
    assert sorted(row.line for row in block.refused) == [3, 4, 6]


def test_a_file_of_broken_rows_only_is_reported(tmp_path):
    (tmp_path / "clicks.csv").write_text(HEADER + "broken\nagain\n")
    refused = [row.line for block in read_clicks(tmp_path) for row in block.refused]
    assert refused == [2, 3]


def test_item_lines_are_given(tmp_path):
    (tmp_path / "items.csv").write_text("item_id,title\na,A\n,B\nc,C\n")
    assert next(iter(read_item_blocks(tmp_path))).lines.tolist() == [2, 4]


def test_sequences_are_read_with_lines_and_go_on(tmp_path):
    (tmp_path / "sequences.txt").write_bytes(b"u a b\n\nv\nu c\n" + b"\xff x\n")
    block = next(iter(read_clicks(tmp_path)))
    assert block.rows.column("item_id").to_pylist() == ["a", "b", "c"]
    assert block.lines.tolist() == [1, 1, 4]
    assert np.diff(block.rows.column("event_time").cast(pa.int64()).to_numpy()).tolist() == [
        1_000_000,
        1_000_000,
    ]
    assert [row.line for row in block.refused] == [3, 5]


def test_find_table_knows_the_extensions(tmp_path):
    assert find_table(tmp_path, "clicks") is None
    (tmp_path / "clicks.parquet").mkdir()
    assert find_table(tmp_path, "clicks") == tmp_path / "clicks.parquet"


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("block_bytes", [7, 1 << 20])
def test_sequences_have_the_lines_of_an_editor_however_they_end(
    tmp_path, monkeypatch, ends, mark, block_bytes
):
    monkeypatch.setattr(folder_lines, "BLOCK_BYTES", block_bytes)
    text = ends.join(["s a b", "", "lonely", "t c", "u d e"])
    (tmp_path / "sequences.txt").write_bytes(mark + text.encode())
    (block,) = read_sequences(tmp_path / "sequences.txt")
    rows = [(row["session_id"], row["item_id"]) for row in block.rows.to_pylist()]
    assert rows == [("s", "a"), ("s", "b"), ("t", "c"), ("u", "d"), ("u", "e")]
    assert block.lines.tolist() == [1, 1, 4, 5, 5]
    assert [row.line for row in block.refused] == [3]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1_709_280_000, 10**12, None, 2**62], pa.timestamp("s")),
        pa.array([1_709_280_000_000, 10**15, None, 2**62], pa.timestamp("ms", tz="UTC")),
        pa.array([1_709_280_000_000_000, 10**18, None, -(2**62)], pa.timestamp("us", tz="Asia/Tokyo")),
        pa.array([19_783, 2**31 - 1, None, 3_000_000], pa.date32()),
        pa.array([1_709_251_200_000, 10**15, None, 2**62 - 2**62 % 86_400_000], pa.date64()),
    ],
    ids=lambda column: str(column.type),
)
@pytest.mark.parametrize("role", ["event_time", "extra"])
def test_times_that_no_calendar_holds_refuse_their_row_alone(column, role):
    given = {"session_id": ["s"] * 4, "item_id": list("abcd"), "event_time": ["2024-03-01"] * 4}
    rows, refused = parse_rows(pa.table(given | {role: column}))
    assert rows.num_rows + len(refused) == 4
    assert [row.line for row in refused] == ([2, 3, 4] if role == "event_time" else [])
    assert all("is no timestamp" in row.reason and row.raw for row in refused)


def test_an_item_without_an_id_is_not_called_a_click():
    _, refused = parse_items(pa.table({"item_id": ["a", " "]}))
    assert refused[0].reason == "items line 2: item_id ' ' is blank; give every item an item id"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["clicks_test.csv.xz"], ["clicks_test.csv.xz"]),
        (["Items.CSV", "items.json"], ["Items.CSV", "items.json"]),
        (["test.csv", "clicks_val.parquet"], ["clicks_val.parquet", "test.csv"]),
        (["sequences_test.txt", "clicks-test.txt"], ["clicks-test.txt", "sequences_test.txt"]),
        (["README.md", "notes.txt", ".clicks.csv.crc", "_SUCCESS", "clicks_test.csv.zst", "items.tsv"], None),
    ],
)
def test_files_that_look_like_tables_and_are_not_read_are_named(tmp_path, names, said):
    for name in ["clicks.csv", *names]:
        (tmp_path / name).touch()
    line = left_aside(tmp_path)
    assert line is None if said is None else line.startswith(f"not read: {', '.join(said)}; read are clicks")


def test_a_folder_without_clicks_says_what_it_holds(tmp_path):
    (tmp_path / "CLICKS.csv.xz").touch()
    with pytest.raises(DatasetFolderError, match=r"holds no clicks \(found CLICKS.csv.xz\); put clicks.csv"):
        list(read_clicks(tmp_path))
