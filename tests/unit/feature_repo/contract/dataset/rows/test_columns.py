"""Ids keep their spelling whatever type their column has, or their row is refused; other types are one
line.
"""

from __future__ import annotations

import datetime
import decimal
import uuid

import numpy as np
import pyarrow as pa
import pytest

from feature_repo.contract.dataset.folder import DatasetFolderError, parse_items, parse_rows
from feature_repo.contract.dataset.rows.columns import text_column
from feature_repo.contract.spellings.ids import spelling_note

BIG = 40050025016


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pa.array([float(BIG), None, np.nan, -3.0]), [str(BIG), None, None, "-3"]),
        (pa.array([2.0**53 - 1, 0.0]), ["9007199254740991", "0"]),
        (pa.array([16777215.0, 1.0], pa.float32()), ["16777215", "1"]),
        (pa.array([2047.0], pa.float16()), ["2047"]),
        (pa.array([2**64 - 1, 0], pa.uint64()), ["18446744073709551615", "0"]),
        (pa.array([1, None], pa.int8()), ["1", None]),
        (pa.array([decimal.Decimal("40050025016.00"), None]), [str(BIG), None]),
        (pa.array(["00123", "123.0", " a "]), ["00123", "123.0", " a "]),
        (pa.array(["a", None], pa.large_string()), ["a", None]),
        (pa.array(["a"], pa.string_view()), ["a"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array([5.0, 6.0, None]).dictionary_encode(), ["5", "6", None]),
        (pa.array([None, None]), [None, None]),
        (
            pa.ExtensionArray.from_storage(pa.uuid(), pa.array([uuid.UUID(int=7).bytes], pa.binary(16))),
            [str(uuid.UUID(int=7))],
        ),
    ],
)
def test_an_id_is_spelled_one_way(column, texts):
    found = text_column(pa.table({"id": column}), "id", "clicks")
    assert (found.texts.to_pylist(), found.faults) == (texts, {})


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1.5]),
        pa.array([2.0**53]),
        pa.array([1.2345678901234568e16]),
        pa.array([np.inf]),
        pa.array([2.0**24], pa.float32()),
        pa.array([decimal.Decimal("1.50")]),
    ],
)
def test_an_id_that_a_number_cannot_hold_refuses_its_row(column):
    table = pa.table(
        {
            "session_id": ["s", "t"],
            "item_id": pa.concat_arrays([column, pa.array([7], column.type)]),
            "event_time": ["2024-03-01"] * 2,
        }
    )
    rows, refused = parse_rows(table)
    assert rows.column("item_id").to_pylist() == ["7"]
    assert (
        [row.line for row in refused] == [1]
        and "item_id" in refused[0].reason
        and "write it as text or whole numbers" in refused[0].reason
    )


def test_a_missing_number_is_a_missing_id_and_no_item_nan():
    table = pa.table(
        {
            "session_id": [1.0, np.nan, 3.0],
            "item_id": [np.nan, 2.0, 3.0],
            "event_time": ["2024-03-01"] * 3,
            "user_id": [np.nan, None, 9.0],
        }
    )
    rows, refused = parse_rows(table)
    assert (rows.column("session_id").to_pylist(), rows.column("user_id").to_pylist()) == (["3"], ["9"])
    assert [
        "item_id None is blank" in refused[0].reason,
        "session_id None is blank" in refused[1].reason,
    ] == [True, True]


TYPES = [
    pa.array([["a"]]),
    pa.array([{"a": 1}]),
    pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    pa.array([b"a"]),
    pa.array([True]),
    pa.array([datetime.timedelta(1)]),
    pa.array([datetime.time(1)]),
    pa.array([b"abcd"], pa.binary(4)),
    pa.array([[1.0]]),
]


@pytest.mark.parametrize("column", TYPES, ids=lambda column: str(column.type))
@pytest.mark.parametrize(
    "name", ["session_id", "item_id", "event_time", "user_id", "event_type", "title", "description"]
)
def test_a_column_of_another_kind_is_one_line_with_file_column_and_type(name, column):
    plain = {"session_id": ["s"], "item_id": ["a"], "event_time": ["2024-03-01"]}
    parse, file = (
        (parse_items, "items.parquet") if name in ("title", "description") else (parse_rows, "clicks.parquet")
    )
    with pytest.raises(DatasetFolderError) as caught:
        parse(pa.table({**plain, name: column}), file=file)
    text = str(caught.value)
    assert file in text and f"'{name}'" in text and str(column.type) in text and "\n" not in text


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.string()),
        pa.large_list(pa.large_string()),
        pa.list_(pa.dictionary(pa.int8(), pa.string())),
        pa.list_(pa.string(), 2),
    ],
)
def test_a_list_of_categories_is_joined(kind):
    table = pa.table({"item_id": ["a", "b"], "category": pa.array([["Garden", "Hoses"], None], kind)})
    assert parse_items(table)[0].column("category").to_pylist() == ["Garden, Hoses", None]


def test_an_empty_list_of_categories_is_none():
    table = pa.table({"item_id": ["a", "b"], "category": [[], ["x", None, ""]]})
    assert parse_items(table)[0].column("category").to_pylist() == [None, "x"]


@pytest.mark.parametrize("parse", [parse_rows, parse_items])
def test_a_column_twice_is_one_line(parse):
    table = pa.Table.from_arrays(
        [pa.array(["s"])] * 4, names=["session_id", "item_id", "event_time", "item_id"]
    )
    with pytest.raises(DatasetFolderError, match=r"column 'item_id' stands twice \(columns 2 and 4\)"):
        parse(table)


def test_further_columns_of_any_kind_are_kept_as_json():
    more = {"tags": [["a", "b"]], "price": [np.nan], "raw": [b"x\xff"], "nested": [{"score": np.inf}]}
    rows, _ = parse_rows(
        pa.table({"session_id": ["s"], "item_id": ["a"], "event_time": ["2024-03-01"], **more})
    )
    assert rows.column("extra").to_pylist() == [
        '{"tags": ["a", "b"], "price": null, "raw": "x\ufffd", "nested": {"score": null}}'
    ]


@pytest.mark.parametrize(
    ("clicked", "known", "words"),
    [
        (
            ["123.0", "124.0"],
            {"123", "124"},
            (
                "2 of 2 clicked items (100%) are not in items.*; 2 of them are there in another spelling "
                "('123.0' in clicks, '123' in items)"
            ),
        ),
        (["4.0050025016e+10"], {"40050025016"}, "another spelling"),
        (["7"], {"007"}, "another spelling"),
        (["ab-1"], {" AB-1"}, "another spelling"),
        (["x", "y"], {"p", "q"}, "clicks have 'x'"),
        (["a", "b", "new"], {"a", "b"}, None),
        (["a"], set(), None),
    ],
)
def test_other_spellings_are_found_by_the_unknown_items(clicked, known, words):
    note = spelling_note(clicked, known)
    assert (note is None) if words is None else (words in note)
