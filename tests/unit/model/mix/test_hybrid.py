"""The hybrid score: probabilities, weights by validation, switchable parts, shares, saving, new items."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from model.data.catalogue import Catalogue
from model.data.sequences import Sequences, without_targets
from model.data.splits import Dataset, leave_one_out
from model.evaluate.judge import evaluate
from model.mix import KINDS, applicable
from model.mix.hybrid import NETWORK, Hybrid
from model.mix.pool import pool
from model.mix.weights import search
from model.rankers.plan import Asked
from model.rankers.tables import GivenTable

ITEMS = 30
AUTO = SimpleNamespace(parts=None, remove_seen=None)


@pytest.fixture(scope="module")
def made():
    """Items go in a circle: after i comes i + 1; titles name the neighbours too."""
    rng = np.random.default_rng(0)
    sessions = [[(start + step) % ITEMS for step in range(6)] for start in rng.integers(0, ITEMS, 120)]
    parts = leave_one_out(Sequences.of(sessions))
    angle = 2 * np.pi * np.arange(ITEMS) / ITEMS
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    catalogue = Catalogue(
        [str(place) for place in range(ITEMS)],
        [f"part{place // 3} thing" for place in range(ITEMS)],
        [""] * ITEMS,
        vectors,
    )
    valid = parts.valid.with_intents(vectors[parts.valid.targets], vectors[parts.valid.targets])
    test = parts.test.with_intents(vectors[parts.test.targets], vectors[parts.test.targets])
    return Dataset(
        "circle",
        "leave-one-out",
        catalogue,
        parts.train,
        valid,
        test,
        validation_sequences=parts.validation_sequences,
    )


def uniform(cases):
    return np.full((len(cases), ITEMS), 1 / ITEMS, dtype=np.float32)


def perfect(cases):
    return np.eye(ITEMS, dtype=np.float32)[cases.targets]


def test_every_part_gives_probabilities_or_nothing(made):
    assert set(applicable(made)) == set(KINDS) - {"categories"}  # there are none
    assert "repeats" not in applicable(made, "removed")
    for name in KINDS:
        found = KINDS[name].fit(made).probabilities(made.test)
        sums = found.sum(axis=1)
        assert (found >= 0).all()
        assert np.all(np.isclose(sums, 1, atol=1e-4) | (sums == 0)) or (
            name == "repeats" and (sums <= 1).all()
        ), name


def test_a_network_that_knows_all_keeps_all_the_weight(made):
    hybrid = Hybrid.fit(made, perfect, SimpleNamespace(parts=("popular",), remove_seen=None))
    assert hybrid.weights[NETWORK] == 1
    assert not hybrid.parts
    assert np.allclose(hybrid.scores(made.test, perfect(made.test)), perfect(made.test))


def test_a_network_that_adds_nothing_proven_is_left_out(made):
    found = Hybrid.fit(made, uniform, AUTO)
    assert found.weights[NETWORK] == 0
    blend = Hybrid.fit(made, None, AUTO)
    assert {name for name, weight in found.weights.items() if weight} == {
        name for name, weight in blend.weights.items() if weight
    }


def test_parts_take_over_from_a_network_that_knows_nothing(made):
    hybrid = Hybrid.fit(made, uniform, AUTO)
    assert sum(hybrid.weights.values()) == pytest.approx(1, abs=1e-3)
    alone = (
        evaluate(hybrid.without(next(iter(hybrid.parts))).ranker(uniform, "x"), made.test)
        if len(hybrid.parts) > 1
        else None
    )
    assert alone is None or alone.removed.ranks.mean() >= 1
    assert (
        evaluate(hybrid.ranker(uniform, "hybrid"), made.test).metrics("removed", samples=0)["R@5"].mean > 0.9
    )


def test_intents_retrieve_where_nothing_else_knows(made):
    config = SimpleNamespace(parts=("intents",), remove_seen=True)
    hybrid = Hybrid.fit(made, uniform, config)
    assert hybrid.weights["intents"] > 0
    assert evaluate(hybrid.ranker(uniform, "x"), made.test).removed.ranks.mean() < 3


def test_a_case_without_intents_is_left_to_the_others(made):
    hybrid = Hybrid.fit(made, uniform, SimpleNamespace(parts=("intents",), remove_seen=True))
    bare = made.test.with_intents(None, None)
    assert np.allclose(hybrid.scores(bare, uniform(bare)), hybrid.weights[NETWORK] * uniform(bare))


def test_shares_sum_to_one_and_show_the_strongest(made):
    hybrid = Hybrid({NETWORK: 0.1, "transitions": 0.9}, {"transitions": KINDS["transitions"].fit(made)})
    items = np.array([[(made.test.prefixes[row][-1] + 1) % ITEMS, 17] for row in range(len(made.test))])
    found = hybrid.mixer(GivenTable(uniform(made.test))).shares(Asked.of(made.test), items)
    assert np.allclose(sum(found.values()), 1, atol=1e-4)
    assert (found["transitions"][:, 0] > found[NETWORK][:, 0]).all()


def test_saved_and_restored_scores_are_equal_and_new_items_fit_in(made):
    parts = {name: kind.fit(made) for name, kind in KINDS.items()}
    hybrid = Hybrid(dict.fromkeys([NETWORK, *parts], 1 / 7), parts)
    settings, arrays = hybrid.state()
    again = Hybrid.restore(settings, arrays, made.catalogue)
    assert np.allclose(
        again.scores(made.test, uniform(made.test)), hybrid.scores(made.test, uniform(made.test)), atol=1e-6
    )
    old = made.catalogue
    grown = Catalogue(
        [*old.item_ids, "new"],
        [*old.titles, "part1 thing"],
        [*old.categories, ""],
        np.concatenate([old.vectors, old.vectors[[4]]]),
    )
    found = Hybrid.restore(settings, arrays, grown).scores(without_targets(Sequences.of([[2, 3]])), None)
    assert found.shape == (1, ITEMS + 1)
    assert found[0, ITEMS] > 0


def test_saved_part_of_another_version_is_refused(made):
    with pytest.raises(ValueError, match="'stars' of the saved hybrid score is unknown"):
        Hybrid.restore({"weights": {"network": 0.5, "stars": 0.5}}, {}, made.catalogue)


def test_unknown_part_is_named(made):
    with pytest.raises(ValueError, match="part 'stars' of the hybrid score is unknown"):
        Hybrid.fit(made, uniform, SimpleNamespace(parts=("stars",), remove_seen=None))


def test_refit_learns_the_validation_items(made):
    parts = {name: KINDS[name].fit(made) for name in ("transitions", "neighbours", "items", "sequels")}
    again = Hybrid(dict.fromkeys(parts, 1 / 4), parts).refit(made.refit())
    assert (
        again.parts["transitions"].ranker.transitions.sum() != parts["transitions"].ranker.transitions.sum()
    )
    assert again.parts["sequels"].ranker.name == "SLIT"
    assert not np.array_equal(again.parts["sequels"].ranker.weights, parts["sequels"].ranker.weights)
    assert again.parts["neighbours"].ranker.sessions.clicks > parts["neighbours"].ranker.sessions.clicks


def test_only_source_cannot_be_switched_off(made):
    with pytest.raises(ValueError, match="only source"):
        Hybrid({"words": 1.0}, {"words": KINDS["words"].fit(made)}).without("words")


def test_no_texts_leave_the_text_parts_out(made):
    bare = made.with_catalogue(Catalogue.build(made.catalogue.item_ids))
    assert applicable(bare, "removed") == (
        "transitions",
        "neighbours",
        "cosines",
        "items",
        "sequels",
        "popular",
    )


def test_search_finds_the_better_source():
    cases = without_targets(Sequences.of([[0, 1]] * 50))
    cases.targets[:] = 2

    def right(part):
        return np.tile(np.array([[0, 0, 0.7, 0.3]], dtype=np.float32), (len(part), 1))

    def wrong(part):
        return np.tile(np.array([[0, 0, 0.3, 0.7]], dtype=np.float32), (len(part), 1))

    found = search(pool({"network": wrong, "words": right}, cases, "removed"))
    assert found.weights["words"] > 0.5


def test_rows_of_sources_that_know_nothing_are_zero(made):
    lonely = made.with_catalogue(Catalogue.build(made.catalogue.item_ids, ["?"] * ITEMS))
    assert not KINDS["words"].fit(lonely).probabilities(made.test).any()
    sums = KINDS["transitions"].fit(made).probabilities(made.test).sum(axis=1)
    assert np.allclose(sums[sums > 0], 1.0)


COUNTS = np.where(np.arange(ITEMS) == 4, 0, 9)


def test_items_with_few_clicks_are_mixed_by_their_trust_and_the_others_as_before(made):
    parts = {name: KINDS[name].fit(made) for name in ("transitions", "words")}
    weights = {NETWORK: 0.6, "transitions": 0.2, "words": 0.2}
    network = uniform(made.test)
    without = Hybrid(weights, parts).scores(made.test, network)
    with_ = Hybrid(weights, parts, COUNTS, (1.0, -1.0)).scores(made.test, network)
    assert np.allclose(np.delete(with_, 4, axis=1), np.delete(without, 4, axis=1))
    assert not np.allclose(with_[:, 4], without[:, 4])


def test_shares_of_an_item_without_clicks_follow_its_trust(made):
    parts = {"words": KINDS["words"].fit(made)}
    weights = {NETWORK: 0.5, "words": 0.5}
    items, asked = np.array([[4, 5]] * len(made.test)), Asked.of(made.test)
    network = GivenTable(uniform(made.test))
    plain = Hybrid(weights, parts).mixer(network).shares(asked, items)["words"]
    cold = Hybrid(weights, parts, COUNTS, (2.0, 0.0)).mixer(network).shares(asked, items)["words"]
    assert (cold[:, 0] > plain[:, 0]).any() and np.allclose(cold[:, 1], plain[:, 1])


def test_items_that_join_later_have_no_click(made):
    parts = {"words": KINDS["words"].fit(made)}
    settings, arrays = Hybrid({NETWORK: 0.5, "words": 0.5}, parts, COUNTS, (1.0, 0.0)).state()
    old = made.catalogue
    grown = Catalogue([*old.item_ids, "new"], [*old.titles, "part1 thing"], [*old.categories, ""], None)
    again = Hybrid.restore(settings, arrays, grown)
    assert again.trust == (1.0, 0.0) and np.flatnonzero(again.counts == 0).tolist() == [4, ITEMS]
    older = {name: value for name, value in arrays.items() if name != "cold/counts"}
    assert Hybrid.restore({"weights": {NETWORK: 0.5, "words": 0.5}}, older, grown).cold_mix is None


def test_trust_is_learned_from_hidden_items_where_validation_has_no_new_ones(made):
    def blind(counts):
        assert (counts == 0).sum() >= ITEMS // 5
        return uniform

    found = Hybrid.fit(
        made, uniform, SimpleNamespace(parts=("transitions", "words"), remove_seen=True), blind=blind
    )
    assert found.counts.tolist() == np.minimum(made.item_counts, 5).tolist()
    assert found.weights["words"] == 0 or found.trust[0] > found.trust[1]


def test_no_validation_case_lets_every_source_answer(made):
    bare = made.refit()
    found = Hybrid.fit(bare, uniform, SimpleNamespace(parts=None, remove_seen=None))
    weights = set(found.weights.values()) - {0.0}
    assert len(weights) == 1 and found.weights["transitions"] > 0
    assert found.weights["network"] == found.weights.get("intents", 0.0) == 0.0


def test_validation_that_no_source_answers_is_as_good_as_none(made):
    cases = without_targets(Sequences.of([[0, 1]] * 5))

    def silent(part):
        return np.zeros((len(part), 4), dtype=np.float32)

    found = search(pool({"network": silent, "popular": silent, "intents": silent}, cases, "removed"))
    assert found.weights == {"network": 0.0, "popular": 1.0, "intents": 0.0}
