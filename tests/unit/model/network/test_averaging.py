"""The running mean of the weights: its formula, its place in training, and going on after a kill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import synthetic
import torch
from torch import nn

from model.config import make_config
from model.network.averaging import RunningMean
from model.recommender.train import Step, train

CONFIG = {"dim": 8, "epochs": 3, "batch_size": 16, "hybrid": False, "patience": 9, "averaging": 0.9}


def test_the_mean_is_exponential_and_forgets_the_start_soon() -> None:
    layer = nn.Linear(1, 1, bias=False)
    mean, wanted = RunningMean(layer, 0.6), 0.0
    for step, value in enumerate((2.0, 4.0, 8.0, 1.0, 3.0) * 10):
        nn.init.constant_(layer.weight, value)
        mean.update(step)
        decay = min(0.6, step / (10 + step))
        wanted = decay * wanted + (1 - decay) * value
    assert mean.values["weight"].item() == pytest.approx(wanted, rel=1e-5)
    with mean.in_place():
        assert layer.weight.item() == pytest.approx(wanted, rel=1e-5)
    assert layer.weight.item() == 3.0


def test_weights_come_back_when_the_work_with_the_mean_fails() -> None:
    layer = nn.Linear(2, 2)
    before = layer.weight.detach().clone()
    mean = RunningMean(layer, 0.9)
    with torch.no_grad():
        layer.weight += 1.0
    with pytest.raises(RuntimeError, match="stop"), mean.in_place():
        raise RuntimeError("stop")
    assert torch.equal(layer.weight, before + 1.0)


def test_training_gives_the_mean_and_zero_gives_the_last_weights() -> None:
    data = synthetic.dataset()
    plain, averaged = (train(data, make_config({**CONFIG, "averaging": decay})) for decay in (0.0, 0.9))
    # the steps are the same; only what is judged and kept differs
    assert plain.history[0]["loss"] == averaged.history[0]["loss"]
    assert not torch.equal(plain.network.residual.weight, averaged.network.residual.weight)


def test_a_killed_run_goes_on_with_the_same_mean(tmp_path: Path) -> None:
    data, config = synthetic.dataset(), make_config(CONFIG)
    whole = train(data, config)

    def kill(step: Step) -> None:
        if step.record and step.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, config, checkpoint_dir=tmp_path, progress=kill)
    again = train(data, config, checkpoint_dir=tmp_path)
    assert np.array_equal(again.network.residual.weight.numpy(), whole.network.residual.weight.numpy())
