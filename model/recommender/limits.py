"""What may be shown: rules over a catalogue as one mask, and the choice among ranked items that keeps the
rest of them. Pure; knows no network, no topic and no request.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from feature_repo.contract.categories import Categories, CategoryError
from feature_repo.contract.items.messages import Attributes
from feature_repo.contract.settings import LimitSettings
from model.data.catalogue import Catalogue
from model.recommender.attributes import AttributeRule, Column
from model.recommender.stock import Stock

SHOWN_IDS = 3  # of unknown ids in a message
MOST_MASKS = 256  # of categories, and of attributes, that are remembered; requests may name any words
DRAWN_AT_ONCE = 64
Mask = NDArray[np.bool_]


class LimitsError(ValueError):
    """Rules that cannot be kept; one line that names the rule, its value and the remedy.

    Attributes
    ----------
    reason : str
        Short code for answers, such as ``unknown_items``.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True)
class Limits:
    """Rules of one answer; they hold before the best k are taken.

    Attributes
    ----------
    category : str or None
        Only items of this category: whole words, in any case, as everywhere.
    only : tuple of str
        Only these ids; empty = all.
    exclude : frozenset of str
        Never these; ids that nobody knows are passed over.
    min_score : float or None
        Only items with at least this score.
    per_category : int or None
        At most so many items of one category; items without one are not bounded.
    new_share : float
        At least this share of the answer, rounded up, are items without a training click, drawn by `seed` and
        the session; 0 = none is asked for.
    seed : int
    attributes : tuple of AttributeRule
        Only items that keep all of them.
    """

    category: str | None = None
    only: tuple[str, ...] = ()
    exclude: frozenset[str] = frozenset()
    min_score: float | None = None
    per_category: int | None = None
    new_share: float = 0.0
    seed: int = 0
    attributes: tuple[AttributeRule, ...] = ()

    def without(self, ended: Sequence[str]) -> Limits:
        """Return the same rules without some more items, such as those that were bought."""
        return replace(self, exclude=self.exclude | set(ended)) if ended else self

    @property
    def chooses(self) -> bool:
        """Whether a mask alone does not keep them."""
        return self.min_score is not None or self.per_category is not None or self.new_share > 0


NO_LIMITS = Limits()


@dataclass(frozen=True)
class Shown:
    """One item of a ranking: its place in the catalogue and its score."""

    place: int
    score: float


