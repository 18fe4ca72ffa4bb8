"""Losses against torch's own, and against counting."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from model.network import losses
from model.network.losses import alignment, full_softmax, sampled_softmax, uniformity


def problem(rows: int = 37, items: int = 53, dim: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    hidden, table = torch.randn(rows, dim, requires_grad=True), torch.randn(items, dim, requires_grad=True)
    return hidden, table, torch.randint(0, items, (rows,))


@pytest.mark.parametrize(("chunk", "rows"), [(1, 37), (53 * 5, 37), (53 * 70, 150), (1 << 20, 37)])
def test_full_softmax_and_its_own_backward_equal_autograd(
    chunk: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "CHUNK_ELEMENTS", chunk)
    hidden, table, targets = problem(rows)
    ours = full_softmax(hidden, table, targets)
    mine = torch.autograd.grad(3 * ours, (hidden, table))
    plain = functional.cross_entropy(hidden @ table.T, targets)
    theirs = torch.autograd.grad(3 * plain, (hidden, table))
    torch.testing.assert_close(ours, plain)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_bfloat16_products_stay_close() -> None:
    hidden, table, targets = problem()
    exact, short = full_softmax(hidden, table, targets), full_softmax(hidden, table, targets, torch.bfloat16)
    assert abs(exact.item() - short.item()) < 0.03


def test_full_softmax_survives_huge_logits() -> None:
    value = full_softmax(torch.tensor([[1e4, 0.0]]), torch.eye(2), torch.tensor([1]))
    assert value.item() == pytest.approx(1e4)


def test_full_softmax_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        full_softmax(torch.zeros(0, 2), torch.eye(2), torch.zeros(0, dtype=torch.int64))


def test_sampled_softmax_is_an_unbiased_estimate_of_the_sum() -> None:
    hidden, table, targets = problem(rows=5, items=20)
    chance = torch.softmax(torch.randn(20), 0)
    exact = torch.logsumexp(hidden @ table.T, 1) - (hidden * table[targets]).sum(1)
    sampled = torch.multinomial(chance, 400_000, replacement=True)
    log_expected = torch.log(chance[sampled] * len(sampled))
    estimate = sampled_softmax(hidden, table[targets], table[sampled], targets, sampled, log_expected)
    assert estimate.item() == pytest.approx(exact.mean().item(), abs=0.02)


def test_sampled_softmax_leaves_out_accidental_hits() -> None:
    hidden, table = torch.ones(1, 2), torch.ones(3, 2)
    loss = sampled_softmax(hidden, table[:1], table[:1], torch.tensor([0]), torch.tensor([0]), torch.zeros(1))
    assert loss.item() == pytest.approx(0.0)


def test_alignment_ignores_length_and_counts_angle() -> None:
    assert alignment(torch.eye(3), 5 * torch.eye(3)).item() == pytest.approx(0.0)
    assert alignment(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])).item() == pytest.approx(2.0)


def test_uniformity_equals_the_formula_over_pairs() -> None:
    vectors = torch.randn(6, 4)
    normed = functional.normalize(vectors, dim=1)
    pairs = [torch.exp(-2 * (normed[i] - normed[j]).pow(2).sum()) for i in range(6) for j in range(i)]
    assert uniformity(vectors).item() == pytest.approx(
        math.log(sum(pair.item() for pair in pairs) / len(pairs)), rel=1e-5
    )


def test_uniformity_of_equal_rows_has_a_finite_gradient() -> None:
    vectors = torch.ones(3, 4, requires_grad=True)
    uniformity(vectors).backward()
    assert vectors.grad is not None and vectors.grad.isfinite().all()


def test_uniformity_of_one_row_is_an_error_not_nan() -> None:
    with pytest.raises(ValueError, match="at least two"):
        uniformity(torch.ones(1, 4))
