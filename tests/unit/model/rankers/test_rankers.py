"""Every baseline on cases worked by hand, and none of them touches its input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from model.data.catalogue import Catalogue
from model.data.sequences import Sequences, cases_at, without_targets
from model.data.splits import Dataset, leave_one_out
from model.rankers.ease import Ease
from model.rankers.item_knn import ItemKnn
from model.rankers.last_item import LastItem
from model.rankers.markov import DecayedMarkov, Markov, pair_counts
from model.rankers.popularity import Popularity
from model.rankers.session_knn import SessionKnn, Settings
from model.rankers.title_knn import TitleKnn, WordKnn, tfidf
from model.study.baselines import baselines


def dataset(sessions, items=None, titles=None, vectors=None):
    size = items or 1 + max(max(session) for session in sessions)
    catalogue = Catalogue([f"i{place}" for place in range(size)], titles or [""] * size, [""] * size, vectors)
    train = Sequences.of(sessions)
    places = np.flatnonzero(train.lengths >= 2)
    cases = cases_at(train, places, train.lengths[places] - 1)
    return Dataset("d", "leave-one-out", catalogue, train, cases, cases, validation_sequences=train)


def ask(ranker, *prefix):
    return ranker.scores(without_targets(Sequences.of([list(prefix)])))[0]


def test_popularity_counts_clicks():
    assert ask(Popularity.fit(dataset([[0, 1], [1, 1, 2]])), 0).tolist() == [1, 3, 1]


def test_last_item_prefers_the_newest_click():
    assert ask(LastItem.fit(dataset([[0, 1, 2, 3]])), 2, 0, 2, 1).tolist() == pytest.approx(
        [1 / 3, 1, 1 / 2, 0]
    )


def test_markov_gives_the_share_of_next_items():
    assert ask(Markov.fit(dataset([[0, 1], [0, 1], [0, 2]])), 2, 0).tolist() == pytest.approx(
        [0, 2 / 3, 1 / 3]
    )


def test_decayed_markov_by_hand():
    model = DecayedMarkov.fit(dataset([[0, 1, 2]]), decay=0.5, query_decay=0.1, damping=0.0)
    far = 0.5 / np.sqrt(2)
    assert ask(model, 0).tolist() == pytest.approx([0, 1, far], abs=1e-6)
    assert ask(model, 0, 1).tolist() == pytest.approx([0, 0.1, 1 + 0.1 * far], abs=1e-6)


def test_decayed_markov_backward_reads_pairs_against_their_order():
    assert ask(DecayedMarkov.fit(dataset([[0, 1]]), damping=0.0, backward=0.5), 1).tolist() == pytest.approx(
        [0.5, 0]
    )


@given(
    st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=7), min_size=1, max_size=6), st.integers(1, 4)
)
@settings(max_examples=60, deadline=None)
def test_pair_counts_equal_a_double_loop(sessions, distance):
    wanted = np.zeros((6, 6))
    for session in sessions:
        for first in range(len(session)):
            for second in range(first + 1, min(first + distance, len(session) - 1) + 1):
                wanted[session[first], session[second]] += 1 / (second - first)
    assert np.allclose(
        pair_counts(Sequences.of(sessions), 6, distance, lambda step: 1 / step).toarray(), wanted, atol=1e-5
    )


def test_item_knn_is_a_damped_cosine():
    model = ItemKnn.fit(dataset([[0, 1], [0, 2], [0, 1]]), shrink=0.0, long_sessions=0.0)
    assert ask(model, 0).tolist() == pytest.approx([0, 2 / np.sqrt(6), 1 / np.sqrt(3)], abs=1e-6)


def test_item_knn_keeps_the_strongest_neighbours():
    model = ItemKnn.fit(dataset([[0, 1], [0, 1], [0, 2]]), neighbours=1)
    assert np.flatnonzero(ask(model, 0)).tolist() == [1]


def test_session_knn_lets_like_sessions_vote():
    found = ask(SessionKnn.fit(dataset([[0, 1, 2], [3, 4], [0, 5]])), 0, 1)
    assert found[2] > found[5] > 0
    assert found[4] == 0


def test_session_knn_distance_prefers_items_near_the_match():
    model = SessionKnn.fit(dataset([[9, 0, 1, 2, 3]]), Settings(linear=False, distance=1.0, backward=0.5))
    found = ask(model, 0)
    assert found[1] > found[2] > found[3]
    assert found[9] == pytest.approx(0.5 * found[1])


def test_session_knn_old_sessions_weigh_less():
    made = dataset([[0, 1], [0, 2]])
    old = made.train.times.copy()
    old[2:] += 10 * 86_400 * 1_000_000
    train = Sequences(
        made.train.session_ids, made.train.items, made.train.offsets, old, made.train.first_position
    )
    model = SessionKnn.index(train, 3, Settings(days=5.0), "STAN")
    assert ask(model, 0)[2] > ask(model, 0)[1] > 0  # a live prefix has no time: it is one of now


def test_ease_equals_the_paper_formula():
    sessions = [[0, 1, 2], [0, 1], [2, 3], [1, 3, 0]]
    x = np.zeros((4, 4))
    for row, session in enumerate(sessions):
        x[row, session] = 1
    inverse = np.linalg.inv(x.T @ x + 2.0 * np.eye(4))
    wanted = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(wanted, 0)
    assert np.allclose(Ease.fit(dataset(sessions), regulariser=2.0).weights, wanted, atol=1e-5)


def test_ease_blocks_join_beyond_one_block():
    rng = np.random.default_rng(0)
    sessions = [rng.choice(1300, 4, replace=False).tolist() for _ in range(400)] + [[1299]]
    weights = Ease.fit(dataset(sessions), regulariser=5.0).weights
    x = np.zeros((401, 1300))
    for row, session in enumerate(sessions):
        x[row, session] = 1
    inverse = np.linalg.inv(x.T @ x + 5.0 * np.eye(1300))
    wanted = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(wanted, 0)
    assert np.allclose(weights, wanted, atol=1e-4)


def test_ease_refuses_a_catalogue_it_cannot_hold():
    with pytest.raises(ValueError, match="leave it out above 20000 items"):
        Ease.fit(dataset([[0, 1]], items=20_001))


def test_title_rankers_find_like_titles_without_any_click_on_them():
    titles = ["red nail polish", "blue nail polish", "garden hose", ""]
    vectors = np.array([[1, 0.2], [1, 0.1], [0, 1], [0, 0]], dtype=np.float32)
    made = dataset([[0, 2]], items=4, titles=titles, vectors=vectors)
    for model in (WordKnn.fit(made), TitleKnn.fit(made), TitleKnn.fit(made, dim=1)):
        found = ask(model, 0)
        assert found[1] > found[2]
        assert found[3] == 0


def test_title_knn_without_vectors_says_so():
    with pytest.raises(ValueError, match="needs text vectors"):
        TitleKnn.fit(dataset([[0, 1]]))


def test_titles_without_words_rank_nothing():
    assert not ask(WordKnn.fit(dataset([[0, 1]], titles=["!!", ""])), 0).any()


def test_every_baseline_scores_all_items_and_leaves_the_sessions_alone():
    rng = np.random.default_rng(1)
    sessions = [rng.integers(0, 12, rng.integers(3, 8)).tolist() for _ in range(40)]
    parts = leave_one_out(Sequences.of(sessions))
    titles = [f"word{place % 3} thing" for place in range(12)]
    catalogue = Catalogue.build([str(place) for place in range(12)], titles)
    catalogue = Catalogue(catalogue.item_ids, titles, [""] * 12, rng.normal(size=(12, 4)).astype(np.float32))
    made = Dataset(
        "d",
        "leave-one-out",
        catalogue,
        parts.train,
        parts.valid,
        parts.test,
        validation_sequences=parts.validation_sequences,
    )
    train, test = made.train.items.copy(), made.test.prefixes.items.copy()
    roles = []
    for baseline in baselines(made):
        found = baseline.fit(made).scores(made.test)
        assert found.shape == (len(made.test), 12)
        assert np.isfinite(found).all()
        roles.append(baseline.role)
    assert np.array_equal(made.train.items, train)
    assert np.array_equal(made.test.prefixes.items, test)
    assert len(set(roles)) == 10


@given(st.lists(st.text("aB é日1_-' ", max_size=12), min_size=1, max_size=12).filter("".join))
def test_words_weigh_as_by_scikit_learn(texts):
    kept = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", dtype=np.float32)
    try:
        wanted = kept.fit_transform(texts).toarray()
    except ValueError:  # no text holds a word
        wanted = np.zeros((len(texts), 1), np.float32)
    found = tfidf(texts)
    assert found.has_canonical_format
    np.testing.assert_allclose(found.toarray(), wanted, atol=1e-6)
