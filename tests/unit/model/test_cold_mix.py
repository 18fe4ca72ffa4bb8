"""Items without a click have factors of their own, bounded, and reasons that are true."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.cold_mix import FACTORS, WITHOUT_WORDS, ColdMix
from model.parts import Votes

WEIGHTS = {"network": 0.6, "transitions": 0.1, "words": 0.2, "intents": 0.1}


def test_sources_count_by_their_factors_for_cold_items_only() -> None:
    mix = ColdMix.of(WEIGHTS, np.array([1]), 3)
    assert mix is not None and mix.factors == FACTORS
    network, words = Votes(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.5]])), Votes(torch.tensor([[4.0, 5.0, 6.0]]), torch.tensor([[0.1]]))
    sources = [("network", network), ("words", words)]
    found = mix.put(torch.tensor([[7.0, 8.0, 9.0]]), sources)
    assert found.tolist()[0] == pytest.approx([7.0, FACTORS["network"] * 1.0 + FACTORS["words"] * 0.5, 9.0])


def test_the_less_a_clicked_item_has_beside_its_text_the_less_a_cold_one_gets() -> None:
    alone = ColdMix.of({"words": 1.0}, np.array([0]), 2)
    mostly = ColdMix.of({"network": 0.2, "words": 0.8}, np.array([0]), 2)
    assert alone is not None and alone.factors["words"] == pytest.approx(1.0)
    assert mostly is not None and sum(mostly.factors[name] * weight for name, weight in (("network", 0.2), ("words", 0.8))) == pytest.approx(1 / 0.8)


def test_without_words_every_source_gets_the_same_factor() -> None:
    mix = ColdMix.of({"network": 0.7, "titles": 0.3}, np.array([0]), 2)
    assert mix is not None and set(mix.factors.values()) == {WITHOUT_WORDS}


def test_nothing_cold_or_nothing_known_by_text_needs_no_mix() -> None:
    assert ColdMix.of(WEIGHTS, np.zeros(0, dtype=np.int64), 3) is None
    assert ColdMix.of({"network": 0.5, "transitions": 0.5, "words": 0.0}, np.array([0]), 3) is None


def test_lent_transitions_are_no_reason() -> None:
    mix = ColdMix.of(WEIGHTS, np.array([1]), 3)
    assert mix is not None
    assert mix.said("transitions", np.array([[0.5, 0.5]]), np.array([[1, 2]])).tolist() == [[0.0, 0.5]]
    assert mix.said("words", np.array([[0.5, 0.5]]), np.array([[1, 2]])).tolist() == [[pytest.approx(0.5 * FACTORS["words"]), 0.5]]
