"""What it means that an item is of a category, wherever items are filtered: whole words, in any case."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

_WORD: Final = re.compile(r"\w+")


class CategoryError(ValueError):
    """A category that cannot be looked for; the text names it and the remedy."""


def plain(category: str) -> str:
    """Bring a category to lower-case words between single spaces, so that whole words are found in it.

    Examples
    --------
    >>> plain("Sci-Fi | Comedy")
    ' sci fi comedy '
    """
    return f" {' '.join(_WORD.findall(category.casefold()))} "


class Categories:
    """The categories of some items, in their order.

    Parameters
    ----------
    names : sequence of str or None
        One an item; none and empty are of no category.

    Examples
    --------
    >>> shop = Categories(["Toys", "Books", "Old Books", None])
    >>> shop.places("books").tolist(), shop.places("book").tolist()
    ([1, 2], [])
    """

    def __init__(self, names: Sequence[str | None]) -> None:
        numbers: dict[str, int] = {}
        self._numbers = np.array(
            [numbers.setdefault(plain(name or ""), len(numbers)) for name in names], np.int64
        )
        self._names = list(numbers)

    def places(self, category: str) -> np.ndarray:
        """Return the places of the items whose category is this one, or holds it as whole words; int64,
        ascending.

        Raises
        ------
        CategoryError
            The category holds no letter or digit.
        """
        wanted = plain(category)
        if not wanted.strip():
            raise CategoryError(
                f"category {category!r} holds no letter or digit; name one, for example Comedy"
            )
        holding = [number for number, name in enumerate(self._names) if wanted in name]
        return np.flatnonzero(np.isin(self._numbers, holding))
