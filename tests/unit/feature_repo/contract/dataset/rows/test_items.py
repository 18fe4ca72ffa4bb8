"""Texts of items that people see: HTML entities are decoded, the text as it came is kept."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from feature_repo.contract.dataset.folder import parse_items
from feature_repo.contract.spellings.entities import decode_entities


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("Steel &quot;Big&quot; can &amp; lid", 'Steel "Big" can & lid'),
        ("Men&#39;s hat", "Men's hat"),
        ("Caf&#xE9; &#x1F600; &eacute;", "Café 😀 é"),
        ("A &amp;amp; B &amp;quot;C&amp;quot; &amp;#39;", 'A & B "C" \''),
        ("5 &lt; 6&nbsp;cm", "5 < 6\xa0cm"),
        ("AT&T, R&D; rock&reggae &copy=2 & more", "AT&T, R&D; rock&reggae &copy=2 & more"),
        ("&unknown; stays, Fish &notes; too", "&unknown; stays, Fish &notes; too"),
        ("&#xD800;&#0;", "\ufffd\ufffd"),
    ],
)
def test_entities_are_decoded_and_other_ampersands_stay(text, decoded):
    assert decode_entities(text) == decoded


def test_every_shown_text_is_decoded_and_its_raw_text_kept():
    table = pa.table(
        {
            "item_id": ["a&amp;b", "c"],
            "title": ["Men&#39;s&nbsp;&#10;hat", "plain"],
            "category": [["T&amp;A", "x"], None],
            "description": ["&lt;b&gt;", None],
        }
    )
    found = parse_items(table)[0].to_pylist()
    assert [row["item_id"] for row in found] == ["a&amp;b", "c"]  # an id is no text
    assert (found[0]["title"], found[0]["category"], found[0]["description"]) == (
        "Men's hat",
        "T&A, x",
        "<b>",
    )
    assert json.loads(found[0]["raw"]) == {
        "title": "Men&#39;s&nbsp;&#10;hat",
        "category": "T&amp;A, x",
        "description": "&lt;b&gt;",
    }
    assert found[1]["raw"] is None


def test_a_title_of_nothing_but_a_blank_entity_is_a_missing_one():
    assert parse_items(pa.table({"item_id": ["a"], "title": ["&nbsp;"]}))[0].column("title").to_pylist() == [
        None
    ]
