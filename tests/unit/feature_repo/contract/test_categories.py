"""One meaning of a category wherever items are filtered by one."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from feature_repo.contract.categories import Categories, CategoryError
from feature_repo.serving.vectors import VectorIndex
from model.data.catalogue import Catalogue
from streaming.http.items import ItemSearch
from streaming.http.nearest import NearestItems
from streaming.http.wire.errors import ApiError

NAMES = ["Drama", "Animation | Comedy", "Comedic", "sci-fi comedy", "", "COMEDY"]
IDS = [f"i{place}" for place in range(len(NAMES))]
VECTORS = np.eye(len(NAMES), dtype=np.float32) + 0.1


def catalogue() -> Catalogue:
    return replace(Catalogue.build(IDS, IDS, NAMES), vectors=VECTORS)


def routes(category: str) -> list[list[str]]:
    """Ids of the category by every way that a user has to ask for it."""
    held = catalogue()
    model = SimpleNamespace(scorer=SimpleNamespace(catalogue=held, version="v"), path=None)
    index = VectorIndex(IDS, VECTORS, categories=NAMES)
    return [
        sorted(item.item_id for item in ItemSearch(held).find("", 100, category)),
        sorted(item.item_id for item in NearestItems(None, model)(None, "i0", 100, category)),
        sorted(found.key for found in index.nearest(VECTORS[0], 100, category=category) if found.key != "i0"),
    ]


@pytest.mark.parametrize(
    ("category", "expected"),
    [("comedy", ["i1", "i3", "i5"]), ("Sci Fi", ["i3"]), ("medy", []), ("animation comedy", ["i1"])],
)
def test_every_route_finds_the_same_items_of_a_category(category, expected):
    assert routes(category) == [expected] * 3


def test_a_category_without_a_word_is_refused_by_name():
    with pytest.raises(CategoryError, match="holds no letter or digit"):
        Categories(NAMES).places(" - ")
    with pytest.raises(ApiError, match="holds no letter or digit"):
        ItemSearch(catalogue()).find("", 5, " - ")