@dataclass(frozen=True)
class Shelf:
    """A catalogue as rules look at it.

    Parameters
    ----------
    catalogue : Catalogue
    counts : ndarray int64, shape (n_items,)
        Training clicks; items without one are new.
    withdrawn : frozenset of str
        Items that are not available: never shown.
    attributes : mapping of str to attributes
        By item; of those that have any.
    """

    catalogue: Catalogue
    counts: NDArray[np.int64]
    withdrawn: frozenset[str] = frozenset()
    attributes: Mapping[str, Attributes] = field(default_factory=dict)
    _of_category: dict[str, Mask] = field(default_factory=dict, compare=False, repr=False)
    _of_rule: dict[AttributeRule, Mask] = field(default_factory=dict, compare=False, repr=False)
    _columns: dict[str, Column] = field(default_factory=dict, compare=False, repr=False)

    def stocked(self, stock: Stock) -> Shelf:
        """Give the same catalogue with what is available now; masks that stay true are kept."""
        if stock.attributes is self.attributes:
            return replace(self, withdrawn=stock.withdrawn)
        return replace(self, withdrawn=stock.withdrawn, attributes=stock.attributes, _of_rule={}, _columns={})

    @cached_property
    def available(self) -> Mask:
        """Which items may be shown at all, bool, shape (n_items,)."""
        mask = np.ones(len(self.catalogue), dtype=bool)
        mask[self.catalogue.known(list(self.withdrawn))] = False
        return mask

    @cached_property
    def _categories(self) -> Categories:
        return Categories(self.catalogue.categories)

    def allowed(self, limits: Limits) -> Mask | None:
        """Give the items that the rules allow; the one meaning of category, only and exclude.

        Parameters
        ----------
        limits : Limits

        Returns
        -------
        ndarray bool, shape (n_items,), or None
            None = every item.

        Raises
        ------
        LimitsError
            An unknown category, id of `only` or attribute, or rules that leave no item.
        """
        narrowed = limits.category is not None or bool(limits.only) or bool(limits.attributes)
        if not narrowed and not limits.exclude and not self.withdrawn:
            return None
        mask = self.available.copy()
        if limits.category is not None:
            mask &= self._in_category(limits.category)
        if limits.only:
            mask &= self._only(limits.only)
        for rule in limits.attributes:
            mask &= self._keeping(rule)
        mask[self.catalogue.known(list(limits.exclude))] = False
        if narrowed and not mask.any():
            raise LimitsError("no_item_left", f"{_said(limits)} leave no available item; widen them")
        return mask

    def _in_category(self, category: str) -> Mask:
        found = self._of_category.get(category)
        if found is None:
            try:
                places = self._categories.places(category)
            except CategoryError as error:
                raise LimitsError("bad_category", str(error)) from None
            if not len(places):
                raise LimitsError(
                    "unknown_category",
                    f"category {category[:60]!r} is of no item; GET /v1/items shows categories",
                )
            found = np.zeros(len(self.catalogue), dtype=bool)
            found[places] = True
            if len(self._of_category) < MOST_MASKS:
                self._of_category[category] = found
        return found

    def _keeping(self, rule: AttributeRule) -> Mask:
        found = self._of_rule.get(rule)
        if found is None:
            column = self._columns.get(rule.name) or Column(
                self.catalogue.item_ids, self.attributes, rule.name
            )
            if column.empty:
                raise LimitsError(
                    "unknown_attribute",
                    f"attribute {rule.name[:60]!r} is of no item; GET /v1/items?id= shows them",
                )
            self._columns[rule.name] = column
            found = column.mask(rule)
            if len(self._of_rule) < MOST_MASKS:
                self._of_rule[rule] = found
        return found

    def _only(self, ids: Sequence[str]) -> Mask:
        unknown = [item for item in ids if item not in self.catalogue.index]
        if unknown:
            shown = ", ".join(repr(item[:60]) for item in unknown[:SHOWN_IDS])
            raise LimitsError(
                "unknown_items",
                f"only names {len(unknown)} unknown item(s), such as {shown}; name items of the catalogue",
            )
        mask = np.zeros(len(self.catalogue), dtype=bool)
        mask[self.catalogue.known(list(ids))] = True
        return mask

    def choose(
        self,
        limits: Limits,
        session: Sequence[str],
        k: int,
        ranked: Callable[[Mask | None, int], Sequence[Shown]],
    ) -> list[Shown]:
        """Take the best k that keep the rules which no mask can say.

        Parameters
        ----------
        limits : Limits
        session : sequence of str
            Draws the new items, together with the seed, so that a replay shows the same.
        k : int
        ranked : callable
            Gives the best items of a mask, best first; fewer than asked for only where there are no more.

        Returns
        -------
        list of Shown
            Best first; as many as the rules allow, up to k.
        """
        mask = self.allowed(limits)
        kept = _Kept(limits, self.catalogue.categories, k)
        if limits.new_share > 0:
            for one in self._drawn(limits, session, k, mask, ranked):
                kept.offer(one)
        ask, seen = (k if limits.per_category is None else 2 * k), 0
        while True:
            best = ranked(mask, ask)
            for one in best[seen:]:
                kept.offer(one)
            low = limits.min_score is not None and bool(best) and best[-1].score < limits.min_score
            if kept.full or low or len(best) < ask or ask >= len(self.catalogue):
                return kept.in_order()
            seen, ask = len(best), min(4 * ask, len(self.catalogue))

    def _drawn(
        self,
        limits: Limits,
        session: Sequence[str],
        k: int,
        mask: Mask | None,
        ranked: Callable[[Mask | None, int], Sequence[Shown]],
    ) -> list[Shown]:
        """Draw the new items that the share asks for, where the ranking does not have them."""
        wanted = math.ceil(limits.new_share * k - 1e-9)
        fresh = self.counts == 0
        there = [one for one in ranked(mask, k) if fresh[one.place]][:wanted]
        others = np.flatnonzero(fresh if mask is None else fresh & mask)
        words = "\x1f".join((str(limits.seed), *session)).encode("utf-8", "replace")
        np.random.default_rng(zlib.crc32(words)).shuffle(others)
        known = {one.place for one in there}
        kept = _Kept(limits, self.catalogue.categories, wanted)
        for one in there:
            kept.offer(one)
        for start in range(0, len(others), DRAWN_AT_ONCE):
            if kept.full:
                break
            part = [place for place in others[start : start + DRAWN_AT_ONCE].tolist() if place not in known]
            only = np.zeros(len(self.catalogue), dtype=bool)
            only[part] = True
            scores = {one.place: one for one in ranked(only, len(part))} if part else {}
            for place in part:
                if place in scores:  # not one of the session's own
                    kept.offer(scores[place])
        return kept.in_order()


