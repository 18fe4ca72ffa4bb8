"""What may be shown, against an oracle that sorts the whole catalogue and takes items by hand."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.contract.settings import AttributeSettings, LimitSettings
from model.data.catalogue import Catalogue
from model.recommender.attributes import AttributeRule
from model.recommender.limits import Limits, LimitsError, Shelf, Shown, checked, limits_of
from model.recommender.stock import Stock

CATEGORIES = ("Toys", "Books", "Old Books", "")
IDS = [f"i{number}" for number in range(30)]
CATALOGUE = Catalogue.build(IDS, IDS, [CATEGORIES[number % 4] for number in range(30)])
COUNTS = np.array([0 if number % 5 == 0 else number for number in range(30)], dtype=np.int64)
ATTRIBUTES = {
    item: {
        "price": number % 7 if number % 3 else float(number % 7),
        "language": ("en", "de", ["en", "fr"], True)[number % 4],
        **({"rare": 1} if number == 4 else {}),
    }
    for number, item in enumerate(IDS)
    if number % 6
}


class Ranking:
    """A ranking of all items by given scores, best first, under a mask."""

    def __init__(self, scores):
        self.scores, self.asked = scores, 0

    def __call__(self, mask, count):
        self.asked += 1
        order = sorted(range(len(self.scores)), key=lambda place: (-self.scores[place], place))
        return [Shown(place, self.scores[place]) for place in order if mask is None or mask[place]][:count]


limits_drawn = st.builds(
    Limits,
    category=st.sampled_from([None, "books", "toys", "Old Books"]),
    only=st.sampled_from([(), tuple(IDS[:12]), tuple(IDS[3:20])]),
    exclude=st.sets(st.sampled_from([*IDS, "nobody"]), max_size=6).map(frozenset),
    min_score=st.sampled_from([None, 0.0, 0.5]),
    per_category=st.sampled_from([None, 1, 2, 5]),
    new_share=st.sampled_from([0.0, 0.2, 0.5]),
    seed=st.integers(0, 3),
    attributes=st.sampled_from(
        [
            (),
            (AttributeRule("price", below=3),),
            (AttributeRule("price", above=1, below=5.5), AttributeRule("language", "en")),
            (AttributeRule("language", ("de", True)),),
            (AttributeRule("price", 1), AttributeRule("rare", above=0)),
        ]
    ),
)
scores_drawn = st.lists(st.integers(0, 8).map(lambda one: one / 8), min_size=30, max_size=30)


def keeps(limits, place, score, gone):
    words = CATALOGUE.categories[place].lower().split()
    wanted = (limits.category or "").lower().split()
    return (
        IDS[place] not in gone
        and IDS[place] not in limits.exclude
        and (not limits.only or IDS[place] in limits.only)
        and (not wanted or any(words[at : at + len(wanted)] == wanted for at in range(len(words))))
        and (limits.min_score is None or score >= limits.min_score)
        and all(keeps_rule(rule, IDS[place]) for rule in limits.attributes)
    )


def keeps_rule(rule, item):
    """One value of the attribute keeps the bounds, one equals a wanted one of the same kind."""
    given_value = ATTRIBUTES.get(item, {}).get(rule.name)
    parts = given_value if isinstance(given_value, list) else [] if given_value is None else [given_value]
    wanted = rule.equal if isinstance(rule.equal, tuple) else (rule.equal,)
    numbers = [part for part in parts if isinstance(part, int | float) and not isinstance(part, bool)]
    low = -math.inf if rule.above is None else rule.above
    high = math.inf if rule.below is None else rule.below
    bounded = rule.above is not None or rule.below is not None
    equal = any(
        part == one and isinstance(part, bool) == isinstance(one, bool) for part in parts for one in wanted
    )
    return (rule.equal is None or equal) and (not bounded or any(low < part < high for part in numbers))


@settings(max_examples=300, deadline=None)
@given(limits_drawn, scores_drawn, st.integers(1, 12), st.sets(st.sampled_from(IDS), max_size=8))
def test_what_is_chosen_is_exact_and_never_fewer_than_the_rules_allow(limits, scores, k, gone):
    shelf = Shelf(CATALOGUE, COUNTS, frozenset(gone), ATTRIBUTES)
    allowed = [place for place in range(30) if keeps(limits, place, scores[place], gone)]
    try:
        chosen = shelf.choose(limits, ("a", "b"), k, Ranking(scores))
    except LimitsError as error:
        assert error.reason == "no_item_left"
        without_score = [place for place in range(30) if keeps(limits, place, math.inf, gone)]
        assert not without_score
        return
    places = [one.place for one in chosen]
    assert len(set(places)) == len(places) <= k
    assert set(places) <= set(allowed)
    by_category = Counter(CATALOGUE.categories[place] for place in allowed)
    cap = limits.per_category or 30
    most = sum(number if not name else min(number, cap) for name, number in by_category.items())
    assert len(places) == min(k, most)
    shown = Counter(CATALOGUE.categories[place] for place in places if CATALOGUE.categories[place])
    assert all(number <= cap for number in shown.values())
    assert [one.score for one in chosen] == sorted((scores[place] for place in places), reverse=True)
    if not limits.new_share:
        expected, taken = [], Counter()
        for place in sorted(allowed, key=lambda one: (-scores[one], one)):
            name = CATALOGUE.categories[place]
            if len(expected) < k and (not name or taken[name] < cap):
                expected.append(place)
                taken[name] += 1
        assert places == expected
    elif limits.per_category is None:
        new = [place for place in allowed if COUNTS[place] == 0]
        wanted = min(math.ceil(limits.new_share * k - 1e-9), len(new))
        assert sum(COUNTS[place] == 0 for place in places) >= wanted


def test_the_draw_of_new_items_is_the_same_at_a_replay_and_another_for_another_session():
    shelf, scores = Shelf(CATALOGUE, COUNTS), [float(count) for count in COUNTS]
    limits = Limits(new_share=0.2, seed=7)

    def drawn(session):
        return [one.place for one in shelf.choose(limits, session, 10, Ranking(scores))]

    assert drawn(("a",)) == drawn(("a",))
    assert len({tuple(drawn((item,))) for item in IDS}) > 5


def test_without_rules_nothing_is_masked_and_one_ranking_is_enough():
    shelf, ranking = Shelf(CATALOGUE, COUNTS), Ranking([1.0] * 30)
    assert shelf.allowed(Limits()) is None
    assert len(shelf.choose(Limits(min_score=0.5), (), 10, ranking)) == 10
    assert ranking.asked == 1


@pytest.mark.parametrize(
    ("limits", "reason", "words"),
    [
        (Limits(category="Cars"), "unknown_category", "'Cars' is of no item"),
        (Limits(category="!?"), "bad_category", "no letter or digit"),
        (Limits(only=("i1", "nobody")), "unknown_items", "1 unknown item.*'nobody'"),
        (Limits(category="Toys", only=("i1",)), "no_item_left", "leave no available item"),
        (Limits(only=("i2",)), "no_item_left", "leave no available item"),
        (Limits(attributes=(AttributeRule("colour", "red"),)), "unknown_attribute", "'colour' is of no item"),
        (Limits(attributes=(AttributeRule("price", below=0),)), "no_item_left", "attribute 'price' leave no"),
    ],
)
def test_rules_that_no_item_keeps_are_refused_by_name(limits, reason, words):
    with pytest.raises(LimitsError, match=words) as refused:
        Shelf(CATALOGUE, COUNTS, frozenset({"i2"}), ATTRIBUTES).allowed(limits)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"only": ("a",), "exclude": frozenset("a")}, "contradicting_limits"),
        ({"per_category": 0}, "bad_limit"),
        ({"new_share": 1.5}, "bad_limit"),
        ({"min_score": math.nan}, "bad_limit"),
        ({"attributes": (AttributeRule("price"),)}, "bad_limit"),
        ({"attributes": (AttributeRule("price", ()),)}, "bad_limit"),
        ({"attributes": (AttributeRule("price", below=math.inf),)}, "bad_limit"),
        ({"attributes": (AttributeRule("price", below=2, above=2),)}, "contradicting_limits"),
    ],
)
def test_rules_that_make_no_sense_together_are_refused(values, reason):
    with pytest.raises(LimitsError) as refused:
        checked(Limits(**values))
    assert refused.value.reason == reason


def test_all_items_withdrawn_is_an_empty_answer():
    shelf = Shelf(CATALOGUE, COUNTS, frozenset(IDS))
    assert shelf.choose(Limits(per_category=1), (), 5, Ranking([1.0] * 30)) == []


def test_the_rules_of_the_settings_are_the_same_rules():
    given = LimitSettings(category="Toys", exclude=("a",), per_category=2)
    assert limits_of(given) == Limits(category="Toys", exclude=frozenset("a"), per_category=2)
    assert limits_of(LimitSettings()) == Limits()
    rules = {"price": AttributeSettings(below=20), "language": {"equal": ["en", "de"]}}
    assert limits_of(LimitSettings(attributes=rules)).attributes == (
        AttributeRule("price", below=20),
        AttributeRule("language", ("en", "de")),
    )


def test_masks_that_stay_true_are_kept_when_the_stock_changes():
    shelf = Shelf(CATALOGUE, COUNTS).stocked(Stock(frozenset(), ATTRIBUTES))
    limits = Limits(attributes=(AttributeRule("price", below=3),))
    before = shelf.allowed(limits)
    gone = IDS[int(np.flatnonzero(before)[0])]
    after = shelf.stocked(Stock(frozenset({gone}), ATTRIBUTES))
    assert after._of_rule is shelf._of_rule
    assert np.flatnonzero(before != after.allowed(limits)).tolist() == [IDS.index(gone)]
    dearer = after.stocked(Stock(frozenset(), {**ATTRIBUTES, gone: {"price": 9}}))
    assert not dearer.allowed(limits)[IDS.index(gone)]
