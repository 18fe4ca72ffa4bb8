import numpy as np
import pyarrow.parquet
import pytest

from feature_repo.contract.dataset.folder import DatasetFolderError, derive_event_id
from spark_jobs.ingest.files import stage

NOW_US = 1_800_000_000_000_000


def _stage(folder, tmp_path, **files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_csv", ".csv").replace("_tsv", ".tsv")).write_bytes(
            content if isinstance(content, bytes) else content.encode()
        )
    return stage(folder, None, tmp_path / "staged", NOW_US)


def _rows(folder):
    return pyarrow.parquet.read_table(folder).to_pylist()


def test_accepted_and_refused_rows_carry_their_lines(tmp_path):
    clicks = (
        "session_id,item_id,event_time\ns,a,2024-01-01T00:00:00Z\n,b,2024-01-01T00:00:01Z\ns,c,31-02-2024\n"
        "s,d,1704067203\n"
    )
    staged = _stage(tmp_path / "d", tmp_path, clicks_csv=clicks)
    assert [(row["item_id"], row["line"]) for row in _rows(staged.clicks)] == [("a", 2), ("d", 5)]
    refused = _rows(staged.refused)
    assert [row["line"] for row in refused] == [3, 4]
    assert "clicks.csv line 4: event_time '31-02-2024'" in refused[1]["reason"]


def test_arrival_is_the_rank_by_time_and_equal_times_keep_the_order_of_the_file(tmp_path):
    clicks = "session_id,item_id,event_time\ns,a,1704067209\nt,b,1704067201\ns,c,1704067209\ns,d,1704067205\n"
    staged = _stage(tmp_path / "d", tmp_path, clicks_csv=clicks)
    assert {row["item_id"]: row["arrival_seq"] for row in _rows(staged.clicks)} == {
        "b": 0,
        "d": 1,
        "a": 2,
        "c": 3,
    }
    assert (np.diff(staged.times) >= 0).all()


def test_a_click_without_an_event_id_gets_one_by_its_content_and_a_given_one_stays(tmp_path):
    clicks = "session_id,item_id,event_time,event_id\ns,a,1704067200,mine\ns,ü,1704067201,\n"
    staged = _stage(tmp_path / "d", tmp_path, clicks_csv=clicks)
    assert [row["event_id"] for row in _rows(staged.clicks)] == [
        "mine",
        derive_event_id("s", "ü", 1_704_067_201_000_000),
    ]


@pytest.mark.parametrize(("second", "repeats"), [("e2", 0), ("e1", 1)])
def test_a_second_click_of_an_event_id_is_refused_across_files(tmp_path, second, repeats):
    header = "session_id,item_id,event_time,event_id\n"
    staged = _stage(
        tmp_path / "d",
        tmp_path,
        clicks_csv=f"{header}s,a,1704067200,e1\n",
        clicks_test_csv=f"{header}t,b,1704067300,{second}\n",
    )
    assert (staged.repeats, staged.clicks_taken) == (repeats, 2 - repeats)
    reasons = [row["reason"] for row in _rows(staged.refused)] if repeats else []
    assert all(
        "clicks_test.csv line 2: event_id 'e1' was seen before at clicks.csv line 2" in reason
        for reason in reasons
    )


def test_parts_are_cut_so_that_every_core_can_read_one(tmp_path, monkeypatch):
    monkeypatch.setattr("spark_jobs.ingest.files.ROWS_PER_GROUP", 2)
    staged = _stage(
        tmp_path / "d",
        tmp_path,
        clicks_csv="session_id,item_id,event_time\n" + "".join(f"s,a,{1704067200 + n}\n" for n in range(5)),
    )
    (part,) = staged.clicks.iterdir()
    assert pyarrow.parquet.ParquetFile(part).num_row_groups == 3


def test_second_row_of_an_item_is_refused_with_both_lines(tmp_path):
    staged = _stage(
        tmp_path / "d",
        tmp_path,
        clicks_csv="session_id,item_id,event_time\ns,a,1704067200\n",
        items_csv='item_id,title\na,"One\nline"\na,Two\nb,\n',
    )
    assert staged.items.to_pylist()[0]["title"] == "One line"
    assert (staged.items.num_rows, staged.titled_items) == (2, 1)
    assert "item_id 'a' stands at line" in _rows(staged.refused)[0]["reason"]


