"""Title search against a search written as a loop."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from model.data.catalogue import Catalogue
from streaming.http.items import ItemSearch

titles = st.lists(st.text(alphabet="abİß \nX", max_size=8), min_size=1, max_size=12)


@given(titles=titles, words=st.text(alphabet="abİx", min_size=1, max_size=3), k=st.integers(1, 12))
def test_it_finds_what_a_loop_finds(titles, words, k):
    ids = [f"id{n}" for n in range(len(titles))]
    search = ItemSearch(Catalogue.build(ids, titles))
    shown = [
        (title.replace("\n", " ") or item_id).lower() for item_id, title in zip(ids, titles, strict=True)
    ]
    wanted = words.lower()
    matching = [item_id for item_id, title in zip(ids, shown, strict=True) if wanted in title]
    first = [item_id for item_id, title in zip(ids, shown, strict=True) if title.startswith(wanted)]
    found = [item.item_id for item in search.find(words, k)]
    assert len(found) == len(set(found)) == min(k, len(matching))
    assert set(found) <= set(matching)
    assert found[: min(k, len(first))] == first[:k]


def test_an_empty_query_gives_the_catalogue_and_categories_narrow_it():
    search = ItemSearch(Catalogue.build(["1", "2", "3"], ["A", "B", "C"], ["Shoes", "Lamps", "Old shoes"]))
    assert [item.item_id for item in search.find("  ", 9)] == ["1", "2", "3"]
    assert [item.item_id for item in search.find("", 9, "shoes")] == ["1", "3"]
