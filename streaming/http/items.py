"""Finds items by words of their titles and by id, for people who look for one; nearest by meaning is
`feature_repo.serving.vectors`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import msgspec

from feature_repo.contract.categories import Categories, CategoryError
from model.recommender.stock import Stock
from streaming.http.wire.errors import ApiError

if TYPE_CHECKING:
    from model.data.catalogue import Catalogue

MAX_QUERY_CHARACTERS = 200


class Item(msgspec.Struct, frozen=True):
    """One item; title and category are empty where unknown, ``known`` is False for an id that the model never
    met; ``available`` is false for what may not be shown now, and left out otherwise, as no attributes are.
    """

    item_id: str
    title: str
    category: str
    known: bool = True
    available: bool | msgspec.UnsetType = msgspec.UNSET
    attributes: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


def stocked(items: Iterable[Item], stock: Stock) -> list[Item]:
    """Say of each item whether it may be shown now, and its attributes."""
    return [
        msgspec.structs.replace(
            item,
            available=False if item.item_id in stock.withdrawn else msgspec.UNSET,
            attributes=dict(stock.attributes.get(item.item_id, {})) or msgspec.UNSET,
        )
        for item in items
    ]


class ItemSearch:
    """Substring search over the titles of one catalogue.

    All titles stand in one text, so that a search is one pass of C code: 10 ms for a million titles.

    Examples
    --------
    >>> from model.data.catalogue import Catalogue
    >>> search = ItemSearch(
    ...     Catalogue.build(
    ...         ["1", "2", "3"], ["Star Wars (1977)", "Lone Star", "Fargo"], ["SciFi", "Drama", "Crime"]
    ...     )
    ... )
    >>> (
    ...     [item.item_id for item in search.find("star", 10)],
    ...     [item.item_id for item in search.find("star", 10, "drama")],
    ... )
    (['1', '2'], ['2'])
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        # lower() of one letter may be two ("İ"), so starts are those of the lowered lines
        lines = [
            "\n" + (title.replace("\n", " ") or item_id).lower()
            for item_id, title in zip(catalogue.item_ids, catalogue.titles, strict=True)
        ]
        self._text = "".join(lines)
        self._categories = Categories(catalogue.categories)
        self._starts = [0, *accumulate(len(line) for line in lines)][:-1]

    def find(self, words: str, k: int, category: str | None = None) -> list[Item]:
        """Give up to ``k`` items whose title holds the words as they stand; those that begin with them first.

        Parameters
        ----------
        words : str
            Any case; empty = every item, in catalogue order.
        k : int
            At most so many.
        category : str, optional
            Only items whose category holds this as whole words, in any case.

        Raises
        ------
        ApiError
            400 for a category without a letter or digit.
        """
        wanted = " ".join(words[:MAX_QUERY_CHARACTERS].lower().split())
        among = self._of_category(category) if category else None
        places = dict.fromkeys(self._matches("\n" + wanted, k, among))
        if wanted and len(places) < k:
            places.update(dict.fromkeys(self._matches(wanted, k, among)))
        return [self._item(place) for place in list(places)[:k]]

    def of(self, item_ids: Iterable[str]) -> list[Item]:
        """Give the items of some ids, in order; unknown ids come back as such."""
        index = self._catalogue.index
        return [
            self._item(index[item_id]) if item_id in index else Item(item_id, "", "", False)
            for item_id in item_ids
        ]

    def _of_category(self, category: str) -> frozenset[int]:
        try:
            return frozenset(self._categories.places(category).tolist())
        except CategoryError as error:
            raise ApiError(400, "bad_category", str(error)) from None

    def _matches(self, wanted: str, k: int, among: frozenset[int] | None) -> list[int]:
        found: list[int] = []
        at = self._text.find(wanted)
        while at >= 0 and len(found) < 2 * k:  # twice, as prefix matches come again among the others
            place = bisect_right(self._starts, at) - 1
            if among is None or place in among:
                found.append(place)
            following = self._starts[place + 1] if place + 1 < len(self._starts) else len(self._text)
            at = self._text.find(wanted, following)
        return found

    def _item(self, place: int) -> Item:
        catalogue = self._catalogue
        return Item(catalogue.item_ids[place], catalogue.titles[place], catalogue.categories[place])


def search_of(scorer: Any) -> ItemSearch:
    """Make the search of a scorer's items; ids stand in for titles where the model folder holds none."""
    from model.data.catalogue import Catalogue

    catalogue = getattr(scorer, "catalogue", None)
    return ItemSearch(
        catalogue if isinstance(catalogue, Catalogue) else Catalogue.build(list(scorer.item_ids))
    )