def test_a_ten_megabyte_title_is_refused_not_stored(tmp_path):
    items = f"item_id,title\na,{'x' * 10_000_000}\nb,fine\n"
    staged = _stage(
        tmp_path / "d",
        tmp_path,
        clicks_csv="session_id,item_id,event_time\ns,a,1704067200\n",
        items_csv=items,
    )
    assert staged.items.column("item_id").to_pylist() == ["b"]
    row = _rows(staged.refused)[0]
    assert "10000000 characters" in row["reason"] and len(row["reason"]) < 300 and len(row["raw"]) <= 10_000


@pytest.mark.parametrize(
    ("clicks", "words"),
    [
        (b"", "clicks.csv is empty"),
        (b"session_id,item_id\ns,a\n", "column 'event_time' is missing"),
        ("session_id,item_id,event_time\ns,a,1".encode("utf-16"), "UTF-8"),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_line(tmp_path, clicks, words):
    with pytest.raises(DatasetFolderError) as caught:
        _stage(tmp_path / "d", tmp_path, clicks_csv=clicks)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_of_refused_rows_alone_is_staged_with_their_reasons(tmp_path):
    staged = _stage(tmp_path / "d", tmp_path, clicks_csv="session_id,item_id,event_time\n,a,1704067200\n")
    assert staged.clicks_taken == 0 and len(_rows(staged.refused)) == 1
    assert staged.tally.counts == {"session_id ... is blank": 1}


def test_bytes_that_are_no_utf8_refuse_their_row_only(tmp_path):
    staged = _stage(
        tmp_path / "d",
        tmp_path,
        clicks_csv=b"session_id,item_id,event_time\ns,\xff\xfe,1704067200\ns,b,1704067201\n",
    )
    assert [row["item_id"] for row in _rows(staged.clicks)] == ["b"]
    assert "UTF-8" in _rows(staged.refused)[0]["reason"]


def test_split_files_are_told_apart(tmp_path):
    header = "session_id,item_id,event_time\n"
    staged = _stage(
        tmp_path / "d",
        tmp_path,
        clicks_csv=header + "s,a,1704067200\n",
        clicks_test_csv=header + "t,a,1704067300\n",
    )
    assert staged.own_split
    assert {row["session_id"]: row["split"] for row in _rows(staged.clicks)} == {"s": "train", "t": "test"}


def test_ml_100k_titles_carry_their_year_and_genres_are_the_category(tmp_path):
    source = tmp_path / "ml"
    source.mkdir()
    (source / "ml-100k.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n7\t1\t3\t881250949\n"
    )
    (source / "ml-100k.item").write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n1\tSome "
        'Film\t1995\tDrama Sci-Fi\n2\tNo "Year\t\tDrama\n'
    )
    staged = stage(None, source, tmp_path / "staged", NOW_US)
    assert staged.items.to_pylist()[0] == {
        "item_id": "1",
        "title": "Some Film (1995)",
        "category": "Drama, Sci-Fi",
        "description": None,
        "raw": None,
        "available": None,
        "attributes": None,
    }
    assert staged.items.column("title").to_pylist()[1] == 'No "Year'
    click = _rows(staged.clicks)[0]
    assert (click["session_id"], click["user_id"], click["split"]) == ("7", "7", None)


def test_types_of_events_are_counted_after_repeats_are_refused(tmp_path):
    rows = [f"s{row // 4},i{row % 5},{1_704_067_200 + row},{'view' if row % 2 else ''}\n" for row in range(8)]
    clicks = "session_id,item_id,event_time,event_type\n" + "".join([*rows, rows[1]])
    staged = _stage(tmp_path / "d", tmp_path, clicks_csv=clicks)
    assert staged.repeats == 1
    assert "event types: no type 4, view 4; 8 extend sessions" in staged.notes


def test_a_column_of_blank_types_says_nothing_of_types(tmp_path):
    clicks = "session_id,item_id,event_time,event_type\ns,a,1704067200,\ns,b,1704067201, \n"
    assert not any(
        "event types" in note for note in _stage(tmp_path / "d", tmp_path, clicks_csv=clicks).notes
    )