class _Kept:
    """What was taken so far, with how many of each category."""

    def __init__(self, limits: Limits, categories: Sequence[str], k: int) -> None:
        self._limits, self._categories, self._k = limits, categories, k
        self._taken: dict[int, Shown] = {}
        self._of: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        return len(self._taken) >= self._k

    def offer(self, one: Shown) -> None:
        """Take an item unless the answer is full, has it, or a rule forbids it."""
        limits = self._limits
        if self.full or one.place in self._taken:
            return
        if limits.min_score is not None and one.score < limits.min_score:
            return
        category = self._categories[one.place]
        if limits.per_category is not None and category:
            if self._of[category] >= limits.per_category:
                return
            self._of[category] += 1
        self._taken[one.place] = one

    def in_order(self) -> list[Shown]:
        """Return them by score, at equal scores by their place in the catalogue."""
        return sorted(self._taken.values(), key=lambda one: (-one.score, one.place))


def _said(limits: Limits) -> str:
    words = [f"category {limits.category!r}"] if limits.category is not None else []
    words += [f"only ({len(limits.only)} ids)"] if limits.only else []
    words += [f"attribute {rule.name[:60]!r}" for rule in limits.attributes]
    words += [f"exclude ({len(limits.exclude)} ids)"] if limits.exclude else []
    return " and ".join(words)


def limits_of(settings: LimitSettings) -> Limits:
    """Take the rules of every answer from the settings.

    Raises
    ------
    LimitsError
        They contradict each other.
    """
    rules = tuple(
        AttributeRule(name, one.equal, one.below, one.above) for name, one in settings.attributes.items()
    )
    values = settings.model_dump(exclude={"attributes"})
    return checked(Limits(**values | {"exclude": frozenset(settings.exclude), "attributes": rules}))


def checked(limits: Limits) -> Limits:
    """Return rules that make sense together.

    Raises
    ------
    LimitsError
        A value out of its range, or rules that contradict each other.
    """
    both = sorted(set(limits.only) & limits.exclude)
    if both:
        raise LimitsError(
            "contradicting_limits", f"item {both[0][:60]!r} stands in only and in exclude; take it out of one"
        )
    if limits.per_category is not None and limits.per_category < 1:
        raise LimitsError(
            "bad_limit", f"per_category = {limits.per_category}; allow at least one item of a category"
        )
    if not 0 <= limits.new_share <= 1:
        raise LimitsError("bad_limit", f"new_share = {limits.new_share}; give a share from 0 to 1")
    if limits.min_score is not None and not math.isfinite(limits.min_score):
        raise LimitsError("bad_limit", f"min_score = {limits.min_score}; give a finite number")
    for rule in limits.attributes:
        if problem := rule.problem():
            raise LimitsError("bad_limit", problem)
        if rule.contradicts:
            raise LimitsError(
                "contradicting_limits",
                f"attribute {rule.name[:60]!r}: nothing is below {rule.below} and above {rule.above}",
            )
    return limits
