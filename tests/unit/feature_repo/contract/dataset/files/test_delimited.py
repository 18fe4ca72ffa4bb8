"""Text files of a dataset folder: lines by an editor's count, separators, packing, what is no text."""

from __future__ import annotations

import bz2
import gzip

import pytest
import zstandard

from feature_repo.contract.dataset.files import delimited as folder_text
from feature_repo.contract.dataset.files import lines as folder_lines
from feature_repo.contract.dataset.files.tables import read_blocks
from feature_repo.contract.dataset.folder import DatasetFolderError, find_table, read_clicks, read_item_blocks

CLICKS = "session_id,item_id,event_time\ns,a,2024-03-01T10:00:00Z\ns,b,2024-03-01T10:01:00Z\n"


def only(folder):
    (block,) = read_clicks(folder)
    return block


@pytest.mark.parametrize(
    ("text", "lines", "refused"),
    [
        ("\n\n" + CLICKS, [4, 5], []),
        (CLICKS.replace("\ns,b", "\n\n   \n\ns,b"), [2, 6], []),
        (CLICKS + "\n\n", [2, 3], []),
        (CLICKS + "s,c\n\ns,c,yesterday\n", [2, 3], [4, 6]),
        (CLICKS.replace("\n", "\r\n") + "\r\n\r\ns,c,yesterday", [2, 3], [6]),
        (CLICKS + 's,"c\n2",2024-03-01\n\ns,c,yesterday\n', [2, 3, 4], [7]),
    ],
)
def test_lines_are_those_of_an_editor(tmp_path, text, lines, refused):
    (tmp_path / "clicks.csv").write_text(text, newline="")
    block = only(tmp_path)
    assert (block.lines.tolist(), [row.line for row in block.refused]) == (lines, refused)


def test_lines_go_on_over_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_lines, "BLOCK_BYTES", 64)
    rows = "".join(f's,"i\n{number}",2024-03-01\n\n' for number in range(40))
    (tmp_path / "clicks.csv").write_text("session_id,item_id,event_time\n" + rows + "s,x,never\n")
    blocks = list(read_clicks(tmp_path))
    assert len(blocks) > 5
    assert [line for block in blocks for line in block.lines.tolist()] == list(range(2, 122, 3))
    assert [row.line for block in blocks for row in block.refused] == [122]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("name", ["clicks.csv", "clicks.tsv"])
def test_the_separator_is_seen_and_named(tmp_path, separator, name):
    (tmp_path / name).write_text(CLICKS.replace(",", separator))
    block = only(tmp_path)
    assert block.rows.column("item_id").to_pylist() == ["a", "b"]
    usual = name == "clicks.tsv" and separator == "\t"
    assert [note for note in block.notes if "separated by" in note] == ([] if usual else [block.notes[0]])


@pytest.mark.parametrize(
    ("ending", "pack"), [(".gz", gzip.compress), (".zst", zstandard.compress), (".bz2", bz2.compress)]
)
def test_packed_files_are_read(tmp_path, ending, pack):
    (tmp_path / f"clicks.csv{ending}").write_bytes(pack(CLICKS.encode()))
    (tmp_path / f"items.tsv{ending}").write_bytes(pack(b"item_id\ttitle\na\tA, b\n"))
    assert only(tmp_path).rows.num_rows == 2
    assert next(iter(read_item_blocks(tmp_path))).rows.column("title").to_pylist() == ["A, b"]
    assert find_table(tmp_path, "clicks").name == f"clicks.csv{ending}"


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
@pytest.mark.parametrize("spoil", [lambda packed: packed[:-9], lambda packed: b"nothing", lambda packed: b""])
def test_a_damaged_packed_file_is_one_line(tmp_path, ending, pack, spoil):
    (tmp_path / f"clicks.csv{ending}").write_bytes(spoil(pack(CLICKS.encode() * 1000)))
    with pytest.raises(
        DatasetFolderError, match=r"clicks\.csv\.(gz|zst) (is empty|cannot be read)"
    ) as caught:
        list(read_clicks(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"PAR1rest\n", "a Parquet file"),
        (b"PK\x03\x04x\n", "Excel"),
        (gzip.compress(b"a,b\n", mtime=0), "gzip"),
        (b"<html>\n", "web page"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-8"),
        (b"a,b,a\n1,2,3\n", "'a' stands twice (columns 1 and 3)"),
        (b'"a","b","a"\n1,2,3\n', "'a' stands twice"),
    ],
)
def test_what_is_no_table_of_text_is_named(tmp_path, content, words):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DatasetFolderError) as caught:
        list(read_blocks(tmp_path / "t.csv"))
    assert words in str(caught.value) and str(caught.value).startswith("t.csv")


def test_empty_columns_of_a_spreadsheet_do_no_harm(tmp_path):
    (tmp_path / "clicks.csv").write_text("session_id,item_id,event_time,,\ns,a,2024-03-01,,\n")
    assert only(tmp_path).rows.num_rows == 1


@pytest.mark.parametrize("block_bytes", [1 << 20, 200])
@pytest.mark.parametrize("line", [2, 23, 41])
@pytest.mark.parametrize("value", ['"i', '"i,x', 'i","'])
def test_a_file_that_breaks_the_count_of_lines_is_refused_with_the_line_where_it_begins(
    tmp_path, monkeypatch, block_bytes, line, value
):
    def without_a_look(text, header, following, name, *, last):
        """What the splitter is there for: quotes go to the CSV reader as they stand."""
        return folder_text._plain(text, following)

    monkeypatch.setattr(folder_text, "_mended", without_a_look)
    monkeypatch.setattr(folder_lines, "BLOCK_BYTES", block_bytes)
    rows = [f"s,{value if number == line else 'i'},{number}" for number in range(2, 42)]
    if value.endswith('"') and line < 41:
        rows[line - 1] = 's",i,3'
    text = "session_id,item_id,event_time\n\n" + "\n".join(rows) + '\ns,"b",1\n'
    (tmp_path / "clicks.csv").write_text(text)
    with pytest.raises(DatasetFolderError, match=rf"^clicks.csv line {line + 1}: [\d,]+ rows") as caught:
        list(read_clicks(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "header", ["session_id, item_id,item_id ,event_time", "session_id,item_id, item_id,x"]
)
def test_columns_that_differ_by_blanks_alone_stand_twice(tmp_path, header):
    (tmp_path / "clicks.csv").write_text(header + "\ns,a,b,2024-03-01\n")
    with pytest.raises(DatasetFolderError, match=r"'item_id' stands twice \(columns 2 and 3\)"):
        list(read_clicks(tmp_path))
