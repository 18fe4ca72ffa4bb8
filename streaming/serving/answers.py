"""Turns session prefixes into recommendations: intents, then one batched score; popularity where no model is.
Knows neither Kafka nor state.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from feature_repo.contract.messages import Intents, IntentView, RecommendedItem
from model.recommender.limits import NO_LIMITS, Limits, LimitsError

if TYPE_CHECKING:
    from model.intent.types import SessionIntent, ViewIntent
    from model.recommender.loaded_model import LoadedModel

log = logging.getLogger("intentstore.answers")
NO_MODEL = "none"
POPULAR = "popular"  # source of the reason of answers without a model
COUNTED_ITEMS = 10_000  # popularity without a model keeps no more than the most clicked
_NO_VIEW = IntentView("", [])
NO_INTENTS = Intents(_NO_VIEW, _NO_VIEW, "none")


class Answer(NamedTuple):
    """What one prefix gets: items best first, both intents, which model said so, and for each item the source
    of its reason.
    """

    items: list[RecommendedItem]
    intents: Intents
    model_version: str
    sources: tuple[str, ...] = ()


class Popularity:
    """Clicks per item, as far as this consumer saw them: the answer of last resort."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.changed = False
        self._top: list[RecommendedItem] = []
        self._top_k = 0

    def count(self, items: Sequence[str]) -> None:
        """Count one click on each."""
        counts = self.counts
        for item in items:
            counts[item] = counts.get(item, 0) + 1
        if items:
            self.changed, self._top = True, []
        if len(counts) > 2 * COUNTED_ITEMS:
            self.counts = dict(heapq.nlargest(COUNTED_ITEMS, counts.items(), key=lambda pair: pair[1]))

    def add(self, counts: Mapping[str, int]) -> None:
        """Add what was saved before."""
        for item, number in counts.items():
            self.counts[item] = self.counts.get(item, 0) + number
        self._top = []

    def top_without(self, k: int, hidden: frozenset[str]) -> list[RecommendedItem]:
        """Give the k most clicked items that are none of some."""
        if not hidden:
            return self.top(k)
        shown = [item for item in self.top(k + len(hidden)) if item.item_id not in hidden]
        return shown[:k]

    def top(self, k: int) -> list[RecommendedItem]:
        """Give the k most clicked items; ties by id, so that the answer does not depend on the order of
        arrival.
        """
        if not self._top or self._top_k != k:
            best = heapq.nsmallest(k, self.counts.items(), key=lambda pair: (-pair[1], pair[0]))
            self._top, self._top_k = (
                [RecommendedItem(item, float(number), "popular") for item, number in best],
                k,
            )
        return self._top


class Answerer:
    """Answers batches of prefixes with the model in use.

    Parameters
    ----------
    model : callable
        Gives the loaded model, or None while there is none.
    popularity : Popularity
        Answers while there is none.
    k : int
        Items an answer holds at most.
    shadow : LoadedModel, optional
        Scored beside and compared; never answered from.
    limits : Limits
        What may be shown, whatever the session.
    withdrawn : callable, optional
        Gives the items that are not available, for answers without a model.
    on_failure : callable, optional
        Called with the number of prefixes that a model failed on.
    on_shadow : callable, optional
        Called with the share of each answer's items that the shadow model gives too.
    """

    def __init__(
        self,
        model: Callable[[], LoadedModel | None],
        popularity: Popularity,
        k: int,
        shadow: LoadedModel | None = None,
        *,
        limits: Limits = NO_LIMITS,
        withdrawn: Callable[[], frozenset[str]] = frozenset,
        on_failure: Callable[[int], object] = lambda prefixes: None,
        on_shadow: Callable[[float], object] = lambda overlap: None,
    ) -> None:
        self._model, self.popularity, self._k, self._shadow = model, popularity, k, shadow
        self._limits, self._withdrawn = limits, withdrawn
        self._on_failure, self._on_shadow = on_failure, on_shadow
        self._said = ""

    def __call__(
        self, prefixes: Sequence[Sequence[str]], ended: Sequence[Sequence[str]] | None = None
    ) -> list[Answer]:
        """Answer each prefix.

        Parameters
        ----------
        prefixes : sequence of sequences of str
            Item ids of a session, oldest first, each not empty.
        ended : sequence of sequences of str, optional
            Items whose interest ended in the session, such as by a purchase; they are not in its answer.

        Returns
        -------
        list of Answer
            In the same order. Without a model, or when it fails: the most clicked items, version ``none``.
        """
        model = self._model()
        limits = [self._limits.without(items) for items in ended or [()] * len(prefixes)]
        if model is None or not prefixes:
            return self._popular(limits)
        try:
            answers = self._with(model, prefixes, limits)
        except LimitsError as error:
            # a rule of the settings that no item keeps: nothing may be shown, and somebody must look
            if str(error) != self._said:
                self._said = str(error)
                log.error("streaming.limits cannot be kept (%s); answers are empty", error)
            self._on_failure(len(prefixes))
            return [Answer([], NO_INTENTS, model.version) for _ in prefixes]
        except Exception:
            # Whatever is wrong inside a model, a click is answered; the counter and its alarm make sure that
            # somebody looks.
            log.exception(
                "model %s failed on %d prefixes; answered by popularity", model.version, len(prefixes)
            )
            self._on_failure(len(prefixes))
            return self._popular(limits)
        if self._shadow is not None:
            self._compare(self._shadow, prefixes, limits, answers)
        return answers

    def _popular(self, limits: Sequence[Limits]) -> list[Answer]:
        gone = self._withdrawn()
        found = [self.popularity.top_without(self._k, one.exclude | gone) for one in limits]
        return [Answer(items, NO_INTENTS, NO_MODEL, (POPULAR,) * len(items)) for items in found]

    def _with(
        self, model: LoadedModel, prefixes: Sequence[Sequence[str]], limits: Sequence[Limits]
    ) -> list[Answer]:
        answers = []
        for scored, intent in model.recommend(prefixes, self._k, limits):
            items = list(map(RecommendedItem, scored.items, scored.scores, scored.reasons))
            wire = NO_INTENTS if intent is None else on_the_wire(intent)
            answers.append(Answer(items, wire, model.version, scored.sources))
        return answers

    def _compare(
        self,
        shadow: LoadedModel,
        prefixes: Sequence[Sequence[str]],
        limits: Sequence[Limits],
        answers: Sequence[Answer],
    ) -> None:
        try:
            theirs = self._with(shadow, prefixes, limits)
        except Exception:
            log.exception("shadow model %s failed; the answers are not touched by it", shadow.version)
            return
        for mine, other in zip(answers, theirs, strict=True):
            ours = {item.item_id for item in mine.items}
            self._on_shadow(len(ours & {item.item_id for item in other.items}) / max(len(ours), 1))


def on_the_wire(intent: SessionIntent) -> Intents:
    """Give an intent as it goes over the wire."""
    return Intents(_view(intent.long), _view(intent.short), intent.source)


def _view(view: ViewIntent) -> IntentView:
    return IntentView(view.text, list(view.items), view.name, list(view.shown))
