"""A model folder in memory that answers sessions: intents, then scores. Consumer, HTTP side and command line
all ask it; it knows none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from model.recommender.limits import NO_LIMITS, Limits, Mask, Shelf, Shown
from model.recommender.stock import Stock, Stocks, file_of

if TYPE_CHECKING:
    from feature_repo.contract.settings import Settings
    from model.intent.types import SessionIntent
    from model.recommender.reasons import Scored
    from model.recommender.recommender import Scorer, ScoreRequest


class IntentReader(Protocol):
    """What infers the two intents of a session from its item ids, without an LLM call."""

    def infer(self, prefixes: Sequence[Sequence[str]]) -> list[SessionIntent]:
        """Give one pair of intents a prefix."""


class Recommended(NamedTuple):
    """What one prefix gets.

    Attributes
    ----------
    scored : Scored
        Items with scores and reasons, best first.
    intent : SessionIntent or None
        Both views; None where the model reads no intents.
    """

    scored: Scored
    intent: SessionIntent | None


class Shelves:
    """A model's catalogue with what is available now; made anew only when that changes.

    Parameters
    ----------
    scorer : Scorer
    stocks : Stocks
        Is followed.
    """

    def __init__(self, scorer: Scorer, stocks: Stocks) -> None:
        self.stocks = stocks
        self._made: tuple[Stock | None, Shelf] = None, Shelf(scorer.catalogue, scorer.counts)

    def now(self) -> Shelf:
        """Give the shelf of this moment."""
        stock, (made_of, shelf) = self.stocks.now(), self._made
        if stock is not made_of:
            shelf = shelf.stocked(stock)
            self._made = stock, shelf  # exchanged as one, so that no request meets half of each
        return shelf


class LoadedModel(NamedTuple):
    """A model folder in memory; exchanged as one, so that no request meets half of each.

    Attributes
    ----------
    scorer : Scorer
        Network and sources.
    intents : IntentReader or None
        None = scored without intents.
    path : Path
        Its folder.
    shelves : Shelves or None
        What is available now; None = everything.
    """

    scorer: Scorer
    intents: IntentReader | None
    path: Path
    shelves: Shelves | None = None

    @property
    def version(self) -> str:
        """Name of the model version, as answers carry it."""
        return self.scorer.version

    def shelf(self) -> Shelf:
        """Give the catalogue as rules look at it, with what is available now."""
        if self.shelves is None:
            return Shelf(self.scorer.catalogue, self.scorer.counts)
        return self.shelves.now()

    def recommend(
        self, prefixes: Sequence[Sequence[str]], k: int, limits: Sequence[Limits] | None = None
    ) -> list[Recommended]:
        """Answer sessions: the one way from a prefix to its items.

        Parameters
        ----------
        prefixes : sequence of sequences of str
            Item ids, oldest click first; unknown ids are passed over.
        k : int
            Items wanted, at least one.
        limits : sequence of Limits, optional
            What may be shown, one a prefix; none = everything that is available.

        Returns
        -------
        list of Recommended
            One a prefix, in order.

        Raises
        ------
        ValueError
            If k is below 1, or an intent vector does not fit the model.
        LimitsError
            Rules that cannot be kept; see ``Shelf.allowed``.
        """
        rules = [NO_LIMITS] * len(prefixes) if limits is None else limits
        everything = self.shelves is None and all(one is NO_LIMITS for one in rules)
        shelf = None if everything else self.shelf()
        # what a mask cannot say alone is chosen below, with its own
        masks = [None if shelf is None or one.chooses else shelf.allowed(one) for one in rules]
        intents = [None] * len(prefixes) if self.intents is None else self.intents.infer(prefixes)
        requests = [request_of(*parts) for parts in zip(prefixes, intents, masks, strict=True)]
        plain = [place for place, one in enumerate(rules) if not one.chooses]
        found = dict(zip(plain, self.scorer.score([requests[place] for place in plain], k), strict=True))
        for place, one in enumerate(rules):
            if shelf is not None and one.chooses:
                found[place] = _chosen(self.scorer, shelf, requests[place], one, k)
        return [Recommended(found[place], intent) for place, intent in enumerate(intents)]


def request_of(
    items: Sequence[str], intent: SessionIntent | None, allowed: Mask | None = None
) -> ScoreRequest:
    """Put a prefix, its intent and the items that may be shown together, as the scorer takes them."""
    from model.recommender.recommender import ScoreRequest

    if intent is None:
        return ScoreRequest(items, allowed=allowed)
    return ScoreRequest(items, intent.long.vector, intent.short.vector, allowed)


def _chosen(scorer: Scorer, shelf: Shelf, request: ScoreRequest, limits: Limits, k: int) -> Scored:
    """Answer one session by rules that no mask can say."""
    from model.recommender.reasons import Scored

    known: dict[int, tuple[str, float, str, str, str]] = {}
    place_of = scorer.catalogue.index

    def ranked(mask: Mask | None, count: int) -> list[Shown]:
        best = scorer.score([replace(request, allowed=mask)], count)[0]
        sources = best.sources or ("",) * len(best.items)
        rows = list(zip(best.items, best.scores, best.reasons, best.because, sources, strict=True))
        known.update({place_of[row[0]]: row for row in rows})
        return [Shown(place_of[row[0]], row[1]) for row in rows]

    rows = [known[one.place] for one in shelf.choose(limits, request.items, k, ranked)]
    return Scored(*zip(*rows, strict=True)) if rows else Scored((), (), (), ())


def load_model(settings: Settings, path: Path, stocks: Stocks | None = None) -> LoadedModel:
    """Load a model folder with its intents, and the new items beside it.

    Parameters
    ----------
    settings : Settings
        For the intents and their cache.
    path : Path
        Folder of one model version.
    stocks : Stocks, optional
        What is available; none = as the lake knows it.

    Raises
    ------
    model.recommender.artifact.ArtifactError
        If the folder is no whole model.
    """
    from model.intent.ground.live import LiveIntents
    from model.recommender import new_items

    scorer = new_items.load(path)
    intents = LiveIntents.load(settings, path, scorer.catalogue)
    model = LoadedModel(scorer, intents, path, Shelves(scorer, stocks or Stocks(file_of(settings))))
    # the first call pays for what is built, read or compiled lazily
    scorer.warm()
    model.recommend([[], scorer.item_ids[:2]], 1)
    return model
