"""The parts that stand beside the network in the hybrid score, each as rows of probabilities. Knows nothing of weights.

transitions  what followed the recent clicks in other sessions (decayed Markov)
neighbours   what like sessions clicked (STAN)
items        what goes with the clicked items (EASE)
titles       items with titles like those of the recent clicks (dense vectors)
words        the same by TF-IDF
intents      items close to the inferred long and short intents
"""

from __future__ import annotations

from model.parts.base import Part, Votes
from model.parts.counts import Items, Neighbours, Transitions
from model.parts.text import Intents, Titles, Words
from model.splits import Dataset

__all__ = ["KINDS", "LONGEST_SESSIONS", "QUICK_EASE_ITEMS", "Intents", "Items", "Neighbours", "Part", "Titles", "Transitions", "Votes", "Words", "applicable"]

LONGEST_SESSIONS = 15.0  # clicks, on average; a vote reads every click of 500 neighbours, and whole user histories are no sessions
QUICK_EASE_ITEMS = 4_000  # 4 s of one core and 64 MB; at 12,000 items a minute and 600 MB in every model folder
MOST_TEXT_ITEMS = 200_000  # beyond, a pass over all title vectors costs more than the whole budget of a request

KINDS: dict[str, type[Transitions] | type[Neighbours] | type[Items] | type[Titles] | type[Words] | type[Intents]] = {
    "transitions": Transitions, "neighbours": Neighbours, "items": Items, "titles": Titles, "words": Words, "intents": Intents,
}  # fmt: skip


def applicable(dataset: Dataset) -> tuple[str, ...]:
    """Name the parts that the data allow: text parts need texts, intents need intent vectors on the validation cases."""
    catalogue = dataset.catalogue
    small = len(catalogue) <= MOST_TEXT_ITEMS
    dense = small and catalogue.vectors is not None and bool(catalogue.vectors.any())
    names = ["transitions"]
    names += ["neighbours"] if dataset.train.clicks <= LONGEST_SESSIONS * len(dataset.train) else []
    names += ["items"] if len(catalogue) <= QUICK_EASE_ITEMS else []
    names += ["titles"] if dense else []
    names += ["words"] if small and catalogue.has_text else []
    with_intents = dense and any(view is not None and bool(view.any()) for view in (dataset.valid.long, dataset.valid.short))
    return (*names, "intents") if with_intents else tuple(names)
