"""Like titles stand in for items without a click: in the transitions, in the network's vectors, and for items
that join later.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from model.data.catalogue import Catalogue
from model.data.sequences import Sequences, without_targets
from model.data.splits import Dataset, leave_one_out
from model.mix.counts import Transitions, with_stand_ins
from model.network.cold_items import by_stand_ins
from model.rankers.plan import Asked, Plan
from model.text.stand_ins import NEAREST, stand_ins

TITLES = ["red shoe", "blue hat", "green scarf", "red shoe large", ""]


def dataset() -> Dataset:
    """Who clicks the red shoe goes on to the blue hat, and from the scarf to the shoe; nobody clicks the
    large shoe.
    """
    parts = leave_one_out(Sequences.of([[2, 0, 1, 2, 0, 1]] * 6))
    return Dataset(
        "shop",
        "leave-one-out",
        Catalogue.build([str(place) for place in range(5)], TITLES),
        parts.train,
        parts.valid,
        parts.test,
    )


def test_shares_sum_to_one_and_name_clicked_items_only() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcdefghij"), 4)) for _ in range(40)]
    clicked = np.arange(40) >= 10
    found = stand_ins(texts, np.arange(10), clicked)
    assert np.allclose(found.sum(axis=1)[:10], 1) and found[10:].nnz == 0
    assert not set(found.indices) & set(range(10)) and np.diff(found.indptr).max() <= NEAREST


def test_no_common_word_or_no_text_has_no_stand_in() -> None:
    clicked = np.array([True, False, False])
    assert stand_ins(["red shoe", "blue hat", ""], np.array([1, 2]), clicked).nnz == 0
    assert stand_ins(["", "", ""], np.array([1, 2]), clicked).nnz == 0


def test_a_word_that_all_share_makes_no_stand_in() -> None:
    texts = [f"thing {number}" for number in range(30)]
    assert stand_ins(texts, np.array([0]), np.arange(30) > 0).nnz == 0


def test_a_cold_item_leads_where_its_like_leads_and_is_led_to_from_there() -> None:
    data = dataset()
    plain = Transitions.fit(data)
    lent = plain.lent(data)
    scores = lent.probabilities(without_targets(Sequences.of([[3], [2]])))
    assert scores[0, 1] > 0 and scores[1, 3] > 0
    assert plain.probabilities(without_targets(Sequences.of([[3]]))).sum() == 0
    counted, given = plain.ranker.transitions.toarray()[:3, :3], lent.ranker.transitions.toarray()[:3, :3]
    assert np.array_equal(counted, given)


def test_lent_transitions_name_no_click() -> None:
    lent = Transitions.fit(dataset()).lent(dataset())
    plan = Plan([lent.table], [1.0], len(lent.ranker.transitions.indptr) - 1)
    best = plan.best(Asked.of(without_targets(Sequences.of([[2], [3]]))), 4, without_seen=True)
    named = [
        dict(zip(items, clicks, strict=True)) for items, clicks in zip(best.items, best.clicked, strict=True)
    ]
    assert named[0][0] == 2 and named[0][3] == -1 and named[1][1] == -1


def test_items_that_join_get_stand_ins_and_older_folders_still_load() -> None:
    data = dataset()
    arrays = Transitions.fit(data).lent(data).arrays()
    old = data.catalogue
    grown = Catalogue([*old.item_ids, "new"], [*old.titles, "blue hat small"], [*old.categories, ""])
    again = Transitions.of(arrays, grown)
    assert again.cold.tolist() == [3, 4, 5]
    scores = again.probabilities(without_targets(Sequences.of([[0]])))
    assert scores[0, 5] > 0
    assert (
        Transitions.of({name: value for name, value in arrays.items() if name != "cold"}, old).cold.tolist()
        == []
    )


def test_without_titles_transitions_stay_as_they_are() -> None:
    matrix = sparse.csr_matrix(np.eye(2, dtype=np.float32))
    assert with_stand_ins(matrix, np.array([1]), np.array([1]), Catalogue.build(["a", "b"])) is matrix


def test_vectors_are_the_mean_of_stand_ins_or_the_given_row() -> None:
    shares = sparse.csr_matrix(np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]))
    found = by_stand_ins(shares, np.array([[1.0], [3.0], [9.0]]), np.array([[7.0], [8.0]], dtype=np.float32))
    assert found.tolist() == [[2.0], [8.0]]
