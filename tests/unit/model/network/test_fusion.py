"""The paper's gates and auxiliary losses."""

from __future__ import annotations

import pytest
import torch

from model.config import make_config
from model.network.fusion import UNIFORM_ROWS, PaperFusion
from model.network.losses import alignment, uniformity

DIM, TEXT = 6, 5


def fusion(**values: object) -> PaperFusion:
    torch.manual_seed(0)
    return PaperFusion(
        make_config({"fusion": "paper", "dim": DIM, "dropout": 0.0, "heads": 1, **values}), TEXT
    ).eval()


def test_gates_follow_the_equations() -> None:
    module = fusion()
    h_global, h_local = torch.randn(3, DIM), torch.randn(3, DIM)
    z_long, z_short = module.project(torch.randn(3, TEXT), torch.randn(3, TEXT))
    alpha_long = (torch.sigmoid(h_global + z_long) * module.long_gate.weight).sum(1, keepdim=True)
    alpha_short = (torch.sigmoid(h_local + z_short) * module.short_gate.weight).sum(1, keepdim=True)
    expected = torch.cat([alpha_short * h_local, alpha_long * h_global], 1) @ module.output.weight.T
    torch.testing.assert_close(module(h_global, h_local, z_long, z_short), expected)


def test_an_unknown_intent_has_no_effect() -> None:
    z_long, _ = fusion().project(torch.zeros(2, TEXT), torch.zeros(2, TEXT))
    assert not z_long.any()


@pytest.mark.parametrize(("reduction", "factor"), [("sum", 1.0), ("mean", 0.5)])
def test_views_are_summed_or_averaged(reduction: str, factor: float) -> None:
    module = fusion(view_reduction=reduction)
    h_global, h_local, z_long, z_short = torch.randn(4, 7, DIM).unbind(0)
    both = sum(
        alignment(z, h) + (uniformity(z) + uniformity(h)) / 2
        for z, h in ((z_long, h_global), (z_short, h_local))
    )
    torch.testing.assert_close(module.auxiliary(h_global, h_local, z_long, z_short), 0.1 * factor * both)


@pytest.mark.parametrize(("switch", "views"), [("align", "long"), ("uniform", "short")])
def test_losses_and_views_are_switchable(switch: str, views: str) -> None:
    module = fusion(**{"align": False, "uniform": False, switch: True, "views": views})
    h_global, h_local, z_long, z_short = torch.randn(4, 7, DIM).unbind(0)
    z, h = (z_long, h_global) if views == "long" else (z_short, h_local)
    expected = alignment(z, h) if switch == "align" else (uniformity(z) + uniformity(h)) / 2
    torch.testing.assert_close(module.auxiliary(h_global, h_local, z_long, z_short), 0.1 * expected)


def test_a_batch_of_one_row_has_no_auxiliary_loss_instead_of_nan() -> None:
    one = torch.randn(1, DIM)
    assert fusion().auxiliary(one, one, one, one).item() == 0.0


def test_a_view_that_is_off_is_not_read() -> None:
    module = fusion(views="long")
    h, z = torch.randn(2, DIM), torch.randn(2, DIM)
    torch.testing.assert_close(module(h, h, z, z), module(h, h, z, torch.randn(2, DIM)))


def test_uniformity_of_a_large_step_is_estimated_on_rows_spread_over_it() -> None:
    module = fusion(align=False, views="long")
    h, z = torch.randn(2, 3 * UNIFORM_ROWS - 5, DIM).unbind(0)

    found = module.auxiliary(h, h, z, z)

    torch.testing.assert_close(found, 0.1 * (uniformity(z[::3]) + uniformity(h[::3])) / 2)
    torch.testing.assert_close(found, 0.1 * (uniformity(z) + uniformity(h)) / 2, rtol=0.01, atol=0)
