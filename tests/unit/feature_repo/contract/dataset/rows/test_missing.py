"""Words for no value: refused where a row needs an id, missing elsewhere, said once; kept as they came."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from feature_repo.contract.dataset.folder import parse_items, read_clicks, read_item_blocks
from feature_repo.contract.spellings.missing import NO_VALUE, without_words

HEADER = "session_id,item_id,event_time,user_id,event_id\n"


@pytest.mark.parametrize("word", sorted(NO_VALUE))
@pytest.mark.parametrize("column", ["session_id", "item_id"])
def test_a_row_whose_id_is_a_word_for_no_value_is_refused_and_kept_as_it_came(
    tmp_path: Path, word: str, column: str
) -> None:
    values = {"session_id": "s", "item_id": "i", column: word}
    row = f"{values['session_id']},{values['item_id']},2024-03-01T10:00:00Z,u,e"
    (tmp_path / "clicks.csv").write_text(f"{HEADER}{row}\nNA,NA,2024-03-01T10:00:01Z,u,f\n")
    (block,) = read_clicks(tmp_path)
    assert block.rows.column("item_id").to_pylist() == ["NA"]
    (refused,) = block.refused
    assert f"{column} {word!r} is a word for no value; give every click" in refused.reason
    assert refused.line == 2 and json.loads(refused.raw)[column] == word


def test_columns_that_may_be_missing_are_and_it_is_said_once_with_counts_over_all_parts(
    tmp_path: Path,
) -> None:
    for part in range(2):
        folder = tmp_path / "clicks.parquet"
        folder.mkdir(exist_ok=True)
        table = pa.table(
            {
                "session_id": ["s", "t", "u"],
                "item_id": ["a", "b", "c"],
                "event_time": [1_709_280_000 + 10 * part + row for row in range(3)],
                "user_id": ["NULL", "v", "nan"],
                "event_id": ["None", None, f"e{part}"],
            }
        )
        pyarrow.parquet.write_table(table, folder / f"part-{part}.parquet")
    blocks = list(read_clicks(tmp_path))
    assert [block.rows.column("user_id").to_pylist() for block in blocks] == [[None, "v", None]] * 2
    assert blocks[0].rows.column("event_id").to_pylist() == [None, None, "e0"]
    (note,) = [note for block in blocks for note in block.notes if "no value" in note]
    assert note.startswith("clicks.parquet: ")
    for part in ("event_id 'None' (2 rows)", "user_id 'NULL' (2 rows)", "user_id 'nan' (2 rows)"):
        assert part in note


def test_a_title_that_is_such_a_word_is_missing_and_its_text_is_kept(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title,category\na,nan,Books\nb,Nan bread,N/A\nnull,x,y\n")
    (block,) = read_item_blocks(tmp_path)
    assert block.rows.column("title").to_pylist() == [None, "Nan bread"]
    assert block.rows.column("category").to_pylist() == ["Books", None]
    assert [json.loads(raw) for raw in block.rows.column("raw").to_pylist()] == [
        {"title": "nan"},
        {"category": "N/A"},
    ]
    (refused,) = block.refused
    assert "item_id 'null' is a word for no value; give every item an item id" in refused.reason
    assert block.notes == (
        "items.csv: words for no value are read as missing: title 'nan' (1 rows), category 'N/A' (1 rows)",
    )


def test_items_without_such_words_keep_no_raw_texts() -> None:
    rows, _ = parse_items(pa.table({"item_id": ["a", "b"], "title": ["Red", None]}))
    assert rows.column("raw").null_count == 2


def test_a_sequence_with_such_a_word_is_refused_as_a_line(tmp_path: Path) -> None:
    (tmp_path / "sequences.txt").write_text("s a nan b\nt a b\n")
    (block,) = read_clicks(tmp_path)
    assert set(block.rows.column("session_id").to_pylist()) == {"t"}
    assert "sequences.txt line 1: id 'nan' is a word for no value" in block.refused[0].reason


def test_a_column_without_words_is_the_very_same() -> None:
    column = pa.array(["a", None, "NA", "nanny", " null"])
    assert without_words(column)[0] is column
