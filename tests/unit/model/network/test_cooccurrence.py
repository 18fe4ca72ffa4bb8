"""Item vectors from co-clicks: the formula on a case worked by hand, and what a network makes of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config import make_config
from model.data.sequences import Sequences
from model.network.cooccurrence import _near_pairs, _positive_information, cooccurrence_vectors
from model.network.start import build_network
from tests.unit.model.synthetic import dataset


def test_pairs_count_by_nearness_in_both_directions():
    counts = _near_pairs(Sequences.of([[0, 1, 2], [0, 1], [2, 2]]), 4).toarray()

    assert counts.tolist() == [[0, 2, 0.5, 0], [2, 0, 1, 0], [0.5, 1, 0, 0], [0, 0, 0, 0]]


def test_information_is_that_of_the_paper():
    counts = _near_pairs(Sequences.of([[0, 1], [0, 1], [2, 3]]), 4)

    found = _positive_information(counts).toarray()

    contexts = 2 * 2**0.75 + 2
    expected = math.log(2 / (2 * 2**0.75 / contexts)), math.log(1 / (1 * 1 / contexts))
    assert found[0, 1] == pytest.approx(expected[0]) and found[2, 3] == pytest.approx(expected[1])
    assert found[0, 2] == found[1, 3] == 0
    assert found[1, 0] == pytest.approx(expected[0])


def test_items_of_one_company_lie_close():
    random = np.random.default_rng(0)
    sessions = [
        random.permutation(5).tolist() if place % 2 else (5 + random.permutation(5)).tolist()
        for place in range(60)
    ]

    found = cooccurrence_vectors(Sequences.of(sessions), 10, 4, 0.1)

    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    alike = unit @ unit.T
    assert alike[:5, :5].min() > 0.3 > 0.1 > np.abs(alike[:5, 5:]).max()
    assert np.sqrt(np.mean(found**2)) == pytest.approx(0.1, rel=1e-5)


@given(
    st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=6), min_size=1, max_size=12), st.integers(1, 12)
)
def test_any_sessions_give_finite_vectors_and_the_same_ones_twice(sessions, dim):
    sequences = Sequences.of(sessions)

    found = cooccurrence_vectors(sequences, 10, dim, 0.1)

    assert found.shape == (10, dim) and found.dtype == np.float32 and np.isfinite(found).all()
    assert np.array_equal(found, cooccurrence_vectors(sequences, 10, dim, 0.1))
    assert not found[9].any()


def test_a_network_without_titles_begins_at_the_co_clicks():
    data = dataset(text=False)
    vectors = cooccurrence_vectors(data.train, len(data.catalogue), 16, 0.1)
    config = make_config({"dim": 16, "text": False, "fusion": "none"})

    begun = build_network(data, config)[1].item_table().detach().numpy()
    random = (
        build_network(data, config.model_copy(update={"start": "random"}))[1].item_table().detach().numpy()
    )

    known = vectors != 0
    assert known.any() and np.array_equal(begun[known], vectors[known])
    assert (begun != 0).all()
    assert not np.allclose(random[known], vectors[known])
