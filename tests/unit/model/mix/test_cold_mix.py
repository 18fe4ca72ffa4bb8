"""Items with few clicks have factors of their own, by clicks, and reasons that are true."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.mix import Votes
from model.mix.cold_mix import ColdMix

COUNTS = np.array([9, 0, 1])


def test_sources_count_by_their_trust_the_less_the_more_clicks_there_are() -> None:
    mix = ColdMix.of((2.0, -1.0), COUNTS)
    assert mix is not None
    network, words = (
        Votes(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.5]])),
        Votes(torch.tensor([[4.0, 5.0, 6.0]]), torch.tensor([[0.1]])),
    )
    found = mix.put([("network", network), ("words", words)])[0].tolist()
    wanted = [0.5 + 0.4, np.exp(-1) * 1.0 + np.exp(2) * 0.5, np.exp(-0.5) * 1.5 + np.exp(1) * 0.6]
    assert found == pytest.approx(wanted)


def test_a_mix_of_one_kind_of_source_is_mixed_too() -> None:
    mix = ColdMix.of((2.0, -1.0), COUNTS)
    assert mix is not None
    words = Votes(torch.tensor([[4.0, 5.0, 6.0]]), torch.tensor([[0.1]]))
    assert mix.put([("words", words)])[0].tolist() == pytest.approx([0.4, np.exp(2) * 0.5, np.exp(1) * 0.6])


def test_nothing_cold_or_the_same_trust_needs_no_mix() -> None:
    assert ColdMix.of((1.0, 0.0), np.array([7, 9])) is None
    assert ColdMix.of((0.0, 0.0), COUNTS) is None


def test_lent_transitions_are_no_reason() -> None:
    mix = ColdMix.of((2.0, 1.0), COUNTS)
    assert mix is not None
    assert mix.said("transitions", np.array([[0.5, 0.5]]), np.array([[1, 2]])).tolist() == [[0.0, 0.5]]
    assert mix.said("words", np.array([[0.5, 0.5]]), np.array([[1, 0]])).tolist() == [
        [pytest.approx(0.5 * np.exp(2)), 0.5]
    ]
