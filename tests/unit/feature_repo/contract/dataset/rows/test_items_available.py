"""Whether an item may be recommended, as items files say it."""

from __future__ import annotations

import pyarrow as pa
import pytest

from feature_repo.contract.dataset.rows.items import parse_items


@pytest.mark.parametrize(
    "column",
    [
        ["true", "FALSE", " no ", "", None],
        [True, False, False, None, None],
        [1, 0, 0, None, None],
        ["yes", "0", "f", " ", None],
    ],
)
def test_every_usual_way_to_say_it_is_read_and_nothing_said_is_null(column):
    table = pa.table({"item_id": list("abcde"), "title": list("abcde"), "available": pa.array(column)})
    rows, refused = parse_items(table)
    assert rows.column("available").to_pylist() == [True, False, False, None, None]
    assert not refused


def test_what_is_no_boolean_refuses_its_row_by_name():
    rows, refused = parse_items(pa.table({"item_id": ["a", "b"], "available": ["maybe", "1"]}))
    assert rows.column("item_id").to_pylist() == ["b"]
    assert "available 'maybe' is neither true nor false" in refused[0].reason


def test_without_the_column_nothing_is_said():
    rows, _ = parse_items(pa.table({"item_id": ["a"]}))
    assert rows.column("available").to_pylist() == [None]
