"""Why an item is recommended, in a few words: the source that gave most of its score, and the click it goes
back to. Computes no score.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from model.data.catalogue import Catalogue
from model.rankers.plan import Best

POPULAR = "popular with everybody"
LONGEST_TITLE = 40  # characters; a reason stands in every recommendation on Kafka, twenty times
WHOLE = {
    "network": "fits the session as a whole",
    "transitions": "often clicked after the last items",
    "neighbours": "clicked in sessions like this one",
    "items": "goes with the items of this session",
    "sequels": "comes next in sessions like this one",
    "cosines": "clicked together with the items of this session",
    "repeats": "clicked before",
    "popular": POPULAR,
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


class Scored(NamedTuple):
    """An answer, best item first; ``reasons[i]`` says in a few words why ``items[i]`` is there,
    ``because[i]`` which click it goes back to (or is empty), ``sources[i]`` which source gave most of its
    score.
    """

    items: tuple[str, ...]
    scores: tuple[float, ...]
    reasons: tuple[str, ...]
    because: tuple[str, ...]
    sources: tuple[str, ...] = ()


NO_ANSWER = Scored((), (), (), ())


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

    def put(self, sources: tuple[str, ...], best: Best) -> list[Scored]:
        """Put answers into words.

        Parameters
        ----------
        sources : tuple of str
            Names of the sources of the score.
        best : Best
        """
        ids, names = self.ids, self.names
        whole = [WHOLE[name] for name in sources]
        because = [BECAUSE.get(name, "") for name in sources]
        answers = []
        rows = best.scores.tolist(), best.items.tolist(), best.strongest.tolist(), best.clicked.tolist()
        for scores, items, strongest, clicked in zip(*rows, strict=True):
            if items[-1] < 0:  # the session saw nearly all items
                count = items.index(-1)
                scores, items, strongest, clicked = (
                    row[:count] for row in (scores, items, strongest, clicked)
                )
            reasons = [
                because[source] + names[click] if click >= 0 else whole[source]
                for source, click in zip(strongest, clicked, strict=True)
            ]
            answers.append(
                Scored(
                    tuple([ids[item] for item in items]),
                    tuple(scores),
                    tuple(reasons),
                    tuple([ids[click] for click in clicked]),
                    tuple([sources[source] for source in strongest]),
                )
            )
        return answers


def quoted(title: str) -> str:
    """Quote a title, cut where it is long.

    Examples
    --------
    >>> quoted("Toy Story (1995)")
    '“Toy Story (1995)”'
    """
    return f"“{title}”" if len(title) <= LONGEST_TITLE else f"“{title[: LONGEST_TITLE - 1].rstrip()}…”"
