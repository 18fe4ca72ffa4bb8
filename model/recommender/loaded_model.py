"""A model folder in memory that answers sessions: intents, then scores. Consumer, HTTP side and command line
all ask it; it knows none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

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
    """

    scorer: Scorer
    intents: IntentReader | None
    path: Path

    @property
    def version(self) -> str:
        """Name of the model version, as answers carry it."""
        return self.scorer.version

    def recommend(self, prefixes: Sequence[Sequence[str]], k: int) -> list[Recommended]:
        """Answer sessions: the one way from a prefix to its items.

        Parameters
        ----------
        prefixes : sequence of sequences of str
            Item ids, oldest click first; unknown ids are passed over.
        k : int
            Items wanted, at least one.

        Returns
        -------
        list of Recommended
            One a prefix, in order.

        Raises
        ------
        ValueError
            If k is below 1, or an intent vector does not fit the model.
        """
        if self.intents is None:
            requests = [request_of(items, None) for items in prefixes]
            return [Recommended(scored, None) for scored in self.scorer.score(requests, k)]
        intents = self.intents.infer(prefixes)
        requests = [request_of(items, intent) for items, intent in zip(prefixes, intents, strict=True)]
        scored = self.scorer.score(requests, k)
        return [Recommended(*answer) for answer in zip(scored, intents, strict=True)]


def request_of(items: Sequence[str], intent: SessionIntent | None) -> ScoreRequest:
    """Put a prefix and its intent together, as the scorer takes them."""
    from model.recommender.recommender import ScoreRequest

    if intent is None:
        return ScoreRequest(items)
    return ScoreRequest(items, intent.long.vector, intent.short.vector)


def load_model(settings: Settings, path: Path) -> LoadedModel:
    """Load a model folder with its intents, and the new items beside it.

    Parameters
    ----------
    settings : Settings
        For the intents and their cache.
    path : Path
        Folder of one model version.

    Raises
    ------
    model.recommender.artifact.ArtifactError
        If the folder is no whole model.
    """
    from model.intent.ground.live import LiveIntents
    from model.recommender import new_items

    scorer = new_items.load(path)
    model = LoadedModel(scorer, LiveIntents.load(settings, path, scorer.catalogue), path)
    # the first call pays for what is built, read or compiled lazily
    scorer.warm()
    model.recommend([[], scorer.item_ids[:2]], 1)
    return model
