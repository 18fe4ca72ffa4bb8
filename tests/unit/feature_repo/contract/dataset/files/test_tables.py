"""Folders of parts: every part is read with the columns of its folders, or refused by name."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.parquet
import pytest

from feature_repo.contract.dataset.files.tables import find_table, read_blocks
from feature_repo.contract.dataset.folder import DatasetFolderError, read_clicks
from feature_repo.contract.dataset.look import look_at


def part(path, *items, **columns):
    count = len(items)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {
        "session_id": ["s"] * count,
        "item_id": list(items),
        "event_time": ["2024-03-01T10:00:00Z"] * count,
        **columns,
    }
    pyarrow.parquet.write_table(pa.table(table), path)


def clicks(folder):
    return [
        (block.file, row["item_id"], row["extra"])
        for block in read_clicks(folder)
        for row in block.rows.to_pylist()
    ]


def test_parts_at_the_top_and_in_folders_are_read_with_the_columns_of_their_path(tmp_path):
    table = tmp_path / "clicks.parquet"
    part(table / "part-0.parquet", "a")
    part(table / "day=2024-03-02" / "part-0.parquet", "b")
    part(table / "day=2024-03-02" / "shop=a%2Fb" / "part-1.snappy.parquet", "c", price=[3])
    part(table / "day=__HIVE_DEFAULT_PARTITION__" / "part-2.parquet", "d")
    part(table / "older" / "part-3.parquet", "e")
    assert clicks(tmp_path) == [
        ("clicks.parquet/day=2024-03-02/part-0.parquet", "b", '{"day": "2024-03-02"}'),
        (
            "clicks.parquet/day=2024-03-02/shop=a%2Fb/part-1.snappy.parquet",
            "c",
            '{"price": 3, "day": "2024-03-02", "shop": "a/b"}',
        ),
        ("clicks.parquet/day=__HIVE_DEFAULT_PARTITION__/part-2.parquet", "d", '{"day": null}'),
        ("clicks.parquet/older/part-3.parquet", "e", None),
        ("clicks.parquet/part-0.parquet", "a", None),
    ]


def test_a_column_that_only_the_path_spells_is_used(tmp_path):
    table = tmp_path / "clicks.parquet" / "event_time=2024-03-02" / "part-0.parquet"
    table.parent.mkdir(parents=True)
    pyarrow.parquet.write_table(pa.table({"session_id": ["s"], "item_id": ["a"]}), table)
    (block,) = read_clicks(tmp_path)
    assert str(block.rows.column("event_time")[0].as_py()).startswith("2024-03-02")


def test_marks_and_hidden_files_are_no_parts(tmp_path):
    table = tmp_path / "clicks.parquet"
    part(table / "part-0.parquet", "a")
    for name in ("_SUCCESS", "._SUCCESS.crc", ".part-0.parquet.crc", "_metadata"):
        (table / name).write_bytes(b"")
    part(table / "_temporary" / "0" / "part-9.parquet", "half")
    part(table / ".hidden" / "part-9.parquet", "hidden")
    assert [item for _, item, _ in clicks(tmp_path)] == ["a"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda table: (table / "notes.txt").write_text("x"), "clicks.parquet/notes.txt is no .parquet part"),
        (
            lambda table: (table / "day=1" / "000000_0").write_bytes(b"PAR1"),
            "clicks.parquet/day=1/000000_0 is no .parquet part",
        ),
        (
            lambda table: (table / "day=1" / "part-1.parquet").write_bytes(b""),
            "clicks.parquet/day=1/part-1.parquet cannot be read",
        ),
        (
            lambda table: part(table / "day=1" / "part-1.parquet", "b", day=["2"]),
            "column 'day' stands in the file and in its folder's name",
        ),
        (
            lambda table: part(table / "day=1" / "day=2" / "part-1.parquet", "b"),
            "column 'day' stands twice in the path",
        ),
        (
            lambda table: os.remove(table / "day=1" / "part-0.parquet"),
            "clicks.parquet is a folder without parts",
        ),
    ],
)
def test_what_is_no_part_is_refused_by_name(tmp_path, make, words):
    table = tmp_path / "clicks.parquet"
    part(table / "day=1" / "part-0.parquet", "a")
    make(table)
    with pytest.raises(DatasetFolderError) as caught:
        list(read_clicks(tmp_path))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_parts_of_other_types_and_columns_are_one_table(tmp_path):
    table = tmp_path / "clicks.parquet"
    part(table / "part-0.parquet", 1)
    part(table / "part-1.parquet", "2", user_id=["u"])
    part(table / "part-2.parquet", 3.0, query=["q"])
    assert [item for _, item, _ in clicks(tmp_path)] == ["1", "2", "3"]


def test_a_part_without_a_needed_column_is_named(tmp_path):
    table = tmp_path / "clicks.parquet"
    part(table / "part-0.parquet", "a")
    pyarrow.parquet.write_table(pa.table({"session_id": ["s"], "item_id": ["a"]}), table / "part-1.parquet")
    with pytest.raises(
        DatasetFolderError, match=r"clicks.parquet/part-1.parquet: column 'event_time' is missing"
    ):
        list(read_clicks(tmp_path))


def test_a_first_part_without_a_row_does_not_stop_the_look(tmp_path):
    part(tmp_path / "clicks.parquet" / "part-1.parquet", "a", "b")
    full = pyarrow.parquet.read_table(tmp_path / "clicks.parquet" / "part-1.parquet")
    pyarrow.parquet.write_table(full.slice(0, 0), tmp_path / "clicks.parquet" / "part-0.parquet")
    look_at(tmp_path)
    assert sum(block.rows.num_rows for block in read_blocks(tmp_path / "clicks.parquet")) == 2


def test_rows_count_from_one_in_each_part(tmp_path):
    table = tmp_path / "clicks.parquet"
    part(table / "part-0.parquet", "a", "b")
    part(table / "part-1.parquet", "c", None)
    refused = [row for block in read_clicks(tmp_path) for row in block.refused]
    assert refused[0].reason.startswith("clicks.parquet/part-1.parquet line 2: item_id None is blank")


def test_a_folder_of_text_parts_as_spark_writes_it_is_read(tmp_path):
    table = tmp_path / "clicks.csv"
    for number in range(2):
        inner = table / f"day={number}"
        inner.mkdir(parents=True)
        (inner / f"part-{number}.csv").write_text(
            f'session_id,item_id,event_time,q\ns,i{number},2024-03-01T10:00:00Z,"5\\" hose"\n'
        )
    (table / "_SUCCESS").write_text("")
    assert [(item, extra) for _, item, extra in clicks(tmp_path)] == [
        (f"i{number}", f'{{"q": "5\\" hose", "day": "{number}"}}') for number in range(2)
    ]


def test_a_broken_link_and_a_file_without_rights_are_one_line(tmp_path):
    (tmp_path / "clicks.csv").symlink_to(tmp_path / "gone.csv")
    assert find_table(tmp_path, "clicks") is not None
    with pytest.raises(DatasetFolderError, match=r"clicks.csv cannot be read: No such file"):
        list(read_clicks(tmp_path))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:4] + b"\0" * 40 + data[44:],
        lambda data: b"",
        lambda data: b"a,b\n",
    ],
)
def test_damaged_parquet_is_one_line(tmp_path, spoil):
    path = tmp_path / "clicks.parquet"
    part(path, *[f"item {number}" for number in range(500)])
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(
        DatasetFolderError, match="clicks.parquet cannot be read as a parquet table"
    ) as caught:
        list(read_blocks(path))
    assert "\n" not in str(caught.value)
