"""The catalogue refuses what would rank wrongly later."""

from __future__ import annotations

import numpy as np
import pytest

from model.data.catalogue import Catalogue


class Letters:
    def encode(self, texts):
        return np.ones((len(texts), 2), dtype=np.float32)


def test_items_without_title_get_a_zero_vector():
    assert Catalogue.build(["a", "b"], ["Shoe", None]).encoded(Letters()).vectors.tolist() == [[1, 1], [0, 0]]


def test_no_titles_means_no_vectors():
    assert Catalogue.build(["a"]).encoded(Letters()).vectors is None


def test_unknown_items_are_left_out():
    assert Catalogue.build(["a", "b"]).known(["b", "news", "a", "b"]) == [1, 0, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a", "a"], ["", ""], ["", ""]), "'a' stands twice"),
        ((["a"], [], [""]), "1 ids, 0 titles"),
        ((["a"], [""], [""], np.array([[np.nan]])), "vector of item 'a' holds NaN"),
        ((["a"], [""], [""], np.zeros((2, 3))), "shape (2, 3) for 1 items"),
    ],
)
def test_broken_catalogue_is_refused_by_name(arguments, message):
    with pytest.raises(ValueError) as caught:
        Catalogue(*arguments)
    assert message in str(caught.value)
