"""Dataset folders: what is taken, what is refused, in what order, and how it is split."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.contract.settings import SessionSettings
from model.data.folder import DatasetError, load_folder
from model.data.sequences import Sequences, expand
from model.data.splits import among_newest, leave_one_out, next_item


def write(folder: Path, **files: str | bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return folder


def clicks(*rows: str) -> str:
    return "\n".join(["session_id,item_id,event_time", *rows]) + "\n"


FOUR = [f"s,{item},2020-01-0{day}" for day, item in enumerate("abcd", start=1)]


def names(dataset, sequences, place=0):
    return [dataset.catalogue.item_ids[item] for item in sequences[place]]


def test_unsorted_times_are_sorted_and_ties_stay_in_file_order(tmp_path):
    folder = write(
        tmp_path / "d",
        clicks__csv=clicks("s,c,2020-01-03", "s,a,2020-01-01", "s,x,2020-01-01", "s,d,2020-01-04"),
    )
    dataset = load_folder(folder)
    assert names(dataset, dataset.test.prefixes) == ["a", "x", "c"]
    assert dataset.test.ids == ["s:3"]


def test_epoch_seconds_milliseconds_and_iso_are_one_instant(tmp_path):
    folder = write(
        tmp_path / "d",
        clicks__csv=clicks(
            "s,a,1577836800", "s,b,1577836801000", "s,c,2020-01-01T00:00:02Z", "s,d,2020-01-01 00:00:03+00:00"
        ),
    )
    dataset = load_folder(folder)
    assert dataset.test.prefixes.times.tolist() == [
        1577836800_000_000 + step * 1_000_000 for step in range(3)
    ]


def test_duplicated_clicks_count_once(tmp_path):
    assert names(*_with(load_folder(write(tmp_path / "d", clicks__csv=clicks(*FOUR, FOUR[0], FOUR[3]))))) == [
        "a",
        "b",
        "c",
    ]


def _with(dataset):
    return dataset, dataset.test.prefixes


def test_ids_with_spaces_and_unicode_are_kept_as_they_are(tmp_path):
    rows = [f"Žofie Nová,крем №{day},2020-01-0{day}" for day in range(1, 5)]
    dataset = load_folder(write(tmp_path / "d", clicks__csv=clicks(*rows)))
    assert dataset.test.ids == ["Žofie Nová:3"]
    assert dataset.catalogue.item_ids[0] == "крем №1"


def test_gap_rule_starts_a_new_session_and_positions_count_through_the_history(tmp_path):
    times = ["00:00", "00:05", "00:30", "00:35", "00:38", "00:40"]
    folder = write(
        tmp_path / "d",
        clicks__csv=clicks(*(f"s,i{step},2020-01-01T{time}:00" for step, time in enumerate(times))),
    )
    dataset = load_folder(folder, SessionSettings(gap_minutes=10))
    assert dataset.test.ids == ["s:1", "s:5"]
    assert dataset.validation_sequences.lengths.tolist() == [1, 3]


def test_sequences_file_has_order_and_no_gaps(tmp_path):
    dataset = load_folder(
        write(tmp_path / "d", sequences__txt="u a b c d\n\nv b c\n"), SessionSettings(gap_minutes=0.001)
    )
    assert dataset.test.ids == ["u:3", "v:1"]
    assert names(dataset, dataset.train) == ["a", "b"]


def test_titles_may_hold_newlines_and_be_missing_for_half_the_catalogue(tmp_path):
    items = 'item_id,title\na,"Red\nshoe"\nb,\nz,Never clicked\n'
    catalogue = load_folder(write(tmp_path / "d", clicks__csv=clicks(*FOUR), items__csv=items)).catalogue
    assert catalogue.item_ids[:3] == ["a", "b", "z"]
    assert set(catalogue.item_ids) == {"a", "b", "c", "d", "z"}
    assert catalogue.texts[:3] == ["Red shoe", "", "Never clicked"]


def test_split_files_make_next_item_cases_and_test_only_items_are_known(tmp_path):
    twice = clicks(*FOUR, *(row.replace("s,", "t,") for row in FOUR))
    folder = write(
        tmp_path / "d", clicks__csv=twice, clicks_test__csv=clicks("q,a,2020-02-01", "q,new,2020-02-02")
    )
    dataset = load_folder(folder)
    assert dataset.protocol == "next-item"
    assert [dataset.catalogue.item_ids[item] for item in dataset.test.targets] == ["new"]
    assert dataset.item_counts[dataset.catalogue.index["new"]] == 0


def test_a_test_file_without_a_click_does_not_change_the_protocol_without_a_word(tmp_path):
    rows = [f"s{number // 4},i{number % 5},2020-01-{number + 1:02d}" for number in range(28)]
    folder = write(tmp_path, clicks__csv=clicks(*rows), clicks_test__csv=clicks("t,i1,never"))
    dataset = load_folder(folder)
    assert (dataset.protocol, dataset.own_split, dataset.refused) == ("next-item", False, 1)
    said = "\n".join(dataset.notes)
    assert (
        "clicks_test.csv: no click of it was taken" in said
        and "newest sessions of clicks.* are the test" in said
    )


def test_a_parquet_test_without_a_row_is_a_test_file_all_the_same(tmp_path):
    rows = [f"s{number // 4},i{number % 5},2020-01-{number + 1:02d}" for number in range(28)]
    folder = write(tmp_path, clicks__csv=clicks(*rows))
    nothing = pa.table({name: pa.array([], pa.string()) for name in ("session_id", "item_id", "event_time")})
    pyarrow.parquet.write_table(nothing, folder / "clicks_test.parquet")
    dataset = load_folder(folder)
    assert (dataset.protocol, dataset.own_split) == ("next-item", False)
    assert "clicks_test.parquet: no click of it was taken" in "\n".join(dataset.notes)


@pytest.mark.parametrize("test_rows", [None, []])
def test_a_split_whose_test_is_not_the_users_is_not_called_the_users(tmp_path, test_rows):
    rows = [f"s{number // 4},i{number % 5},2020-01-{number + 1:02d}" for number in range(28)]
    files = {"clicks__csv": clicks(*rows[:20]), "clicks_valid__csv": clicks(*rows[20:])}
    if test_rows is not None:
        files["clicks_test__csv"] = clicks(*test_rows)
    dataset = load_folder(write(tmp_path, **files))
    assert dataset.protocol == "next-item" and not dataset.own_split


def test_the_readers_notes_are_part_of_the_dataset_and_of_metrics(tmp_path):
    rows = [f"s{number // 4};i{number % 5};2020-01-{number // 4 + 1:02d};NULL" for number in range(28)]
    text = "session_id;item_id;event_time;user_id\n" + "\n".join(rows) + "\n"
    said = "\n".join(load_folder(write(tmp_path, clicks__csv=text)).notes)
    assert "separated by semicolons" in said and "days without a time of day" in said
    assert "user_id 'NULL' (28 rows)" in said


def test_parquet_and_tsv_give_the_same_dataset_as_csv(tmp_path):
    csv = load_folder(write(tmp_path / "csv", clicks__csv=clicks(*FOUR)))
    tsv = load_folder(write(tmp_path / "tsv", clicks__tsv=clicks(*FOUR).replace(",", "\t")))
    rows = [row.split(",") for row in FOUR]
    (tmp_path / "parquet").mkdir()
    table = pa.table(
        {
            name: [row[column] for row in rows]
            for column, name in enumerate(("session_id", "item_id", "event_time"))
        }
    )
    pa.parquet.write_table(table, tmp_path / "parquet" / "clicks.parquet")
    parquet = load_folder(tmp_path / "parquet")
    assert csv.test.ids == tsv.test.ids == parquet.test.ids
    assert (
        csv.test.prefixes.times.tolist()
        == tsv.test.prefixes.times.tolist()
        == parquet.test.prefixes.times.tolist()
    )


def test_refused_rows_are_counted_with_file_and_line(tmp_path):
    bad = [",a,2020-01-01", "s,b,31-02-2020", "s,c", f"s,{'x' * 1025},2020-01-01"]
    dataset = load_folder(write(tmp_path / "d", clicks__csv=clicks(*FOUR, *bad)))
    assert dataset.refused == 4
    text = "\n".join(dataset.notes)
    assert "clicks.csv line 6: session_id '' is blank" in text
    assert "line 7: event_time '31-02-2020' is no timestamp" in text
    assert "line 8: 2 values instead of 3" in text
    assert "at most 1024" in text


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no clicks"),
        ({"clicks__csv": ""}, "clicks.csv is empty"),
        (
            {"clicks__csv": "session_id,item,event_time\ns,a,1\n"},
            "column 'item_id' is missing (found 'session_id', 'item', 'event_time')",
        ),
        ({"clicks__csv": clicks()}, "has no valid click"),
        (
            {"clicks__csv": clicks(",a,2020-01-01")},
            "1 rows refused: 1 x session_id ... is blank (clicks.csv line 2",
        ),
        ({"clicks__csv": "session_id,item_id,event_time\n".encode("utf-16")}, "not UTF-8"),
        ({"clicks__csv": clicks("s,a,2020-01-01", "t,b,2020-01-01")}, "no session of two or more clicks"),
        (
            {"clicks__csv": clicks("s,a,2020-01-01", "s,a,2020-01-02", "s,a,2020-01-03", "s,a,2020-01-04")},
            "ranking needs two or more",
        ),
        ({"clicks__csv": clicks(*FOUR), "clicks__tsv": "x"}, "clicks.csv and clicks.tsv; keep one"),
        ({"clicks__csv": clicks(*FOUR), "sequences__txt": "s a b"}, "both clicks.csv and sequences.txt"),
        ({"clicks__parquet": b"no parquet"}, "cannot be read as a parquet table"),
    ],
)
def test_unusable_folder_gives_one_clear_line(tmp_path, files, message):
    with pytest.raises(DatasetError) as caught:
        load_folder(write(tmp_path / "d", **files))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        load_folder(tmp_path / "nowhere")


def test_unknown_protocol_is_named(tmp_path):
    with pytest.raises(DatasetError, match="'random' is unknown; use one of leave-one-out, next-item"):
        load_folder(write(tmp_path / "d", clicks__csv=clicks(*FOUR)), protocol="random")


def test_two_items_in_all_are_enough(tmp_path):
    dataset = load_folder(write(tmp_path / "d", sequences__txt="u a b a b\n"))
    assert len(dataset.catalogue) == 2
    assert len(dataset.test) == 1


def test_leave_one_out_holds_no_target_back_twice():
    parts = leave_one_out(Sequences.of([[0, 1, 2, 3], [4, 5], [6]]))
    assert [row.tolist() for row in parts.train] == [[0, 1], [4], [6]]
    assert parts.valid.targets.tolist() == [2]
    assert parts.test.targets.tolist() == [3, 5]
    assert [row.tolist() for row in parts.validation_sequences] == [[0, 1, 2], [4], [6]]


def timed(sessions, ids=None):
    """Sessions of one click pair each, session n at second 100 n."""
    made = Sequences.of(sessions)
    starts = np.repeat(np.arange(len(sessions), dtype=np.int64) * 100_000_000, made.lengths)
    return replace(made, times=made.times + starts, session_ids=made.session_ids if ids is None else ids)


def test_next_item_validates_on_one_in_ten_of_the_newest_sessions_and_expands_every_step():
    train = timed([[0, 1]] * 30 + [[0, 1, 2]] * 10)
    parts = next_item(train, None, Sequences.of([[3, 4, 5]]))
    assert parts.test.targets.tolist() == [4, 5]
    assert sorted(set(parts.valid.prefixes.session_ids)) == ["28", "38"]
    assert parts.valid.prefixes.lengths.tolist() == [1, 1, 2]
    assert "39" in parts.train.session_ids
    assert len(parts.train) == 38
    assert len(parts.validation_sequences) == 40


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.floats(0.01, 0.5))
def test_no_visitor_of_validation_trains_on_later_sessions(visitors, share):
    sessions = timed([[0, 1]] * len(visitors), [f"v{visitor}" for visitor in visitors])
    rest, chosen = among_newest(sessions, share)
    assert len(rest) >= 1
    assert sorted(np.concatenate([rest.times, chosen.times]).tolist()) == sorted(sessions.times.tolist())
    assert len(chosen) >= min(1, len(visitors) - 1)
    for name, time in zip(chosen.session_ids, chosen.last_times.tolist(), strict=True):
        assert all(
            later < time
            for own, later in zip(rest.session_ids, rest.last_times.tolist(), strict=True)
            if own == name
        )


def test_expand_gives_positions_of_the_target():
    cases = expand(Sequences.of([[7, 8, 9], [5]]))
    assert cases.ids == ["0:1", "0:2"]
    assert [row.tolist() for row in cases.prefixes] == [[7], [7, 8]]
