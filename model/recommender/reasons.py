"""Why an item is recommended, in a few words: the source that gave most of its score, and the click it goes
back to. Computes no score.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from model.data.catalogue import Catalogue
from model.mix.mixer import Best

LONGEST_TITLE = 40  # characters; a reason stands in every recommendation on Kafka, twenty times
WHOLE = {
    "network": "fits the session as a whole",
    "transitions": "often clicked after the last items",
    "neighbours": "clicked in sessions like this one",
    "items": "goes with the items of this session",
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
    "titles": "like ",
    "words": "named like ",
    "cosines": "clicked together with ",
    "categories": "of the same kind as ",
}


@dataclass(frozen=True)
class Explainer:
    """Words for the items of a catalogue."""

    catalogue: Catalogue

    @cached_property
    def names(self) -> list[str]:
        """Quoted titles, cut to a readable length, or ids; the last one is empty and stands for no item."""
        known = zip(self.catalogue.titles, self.catalogue.item_ids, strict=True)
        return [quoted(title or item) for title, item in known] + [""]

    @cached_property
    def ids(self) -> list[str]:
        """Item ids; the last one is empty and stands for no item."""
        return [*self.catalogue.item_ids, ""]

    def explain(self, sources: tuple[str, ...], best: Best) -> list[tuple[str, ...]]:
        """Put reasons into words.

        Parameters
        ----------
        sources : tuple of str
            Names of the sources of the score.
        best : Best

        Returns
        -------
        list of tuple of str
            Per case one text a recommended item that there is.
        """
        whole, names = [WHOLE[name] for name in sources], self.names
        because = [BECAUSE.get(name, "") for name in sources]
        return [
            tuple(
                [
                    because[source] + names[click] if click >= 0 else whole[source]
                    for source, click, item in zip(*row, strict=True)
                    if item >= 0
                ]
            )
            for row in zip(best.strongest.tolist(), best.clicked.tolist(), best.items.tolist(), strict=True)
        ]


def quoted(title: str) -> str:
    """Quote a title, cut where it is long.

    Examples
    --------
    >>> quoted("Toy Story (1995)")
    '“Toy Story (1995)”'
    """
    return f"“{title}”" if len(title) <= LONGEST_TITLE else f"“{title[: LONGEST_TITLE - 1].rstrip()}…”"
