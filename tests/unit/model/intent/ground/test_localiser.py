"""Localisation against a plain NumPy oracle."""

from __future__ import annotations

import numpy as np
import pytest

from model.intent.ground.encoder import EncoderSource
from model.intent.ground.localiser import Localiser, LocaliserError
from model.kernels.cosines import dots
from model.text.nearest import BlockedSearch, ListSearch


def vectors_of(count, dim=48, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32) + 0.3


def localiser(count=300, mode="centred", top_r=5):
    return Localiser(
        [f"i{row}" for row in range(count)],
        [f"Title {row}" for row in range(count)],
        vectors_of(count),
        mode,
        top_r,
    )


@pytest.mark.parametrize("mode", ["raw", "centred", "whitened"])
@pytest.mark.parametrize("top_r", [0, 1, 3, 5])
def test_grounding_is_the_cosine_weighted_sum_of_the_nearest_items(mode, top_r):
    place = localiser(mode=mode, top_r=top_r)
    answers = vectors_of(7, seed=1)
    asked = place.space(answers).astype(np.float64)
    for row, (items, cosines, vector) in enumerate(place.ground(answers)):
        exact = asked[row] @ place.vectors.T
        best = np.argsort(-exact, kind="stable")[: max(1, top_r)]
        assert list(items) == [f"i{one}" for one in best]
        assert np.allclose(cosines, exact[best], atol=1e-5)
        wanted = asked[row] if top_r == 0 else exact[best] @ place.vectors[best]
        assert np.allclose(vector, wanted / np.linalg.norm(wanted), atol=1e-5)


def test_centred_and_whitened_spaces_have_no_common_direction():
    for mode in ("centred", "whitened"):
        assert np.linalg.norm(localiser(mode=mode).vectors.mean(0)) < 0.1
    assert np.linalg.norm(localiser(mode="raw").vectors.mean(0)) > 0.2


