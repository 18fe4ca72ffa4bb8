"""Ranks and best items against sorting, and validation against the judge."""

from __future__ import annotations

import numpy as np
import pytest
import synthetic
import torch

from model.config import make_config
from model.data.sequences import Sequences
from model.evaluate.judge import evaluate
from model.evaluate.select import best_items, pessimistic_ranks, remove_seen
from model.network.scorer import validation_ndcg
from model.recommender.train import train


def test_ties_count_against_the_target() -> None:
    assert pessimistic_ranks(
        torch.tensor([[1.0, 1.0, 1.0], [0.0, 2.0, 1.0]]), torch.tensor([1, 2])
    ).tolist() == [3, 2]


def test_nan_counts_against_the_target() -> None:
    assert pessimistic_ranks(torch.tensor([[torch.nan, 1.0, 0.0]]), torch.tensor([1])).tolist() == [2]


def test_seen_items_go() -> None:
    scores = torch.ones(2, 3)
    remove_seen(scores, Sequences.of([[0, 0], [2]]))
    assert scores.isinf().tolist() == [[True, False, False], [False, False, True]]


@pytest.mark.parametrize("k", [1, 3, 20, 100, 5_000])
@pytest.mark.parametrize("width", [1, 37, 401, 2_345])
def test_best_items_equal_a_full_sort(k: int, width: int) -> None:
    scores = torch.randn(3, width, generator=torch.Generator().manual_seed(2))
    scores[0] = float("-inf")  # a session that saw everything
    scores[0, width // 2] = 1.0
    values, items = best_items(scores, k)
    assert torch.equal(items[1:], scores[1:].argsort(dim=1, descending=True)[:, :k])
    assert items[0, 0] == width // 2 and len(set(items[0].tolist())) == min(k, width)
    assert torch.equal(values, scores.gather(1, items))


def test_the_early_stop_measures_what_the_judge_measures() -> None:
    data = synthetic.dataset()
    scorer = train(data, make_config({"dim": 8, "epochs": 1, "hybrid": False})).network_scorer()
    for drop, rule in ((True, "removed"), (False, "kept")):
        judged = evaluate(scorer, data.valid).metrics(rule, samples=0)["N@10"].mean
        assert validation_ndcg(scorer, data.valid, drop) == pytest.approx(judged, abs=1e-6)
    assert np.isfinite(judged)
