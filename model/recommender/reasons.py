"""Why an item is recommended, in a few words: the source that gave most of its score, and the click it goes
back to. Computes no score.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.data.catalogue import Catalogue
from model.data.sequences import Cases
from model.mix import Part

LONGEST_TITLE = 40  # characters; a reason stands in every recommendation on Kafka, twenty times
WHOLE = {
    "network": "fits the session as a whole",
    "transitions": "often clicked after the last items",
    "neighbours": "clicked in sessions like this one",
    "items": "goes with the items of this session",
    "sequels": "comes next in sessions like this one",
    "cosines": "clicked together with the items of this session",
    "repeats": "clicked before",
    "popular": "popular with everybody",
    "titles": "like the items just clicked",
    "words": "named like the items just clicked",
    "categories": "of the kind just clicked",
    "intents": "fits the inferred intent",
}
BECAUSE = {
    "transitions": "often clicked after ",
    "neighbours": "clicked in sessions like this one, with ",
    "items": "goes with ",
    "sequels": "comes next after ",
    "titles": "like ",
    "words": "named like ",
    "cosines": "clicked together with ",
    "categories": "of the same kind as ",
}


@dataclass(frozen=True)
class Reasons:
    """Texts and the ids of the clicks they name, one a recommendation; shapes (cases, k), object arrays of
    str; an empty id names no click.
    """

    texts: NDArray[np.object_]
    because: NDArray[np.object_]


@dataclass(frozen=True)
class Explainer:
    """Words for the items of a catalogue."""

    catalogue: Catalogue

    @cached_property
    def names(self) -> NDArray[np.object_]:
        """Quoted titles, cut to a readable length, or ids; the last one is empty and stands for no item."""
        known = zip(self.catalogue.titles, self.catalogue.item_ids, strict=True)
        return np.array([quoted(title or item) for title, item in known] + [""], dtype=object)

    @cached_property
    def ids(self) -> NDArray[np.object_]:
        """Item ids; the last one is empty and stands for no item."""
        return np.array([*self.catalogue.item_ids, ""], dtype=object)

    def explain(
        self,
        names: list[str],
        parts: dict[str, Part],
        cases: Cases,
        items: NDArray[np.int64],
        strongest: NDArray[np.int64],
    ) -> Reasons:
        """Put reasons into words.

        Parameters
        ----------
        names : list of str
            Sources of the score.
        parts : dict
            Those of the sources that can name a click, by name.
        cases : Cases
        items : ndarray int64, shape (cases, k)
            Recommended items.
        strongest : ndarray int64, shape (cases, k)
            Place in ``names`` of the source that gave most.
        """
        clicked = np.full(items.shape, -1, dtype=np.int64)
        for place, name in enumerate(names):
            rows, columns = (
                np.nonzero(strongest == place)
                if name in BECAUSE and name in parts
                else (np.zeros(0, np.int64),) * 2
            )
            found = parts[name].because(cases, rows, items[rows, columns]) if len(rows) else None
            if found is not None:
                flat = cases.prefixes.items[np.maximum(cases.prefixes.offsets[rows] + found, 0)]
                clicked[rows, columns] = np.where(found >= 0, flat, -1)
        whole = np.array([WHOLE[name] for name in names], dtype=object)
        because = np.array([BECAUSE.get(name, "") for name in names], dtype=object)
        texts = np.where(clicked < 0, whole[strongest], because[strongest]) + self.names[clicked]
        return Reasons(texts, self.ids[clicked])


def quoted(title: str) -> str:
    """Quote a title, cut where it is long.

    Examples
    --------
    >>> quoted("Toy Story (1995)")
    '“Toy Story (1995)”'
    """
    return f"“{title}”" if len(title) <= LONGEST_TITLE else f"“{title[: LONGEST_TITLE - 1].rstrip()}…”"
