"""Items as the model sees them: the text that is encoded for one item, and the catalogue. Knows nothing of
tables or networks.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

MAX_TEXT_CHARACTERS = 2_000  # the encoder reads 256 tokens; more text costs time and changes nothing


def item_text(title: str | None, category: str | None = None) -> str:
    """Return the text that is encoded for an item: its title, then its category.

    Parameters
    ----------
    title : str, optional
        May hold control characters or line breaks; they become single spaces.
    category : str, optional
        Added after the title where there is one (on ML-100K title and genre beat the title alone).

    Returns
    -------
    str
        At most ``MAX_TEXT_CHARACTERS`` characters; empty when the item has no title.

    Examples
    --------
    >>> item_text("Toy Story (1995)", "Animation Comedy")
    'Toy Story (1995). Animation Comedy'
    >>> item_text(None, "Animation")
    ''
    """
    name = _one_line(title)
    if not name:
        return ""
    kind = _one_line(category)
    return f"{name}. {kind}" if kind else name


def _one_line(text: str | None) -> str:
    head = (text or "")[: 2 * MAX_TEXT_CHARACTERS]
    clean = "".join(
        " " if unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} else letter for letter in head
    )
    return " ".join(clean.split())[:MAX_TEXT_CHARACTERS]


class Encoder(Protocol):
    """What turns texts into vectors; `model.text.encoder.TextEncoder` is one."""

    def encode(self, texts: list[str]) -> np.ndarray:
        """Return one L2-normalised row a text, float32, shape (texts, dim)."""
        ...


@dataclass(frozen=True)
class Catalogue:
    """All items that can be recommended; an item's index is its place here.

    Attributes
    ----------
    item_ids : list of str
        Unique.
    titles, categories : list of str
        Empty where unknown.
    vectors : ndarray float32, shape (items, dim), optional
        L2-normalised text vectors; a zero row where an item has no text. None when nothing was encoded yet.

    Raises
    ------
    ValueError
        If an id stands twice, lengths differ, or a vector holds NaN.

    Examples
    --------
    >>> Catalogue.build(["a", "b"], ["Red shoe", ""]).index["b"]
    1
    """

    item_ids: list[str]
    titles: list[str]
    categories: list[str]
    vectors: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not len(self.item_ids) == len(self.titles) == len(self.categories):
            raise ValueError(
                f"catalogue has {len(self.item_ids)} ids, {len(self.titles)} titles and "
                f"{len(self.categories)} categories; give one each"
            )
        if len(self.index) != len(self.item_ids):
            twice = next(name for place, name in enumerate(self.item_ids) if self.index[name] != place)
            raise ValueError(f"catalogue: item id '{twice}' stands twice; keep one row an item")
        if self.vectors is not None:
            if self.vectors.ndim != 2 or len(self.vectors) != len(self.item_ids):
                raise ValueError(
                    f"catalogue: vectors of shape {self.vectors.shape} for {len(self.item_ids)} items; give "
                    "one row an item"
                )
            broken = np.flatnonzero(~np.isfinite(self.vectors).all(axis=1))
            if len(broken):
                raise ValueError(
                    f"catalogue: the vector of item '{self.item_ids[broken[0]]}' holds NaN or infinity; "
                    "encode it again"
                )

    @classmethod
    def build(
        cls,
        item_ids: Sequence[str],
        titles: Sequence[str | None] | None = None,
        categories: Sequence[str | None] | None = None,
    ) -> Catalogue:
        """Make a catalogue of ids and, where known, titles and categories."""
        blank = [""] * len(item_ids)
        return cls(
            list(item_ids),
            [title or "" for title in titles or blank],
            [category or "" for category in categories or blank],
        )

    @cached_property
    def index(self) -> dict[str, int]:
        """Item id to its place."""
        return {name: place for place, name in enumerate(self.item_ids)}

    @cached_property
    def texts(self) -> list[str]:
        """What is encoded, one text an item; empty without a title."""
        return [
            item_text(title, category) for title, category in zip(self.titles, self.categories, strict=True)
        ]

    @property
    def has_text(self) -> bool:
        """Whether any item has a title."""
        return any(self.titles)

    def __len__(self) -> int:
        return len(self.item_ids)

    def encoded(self, encoder: Encoder) -> Catalogue:
        """Return the catalogue with text vectors; items without text get a zero row, and no text at all
        leaves None.
        """
        named = [place for place, text in enumerate(self.texts) if text]
        if not named:
            return self
        rows = encoder.encode([self.texts[place] for place in named])
        vectors = np.zeros((len(self), rows.shape[1]), dtype=np.float32)
        vectors[named] = rows
        return replace(self, vectors=vectors)

    def known(self, items: Sequence[str]) -> list[int]:
        """Return the places of those items that the catalogue holds, in order; unknown ones are news and are
        left out.
        """
        return [self.index[name] for name in items if name in self.index]
