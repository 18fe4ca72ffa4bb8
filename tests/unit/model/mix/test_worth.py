"""Whether further epochs can change the mix."""

from __future__ import annotations

import numpy as np
import pytest
import synthetic

from model.config import make_config
from model.data.sequences import Cases
from model.evaluate.judge import evaluate
from model.mix.hybrid import Hybrid
from model.mix.worth import MixWorth, settled


def test_a_network_of_no_use_is_worth_the_blend_and_a_perfect_one_everything() -> None:
    data = synthetic.dataset()
    made = MixWorth(data, make_config({}), "removed")

    def blank(cases: Cases) -> np.ndarray:
        return np.full((len(cases), len(data.catalogue)), 1 / len(data.catalogue), dtype=np.float32)

    def perfect(cases: Cases) -> np.ndarray:
        return np.eye(len(data.catalogue), dtype=np.float32)[cases.targets]

    ranks = evaluate(Hybrid.fit(data, None, make_config({})).ranker(None, "blend"), made.cases).removed.ranks
    wanted = sum(((1 / np.log2(ranks + 1.0) + 0.5) * (ranks <= k)).mean() for k in (10, 20))
    assert wanted > 0
    assert made.of(blank) >= wanted - 1e-6
    assert made.of(perfect) == pytest.approx(3.0)


def test_a_rising_network_goes_on_and_a_flat_one_does_not() -> None:
    flat = [{"mix": 0.3, "ndcg10": 0.1}] * 5
    assert settled(flat, 3)
    assert not settled([*flat[:4], {"mix": 0.31, "ndcg10": 0.1}], 3)
    assert not settled([*flat[:4], {"mix": 0.3, "ndcg10": 0.12}], 3)
    assert not settled([{"ndcg10": 0.1}] * 5, 3)
