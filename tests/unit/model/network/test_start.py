"""Where item vectors begin: at titles, unless these say far less of what is clicked next than co-clicks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import synthetic

from model.config import make_config
from model.data.splits import Dataset
from model.network.start import begins_at_texts
from model.recommender.train import train


def with_titles_of_chance() -> Dataset:
    made = synthetic.dataset()
    vectors = np.random.default_rng(3).permutation(made.catalogue.vectors)
    return made.with_catalogue(replace(made.catalogue, vectors=vectors))


def test_titles_that_say_what_comes_next_are_the_start() -> None:
    assert begins_at_texts(synthetic.dataset(), make_config({}))


def test_titles_far_behind_co_clicks_are_not() -> None:
    assert not begins_at_texts(with_titles_of_chance(), make_config({}))


@pytest.mark.parametrize("text", [True, False])
def test_a_given_setting_is_obeyed(text: bool) -> None:
    assert begins_at_texts(with_titles_of_chance(), make_config({"text": text})) is text


def test_without_validation_or_texts_there_is_no_choice() -> None:
    made = with_titles_of_chance()
    assert begins_at_texts(made.refit(), make_config({}))
    assert begins_at_texts(synthetic.dataset(text=False), make_config({}))


def test_training_says_which_start_it_took() -> None:
    config = make_config({"dim": 8, "epochs": 1, "hybrid": False})
    assert train(synthetic.dataset(), config).config.text is True
    trained = train(with_titles_of_chance(), config)
    assert trained.config.text is False and not len(trained.network.text_part)
