"""The baselines of every report, in one list, each tuned on validation by a stated grid. Knows how to fit
them, not how they are judged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from model.data.splits import Dataset
from model.evaluate.choose import choose
from model.evaluate.judge import Ranker
from model.mix import QUICK_EASE_ITEMS, Transitions, fitted
from model.mix.pairs import COSINES, DECAYS, REGULARISERS
from model.mix.popular import WINDOWS
from model.mix.text import DECAYS as TEXT_DECAYS
from model.rankers import tuning
from model.rankers.ease import MOST_ITEMS
from model.rankers.last_item import LastItem
from model.rankers.markov import Markov
from model.rankers.title_knn import WordKnn, tfidf


@dataclass(frozen=True)
class Baseline:
    """A ranker to compare with.

    Attributes
    ----------
    role : str
        Its name for programs.
    fit : callable
    chosen : str
        What was chosen on validation, and among how many; empty = it has no settings.
    """

    role: str
    fit: Callable[[Dataset], Ranker]
    chosen: str = ""


def baselines(dataset: Dataset, *, ease: bool | None = None) -> list[Baseline]:
    """Return the baselines that a dataset allows, simplest first; every choice is made on validation cases,
    as the model's are.

    Parameters
    ----------
    dataset : Dataset
        Title rankers need titles.
    ease : bool, optional
        Whether EASE takes part; none = up to ``QUICK_EASE_ITEMS`` items, because it takes a minute and 2.3 GB
        at 12,000.
    """
    steps = "one after the other on validation"
    found = [
        Baseline(
            "popularity", partial(_ranker, "popular"), f"share of the newest clicks among {_said(WINDOWS)}"
        ),
        Baseline("last-item", LastItem.fit),
        Baseline("markov", Markov.fit),
        Baseline(
            "decayed-markov", partial(_ranker, "transitions"), f"{len(Transitions.CANDIDATES)} sets of decays"
        ),
        Baseline("item-knn", partial(_ranker, "cosines"), f"{', '.join(COSINES)}, {steps}"),
        Baseline("v-sknn", tuning.v_sknn, f"{', '.join(tuning.V_SKNN_GRID)}, {steps}"),
        Baseline("stan", tuning.stan, f"{', '.join(tuning.STAN_GRID)}, {steps}"),
    ]
    items = len(dataset.catalogue)
    if (items <= QUICK_EASE_ITEMS) if ease is None else (ease and items <= MOST_ITEMS):
        found.append(
            Baseline(
                "ease",
                partial(_ranker, "items"),
                f"regulariser {_said(REGULARISERS)}, then decay {_said(DECAYS)}",
            )
        )
    if dataset.catalogue.has_text:
        found.append(
            Baseline("title-knn-words", words, f"title with or without category, decay {_said(TEXT_DECAYS)}")
        )
    if dataset.catalogue.vectors is not None and dataset.catalogue.vectors.any():
        found.append(Baseline("title-knn", partial(_ranker, "titles"), f"decay {_said(TEXT_DECAYS)}"))
    return found


def words(dataset: Dataset) -> WordKnn:
    """Fit title kNN by words, of the title alone or with the category, with the decay that ranks best on
    validation.
    """
    catalogue = dataset.catalogue
    texts = [catalogue.titles, catalogue.texts] if any(catalogue.categories) else [catalogue.titles]
    spaces = [WordKnn(tfidf(text)) for text in texts]
    return choose(dataset, [partial(_decayed, space, decay) for space in spaces for decay in TEXT_DECAYS])[0]


def _ranker(name: str, dataset: Dataset) -> Ranker:
    found: Ranker = vars(fitted(name, dataset))["ranker"]
    return found


def _decayed(ranker: WordKnn, decay: float, _: Dataset) -> WordKnn:
    return replace(ranker, decay=decay)


def _said(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
