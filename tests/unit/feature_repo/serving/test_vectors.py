"""Nearest vectors: right ids, right cosines, exact filters."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.serving.vectors import VectorError, VectorIndex

DICE = np.random.default_rng(3)
VECTORS = DICE.normal(size=(500, 16)).astype(np.float32) * DICE.uniform(0.1, 9, (500, 1)).astype(np.float32)
KEYS = [f"i{number}" for number in range(500)]
UNIT = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
INDEX = VectorIndex(
    KEYS, VECTORS, [f"title {number} {'Film' if number % 5 == 0 else 'Book'}" for number in range(500)]
)


def brute(query, k, allowed=range(500)):
    cosines = UNIT @ (np.asarray(query) / np.linalg.norm(query))
    return [KEYS[number] for number in sorted(allowed, key=lambda number: -cosines[number])[:k]]


def test_answers_are_the_exact_ones_with_their_own_cosines():
    for query in DICE.normal(size=(20, 16)):
        found = INDEX.nearest(query, 10)
        assert [neighbour.key for neighbour in found] == brute(query, 10)
        for neighbour in found:
            assert neighbour.cosine == pytest.approx(
                float(UNIT[int(neighbour.key[1:])] @ query / np.linalg.norm(query)), abs=1e-5
            )


def test_filters_by_words_and_keys_are_exact():
    query = VECTORS[7]
    assert [found.key for found in INDEX.nearest(query, 7, words="FILM")] == brute(query, 7, range(0, 500, 5))
    assert [found.key for found in INDEX.nearest(query, 9, among={"i3", "i7", "gone"})] == ["i7", "i3"]
    assert INDEX.nearest(query, 3, words="nothing of the kind") == []


GENRES = ["Animation Comedy", "Comedy", "Sci-Fi", "Comedian's Life", None]
SORTED_OUT = VectorIndex(KEYS, VECTORS, KEYS, categories=[GENRES[number % 5] for number in range(500)])
GRAPH = VectorIndex(
    KEYS, VECTORS, KEYS, categories=[GENRES[number % 5] for number in range(500)], approximate=True
)


@pytest.mark.parametrize("index", [SORTED_OUT, GRAPH])
def test_category_is_a_whole_word_of_the_items_category_and_exact(index):
    query = VECTORS[7]
    comedies = [number for number in range(500) if number % 5 in (0, 1)]
    assert [found.key for found in index.nearest(query, 20, category="comedy")] == brute(query, 20, comedies)
    assert [found.key for found in index.nearest(query, 9, category="Sci-Fi")] == brute(
        query, 9, range(2, 500, 5)
    )
    assert index.nearest(query, 3, category="Western") == []


def test_filters_hold_together():
    query = VECTORS[7]
    found = SORTED_OUT.nearest(query, 20, category="comedy", among=["i5", "i6", "i7"], words="I5")
    assert [neighbour.key for neighbour in found] == ["i5"]


def test_category_of_nothing_is_refused():
    with pytest.raises(VectorError, match="holds no categories"):
        INDEX.nearest(VECTORS[7], category="Comedy")
    with pytest.raises(VectorError, match="no letter or digit"):
        SORTED_OUT.nearest(VECTORS[7], category=" - ")


def test_approximate_answers_nearly_equal_the_exact_ones():
    graph = VectorIndex(KEYS, VECTORS, approximate=True)
    queries = DICE.normal(size=(50, 16))
    hits = sum(len({n.key for n in graph.nearest(query, 10)} & set(brute(query, 10))) for query in queries)
    assert hits >= 0.95 * 500


def test_text_goes_through_the_encoder():
    assert INDEX.nearest_to_text("anything", lambda texts: VECTORS[[42]], 1)[0].key == "i42"


@pytest.mark.parametrize(
    ("query", "k", "words"),
    [
        ([1.0] * 3, 5, "shape"),
        ([0.0] * 16, 5, "zero"),
        ([float("nan")] * 16, 5, "not finite"),
        ([1.0] * 16, 0, "at least one"),
    ],
)
def test_queries_that_mean_nothing_are_refused(query, k, words):
    with pytest.raises(VectorError, match=words):
        INDEX.nearest(query, k)


def test_zero_vectors_are_left_out():
    index = VectorIndex(["a", "zero"], np.array([[1.0, 0.0], [0.0, 0.0]]))
    assert [found.key for found in index.nearest([1.0, 0.0], 5)] == ["a"]