def test_blocked_search_is_exact_over_block_borders():
    vectors = vectors_of(40_000, 32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    asked = vectors[::400] + 0.01
    rows, _ = BlockedSearch(vectors).search(asked, 5)
    exact = np.argsort(-(asked @ vectors.T), axis=1)[:, :5]
    assert (
        np.mean([len(np.intersect1d(one, other)) / 5 for one, other in zip(rows, exact, strict=True)]) > 0.999
    )


@pytest.mark.parametrize("count", [1, 3, 7, 5_000])
def test_search_of_a_few_misses_nothing_that_rounding_hides(count):
    """Rows closer to each other than 8 bits can tell, equal ones in the catalogue's order, and a query of
    zeros.
    """
    apart = np.random.default_rng(4).normal(size=(-(-count // 50), 64)).repeat(50, axis=0)[:count]
    vectors = (apart + 1e-3 * np.random.default_rng(5).normal(size=apart.shape)).astype(np.float32)
    vectors[count // 2 :: 7] = vectors[count // 2]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for asked in (
        vectors[:1] + 0.02,
        3 * vectors[-2:],
        np.zeros((1, 64), np.float32),
        vectors[count // 2, None],
    ):
        rows, cosines = BlockedSearch(vectors).search(asked, 5)
        exact = np.empty((len(asked), count), np.float32)
        dots(np.ascontiguousarray(asked, np.float32), vectors, exact)  # a scan of all rows, none rounded
        best = np.argsort(-exact, axis=1, kind="stable")[:, :5]
        assert rows.tolist() == best.tolist()
        np.testing.assert_array_equal(cosines, np.take_along_axis(exact, best, axis=1))


def test_inverted_lists_reach_their_recall_or_are_not_used():
    centres = vectors_of(200, 32, seed=5) * 4
    vectors = (centres[np.arange(12_000) % 200] + vectors_of(12_000, 32, seed=6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    search = ListSearch.build(vectors)
    assert search is not None
    asked = vectors[:100]
    rows, cosines = search.search(asked, 5)
    exact = np.argsort(-(asked @ vectors.T), axis=1)[:, :5]
    assert (
        np.mean([len(np.intersect1d(one, other)) / 5 for one, other in zip(rows, exact, strict=True)]) >= 0.95
    )
    assert np.all(np.diff(cosines, axis=1) <= 0)


def test_equal_titles_are_grounded_on_the_same_items_every_time():
    vectors = vectors_of(50)
    vectors[10] = vectors[20] = vectors[30]
    place = Localiser([str(row) for row in range(50)], ["t"] * 50, vectors)
    assert place.ground(vectors[20:21])[0][0][:3] == ("10", "20", "30")


def test_saved_and_loaded_is_the_same(tmp_path):
    place = localiser(mode="whitened")
    place.save(tmp_path)
    again = Localiser.load(tmp_path)
    answers = vectors_of(4, seed=2)
    for (items, cosines, vector), (items2, cosines2, vector2) in zip(
        place.ground(answers), again.ground(answers), strict=True
    ):
        assert (
            items == items2
            and np.allclose(cosines, cosines2, atol=1e-6)
            and np.allclose(vector, vector2, atol=1e-6)
        )


def test_broken_or_missing_files_are_named(tmp_path):
    with pytest.raises(LocaliserError, match="cannot be read"):
        Localiser.load(tmp_path)
    localiser().save(tmp_path)
    (tmp_path / "titles.json").write_text("{", encoding="utf-8")
    with pytest.raises(LocaliserError, match="cannot be read"):
        Localiser.load(tmp_path)


def test_bad_arguments_are_refused():
    with pytest.raises(LocaliserError, match="do not fit"):
        Localiser(["a"], ["A", "B"], vectors_of(1))
    with pytest.raises(LocaliserError, match="mode 'odd' is unknown"):
        Localiser(["a"], ["A"], vectors_of(1), "odd")
    with pytest.raises(LocaliserError, match="not finite"):
        Localiser(["a"], ["A"], np.full((1, 4), np.nan, np.float32))


def test_an_answer_that_fits_nothing_still_names_its_nearest_items():
    items, cosines, vector = localiser(top_r=0).ground(vectors_of(1, seed=9))[0]
    assert len(items) == len(cosines) == 1 and vector.shape == (48,)


def test_encoder_source_weights_by_recency_and_skips_unknown_items():
    place = localiser()
    source = EncoderSource(place, half_life=1.0)
    known, unknown, empty = source.infer([["i1", "gone", "i2"], ["gone"], []])
    assert known.source == "encoder" and unknown.source == empty.source == "none"
    assert not unknown.long.vector.any() and unknown.short.items == ()
    wanted = 0.25 * place.vectors[1] + place.vectors[2]
    assert np.allclose(known.short.vector, wanted / np.linalg.norm(wanted), atol=1e-5)
    assert known.short.items[0] == "i2" and known.short.text == "Title 2"
    assert source.infer([]) == []


def test_items_without_a_vector_are_never_found():
    vectors = vectors_of(5)
    vectors[2] = 0
    place = Localiser(list("abcde"), list("ABCDE"), vectors)
    assert len(place) == 4 and "c" not in place
    assert "c" not in place.ground(vectors_of(1, seed=3))[0][0]
    assert not place.vectors_of(["c"]).any()


def test_changed_and_new_items_come_with_their_categories_and_the_others_keep_theirs():
    vectors = vectors_of(4)
    before = Localiser(list("abcd"), list("ABCD"), vectors, categories=["w", "x", "y", "z"])
    after = before.over(["b", "e"], ["B2", "E"], ["x2", "v"], vectors_of(2, seed=1))
    told = dict(zip(after.item_ids, zip(after.titles, after.categories, strict=True), strict=True))
    assert told == {"a": ("A", "w"), "b": ("B2", "x2"), "c": ("C", "y"), "d": ("D", "z"), "e": ("E", "v")}
    assert np.array_equal(after.vectors[after.rows["c"]], before.vectors[before.rows["c"]])
