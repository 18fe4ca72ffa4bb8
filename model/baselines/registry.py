"""The baselines of every report, in one list. Knows how to fit them, not how they are judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from model.baselines.choose import choose, sample
from model.baselines.ease import MOST_ITEMS, Ease
from model.baselines.item_knn import ItemKnn
from model.baselines.last_item import LastItem
from model.baselines.markov import DecayedMarkov, Markov
from model.baselines.popularity import Popularity
from model.baselines.session_knn import STAN, SessionKnn
from model.baselines.title_knn import TitleKnn, WordKnn
from model.evaluate import Ranker
from model.parts import LONGEST_SESSIONS, QUICK_EASE_ITEMS, Neighbours, Transitions
from model.splits import Dataset

LONG_HISTORY_NEIGHBOURS = 100  # as V-SKNN; 500 whole histories a case take minutes and vote for nearly everything
STAN_CASES = 300  # its votes are slow on long histories, and its settings differ by far more than the noise of 300 cases


@dataclass(frozen=True)
class Baseline:
    """A ranker to compare with: its role in reports, and how to fit it."""

    role: str
    fit: Callable[[Dataset], Ranker]


def baselines(dataset: Dataset, *, ease: bool | None = None) -> list[Baseline]:
    """Return the baselines that a dataset allows, simplest first.

    Parameters
    ----------
    dataset : Dataset
        Title rankers need titles.
    ease : bool, optional
        Whether EASE takes part; none = up to ``QUICK_EASE_ITEMS`` items, because it takes a minute and 2.3 GB at 12,000.
    """
    found = [
        Baseline("popularity", Popularity.fit),
        Baseline("last-item", LastItem.fit),
        Baseline("markov", Markov.fit),
        Baseline("decayed-markov", tuned_markov),
        Baseline("item-knn", ItemKnn.fit),
        Baseline("v-sknn", SessionKnn.fit),
        Baseline("stan", tuned_stan),
    ]
    items = len(dataset.catalogue)
    if (items <= QUICK_EASE_ITEMS) if ease is None else (ease and items <= MOST_ITEMS):
        found.append(Baseline("ease", Ease.fit))
    if dataset.catalogue.has_text:
        found.append(Baseline("title-knn-words", WordKnn.fit))
    if dataset.catalogue.vectors is not None and dataset.catalogue.vectors.any():
        found.append(Baseline("title-knn", TitleKnn.fit))
    return found


def tuned_markov(dataset: Dataset) -> DecayedMarkov:
    """Fit decayed Markov with the decays that rank best on validation."""
    return Transitions.fit(dataset).ranker


def tuned_stan(dataset: Dataset) -> SessionKnn:
    """Fit STAN with the settings that rank best on validation."""
    few = replace(dataset, valid=sample(dataset.valid, STAN_CASES))
    most = LONG_HISTORY_NEIGHBOURS if dataset.train.clicks > LONGEST_SESSIONS * len(dataset.train) else STAN.neighbours
    candidates = [replace(settings, neighbours=min(settings.neighbours, most)) for settings in Neighbours.CANDIDATES]
    return choose(few, [partial(SessionKnn.stan, settings=settings) for settings in candidates])[0]
