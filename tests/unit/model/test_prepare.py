"""Other people's column names become a dataset folder that the model reads."""

from __future__ import annotations

import pytest

from feature_repo.contract.dataset_folder import DatasetFolderError
from model.data import load_folder
from model.prepare import main, prepare

YOOCHOOSE = "SessionId\tItemId\tTime\n1\t10\t1396860669.277\n1\t11\t1396860700.5\n1\t10\t1396860800\n2\t11\t1396860900\n2\t10\t1396861000\n2\t12\t1396861001\n"


def test_yoochoose_names_and_split_are_found(tmp_path):
    (tmp_path / "train.tsv").write_text(YOOCHOOSE)
    (tmp_path / "test.tsv").write_text(YOOCHOOSE.replace("\n1\t", "\n7\t").replace("\n2\t", "\n8\t"))
    assert prepare(tmp_path, tmp_path / "out") == {"clicks.parquet": 6, "clicks_test.parquet": 6}
    dataset = load_folder(tmp_path / "out")
    assert dataset.protocol == "next-item"
    assert dataset.test.ids == ["7:1", "7:2", "8:1", "8:2"]
    assert dataset.test.prefixes.times[0] == 1396860669_277000


def test_recbole_files_with_types_in_the_header_are_read(tmp_path):
    clicks = "".join(f"u\t{item}\t5\t{item}00000000\n" for item in range(1, 6))
    (tmp_path / "x.inter").write_text("user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + clicks)
    (tmp_path / "x.item").write_text('item_id:token\tmovie_title:token_seq\tclass:token_seq\n1\t"Hello" she said\tComedy Drama\n2\tB\tWar\n')
    prepare(tmp_path, tmp_path / "out")
    catalogue = load_folder(tmp_path / "out").catalogue
    assert catalogue.titles[:2] == ['"Hello" she said', "B"]
    assert catalogue.categories[0] == "Comedy Drama"


def test_named_columns_win(tmp_path, capsys):
    (tmp_path / "clicks.csv").write_text("who,what,when\na,1,2020-01-01\n")
    assert main([str(tmp_path), str(tmp_path / "out"), "--session-id", "who", "--item-id", "what", "--event-time", "when"]) == 0
    assert "1 rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("clicks.csv", "who,item_id,event_time\na,1,1\n", "no column for session_id (found 'who', 'item_id', 'event_time'); name it with --session-id"),
        ("clicks.csv", "session_id,item_id,event_time\na,1\n", "clicks.csv line 2: 2 values instead of 3"),
        ("other.csv", "x", "holds no clicks"),
    ],
)
def test_bad_source_is_one_line(tmp_path, capsys, file, text, message):
    (tmp_path / file).write_text(text)
    assert main([str(tmp_path), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "clicks.parquet").exists()


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(DatasetFolderError, match="does not exist"):
        prepare(tmp_path / "nowhere", tmp_path / "out")
