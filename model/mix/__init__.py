"""The parts that stand beside the network in the hybrid score, each as rows of probabilities. Knows nothing
of weights.

transitions  what followed the recent clicks in other sessions (decayed Markov)
neighbours   what like sessions clicked (the family of V-SKNN and STAN)
cosines      what was clicked in the same sessions as the clicked items (item kNN, sparse)
items        the same by EASE, for some thousand items
sequels      what is clicked next, by regression on the clicks before (SLIT), for some thousand items
repeats      the session's own items
popular      what everybody clicks, lately
titles       items with titles (and categories) like those of the recent clicks (dense vectors)
words        items whose titles share words with those of the recent clicks (TF-IDF)
categories   the same by the words of the categories
intents      items close to the inferred long and short intents
"""

from __future__ import annotations

from model.data.splits import Dataset
from model.evaluate.judge import Seen
from model.mix.counts import Neighbours, Transitions
from model.mix.pairs import Cosines, Items, Sequels
from model.mix.part import Part
from model.mix.popular import Popular
from model.mix.repeats import Repeats
from model.mix.text import Intents, Kinds, Titles, Words

__all__ = [
    "KINDS",
    "QUICK_EASE_ITEMS",
    "Cosines",
    "Intents",
    "Items",
    "Kinds",
    "Neighbours",
    "Part",
    "Popular",
    "Repeats",
    "Sequels",
    "Titles",
    "Transitions",
    "Words",
    "applicable",
    "fitted",
]

# 4 s of one core and 64 MB; at 12,000 items a minute and 600 MB in every model folder
QUICK_EASE_ITEMS = 4_000
# beyond, a pass over all title vectors costs more than the whole budget of a request
MOST_TEXT_ITEMS = 200_000

Kind = (
    type[Transitions]
    | type[Neighbours]
    | type[Items]
    | type[Sequels]
    | type[Cosines]
    | type[Repeats]
    | type[Popular]
    | type[Titles]
    | type[Words]
    | type[Intents]
)
KINDS: dict[str, Kind] = {
    "transitions": Transitions,
    "neighbours": Neighbours,
    "items": Items,
    "sequels": Sequels,
    "cosines": Cosines,
    "repeats": Repeats,
    "popular": Popular,
    "titles": Titles,
    "words": Words,
    "categories": Kinds,
    "intents": Intents,
}


def fitted(name: str, dataset: Dataset) -> Part:
    """Fit a part, once for a dataset: baselines, the blend without training and the model share it.

    Raises
    ------
    KeyError
        If no part has the name.
    """
    if name not in dataset.fitted:
        dataset.fitted[name] = KINDS[name].fit(dataset)
    found: Part = dataset.fitted[name]
    return found


def applicable(dataset: Dataset, seen: Seen = "kept") -> tuple[str, ...]:
    """Name the parts that the data allow.

    Parameters
    ----------
    dataset : Dataset
        Text parts need texts, intents need intent vectors on the validation cases.
    seen : str
        Where seen items are removed, nothing is to be said by repeats.
    """
    catalogue = dataset.catalogue
    small = len(catalogue) <= MOST_TEXT_ITEMS
    dense = small and catalogue.vectors is not None and bool(catalogue.vectors.any())
    names = ["transitions", "neighbours", "cosines"]
    names += ["items", "sequels"] if len(catalogue) <= QUICK_EASE_ITEMS else []
    names += ["repeats"] if seen == "kept" else []
    names += ["popular"]
    names += ["titles"] if dense else []
    names += ["words"] if small and catalogue.has_text else []
    names += ["categories"] if small and any(catalogue.categories) else []
    with_intents = dense and any(
        view is not None and bool(view.any()) for view in (dataset.valid.long, dataset.valid.short)
    )
    return (*names, "intents") if with_intents else tuple(names)
