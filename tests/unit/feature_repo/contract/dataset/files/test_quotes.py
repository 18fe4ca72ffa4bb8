"""Quotes in text files: no row is swallowed, no value changed, every line accounted for."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.contract.dataset.files import lines as folder_lines
from feature_repo.contract.dataset.files.delimited import read_delimited

HEADER = "a,b,c\n"


def read(folder, text, name="t.csv", **more):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    blocks = list(read_delimited(path, name, **more))
    rows = [tuple(row.values()) for block in blocks for row in block.rows.to_pylist()]
    lines = [line for block in blocks for line in block.lines.tolist()]
    refused = {row.line: row.reason for block in blocks for row in block.refused}
    return rows, lines, refused


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ('1,x,"hose\n2,y,z\n3,v,w\n', [2]),  # at the end of a row
        ('1,"x,y\n2,y,z\n', [2]),  # in the middle of a row
        ('"1,x,y\n2,y,z\n', [2]),  # at its begin
        ('1,x,y\n2,y,"z\n', [3]),  # at the last line
        ('1,x,y\n2,y,"z', [3]),  # without a line end after it
        ('1,x,"hose\n2,y,"hose\n3,v,w\n', [2, 3]),  # twice
        ('1,x,"hose\n2,y,12"\n3,v,w\n', [2]),  # an inch mark would close it
        ('1,x,"\n2,y,"\n3,v,w\n', [2, 3]),  # a quote alone, twice
        ('1,x,"a ""b"" c\n2,y,z\n', [2]),  # doubled ones inside
        ('1,x,"hose \\"big\\"\n2,y,z\n', [2]),  # as Spark escapes them
        ('1,x,"hose\n\n\n2,y,z\n', [2]),  # with blank lines after it
    ],
)
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_a_quote_that_does_not_close_costs_its_own_row_only(tmp_path, body, refused, ends):
    rows, lines, found = read(tmp_path, (HEADER + body).replace("\n", ends))
    assert sorted(found) == refused
    assert all("does not close" in reason and f"line {line}:" in reason for line, reason in found.items())
    filled = {number for number, line in enumerate((HEADER + body).splitlines(), start=1) if line}
    assert set(lines) == filled - {1} - set(refused)
    assert len(rows) == len(lines)


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ('1,12" hose,x', ("1", '12" hose', "x")),
        ('1,"a ""b"", c",x', ("1", 'a "b", c', "x")),
        ('1,"a \\"b\\", c",x', ("1", 'a "b", c', "x")),
        ('1,"a \\"b\\"",x', ("1", 'a "b"', "x")),
        ('1,"12\\",13",x', ("1", '12",13', "x")),
        ('1,"C:\\dir\\",x', ("1", "C:\\dir\\", "x")),
        ('1,"Hello" she said,x', ("1", '"Hello" she said', "x")),
        ('1,"",x', ("1", "", "x")),
        ('1,"""",x', ("1", '"', "x")),
        ('"1","x",""', ("1", "x", "")),
    ],
)
def test_a_quote_has_one_meaning(tmp_path, line, values):
    rows, lines, refused = read(tmp_path, HEADER + line + "\n9,9,9\n")
    assert (rows, lines, refused) == ([values, ("9", "9", "9")], [2, 3], {})
    tabs = (HEADER + line + "\n").replace(",", "\t")
    assert read(tmp_path, tabs, "t.tsv")[0] == [tuple(value.replace(",", "\t") for value in values)]


@pytest.mark.parametrize(
    ("body", "rows", "lines"),
    [
        ('1,"x\ny\nz",w\n2,v,u\n', [("1", "x\ny\nz", "w"), ("2", "v", "u")], [2, 5]),
        ('1,x,"y\n\nz"\n\n2,v,u\n', [("1", "x", "y\n\nz"), ("2", "v", "u")], [2, 6]),
        ('1,"a ""q""\nb","c\nd"\n2,v,u\n', [("1", 'a "q"\nb', "c\nd"), ("2", "v", "u")], [2, 5]),
        ('1,"a \\"q\\"\nb",c\n2,v,u\n', [("1", 'a "q"\nb', "c"), ("2", "v", "u")], [2, 4]),
        ('1,"x\ny",w', [("1", "x\ny", "w")], [2]),
    ],
)
def test_a_well_formed_value_may_hold_line_ends(tmp_path, body, rows, lines):
    assert read(tmp_path, HEADER + body) == (rows, lines, {})
    assert read(tmp_path, b"\xef\xbb\xbf" + (HEADER + body).replace("\n", "\r\n").encode()) == (
        rows,
        lines,
        {},
    )


def test_a_title_over_lines_with_a_comma_is_one_title_in_a_table_of_two_columns(tmp_path):
    text = 'item_id,title\ni1,"Steel,\nwatering, can"\ni2,Pot\n'
    assert read(tmp_path, text)[0] == [("i1", "Steel,\nwatering, can"), ("i2", "Pot")]


_ON_ONE_LINE = st.text('ab",\\;\t', max_size=6).map(lambda value: "x" + value)
_OVER_LINES = st.text('a"\n', max_size=6).map(lambda value: "x" + value)
_VALUES = st.one_of(_ON_ONE_LINE, _OVER_LINES)


@settings(deadline=None)  # the machine may be busy
@given(
    st.lists(st.tuples(_ON_ONE_LINE, _VALUES, _VALUES), min_size=1, max_size=6),
    st.sampled_from([7, 40, 1 << 20]),
)
def test_what_a_csv_writer_writes_is_read_back(tmp_path_factory, rows, block):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("a", "b", "c"), *rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_lines, "BLOCK_BYTES", block)
        found, _, refused = read(tmp_path_factory.getbasetemp(), text.getvalue())
    assert (found, refused) == (rows, {})


@settings(deadline=None)  # the machine may be busy
@given(
    st.lists(st.text('ab",\\ ', max_size=12), max_size=12),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([5, 64, 1 << 20]),
)
def test_whatever_stands_between_good_rows_they_are_read_and_every_line_is_accounted_for(
    tmp_path_factory, junk, ends, block
):
    body = [line for number, odd in enumerate(junk) for line in (odd, f"good{number},x,y")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_lines, "BLOCK_BYTES", block)
        rows, lines, refused = read(tmp_path_factory.getbasetemp(), ends.join(["a,b,c", *body]) + ends)
    good = {2 * number + 3: (f"good{number}", "x", "y") for number in range(len(junk))}
    assert {line: row for line, row in zip(lines, rows, strict=True) if line in good} == good
    odd = {2 * number + 2 for number, text in enumerate(junk) if text.strip()}
    assert set(refused) | set(lines) - set(good) == odd
    assert not set(refused) & set(lines)
