"""Every backbone, with and without titles, through its whole life: train, stop, go on, save, load, take new
items, score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
import torch

from model.config import BACKBONES, make_config
from model.data.catalogue import Catalogue
from model.recommender import artifact, new_items
from model.recommender.new_items import NewItems
from model.recommender.recommender import Scorer, ScoreRequest
from model.recommender.train import train

ASKED = [ScoreRequest(["i3", "i4"]), ScoreRequest(["i7"]), ScoreRequest(["news"])]


class StoppedError(Exception):
    """The run was killed."""


@pytest.mark.parametrize("titles", [True, False], ids=["titles", "none"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_model_is_trained_resumed_saved_loaded_grown_and_asked(
    backbone: str, titles: bool, tmp_path: Path
) -> None:
    data = synthetic.dataset(40, text=titles)
    config = make_config({"backbone": backbone, "dim": 8, "epochs": 2, "batch_size": 16, "max_length": 6})

    def stop(progress: Any) -> None:
        if progress.epoch == 1:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(data, config, checkpoint_dir=tmp_path / "checkpoint", progress=stop)
    resumed, straight = train(data, config, checkpoint_dir=tmp_path / "checkpoint"), train(data, config)
    names = list(straight.network.state_dict())
    assert (
        len(names)
        == len({value.data_ptr() for value in straight.network.state_dict().values() if value.numel()})
        and "backbone._table" not in names
    )
    assert all(
        torch.equal(value, resumed.network.state_dict()[name])
        for name, value in straight.network.state_dict().items()
    )
    folder = artifact.save_version(straight, tmp_path / "models", encoder="toy")
    loaded, own = artifact.load(folder), Scorer.of(straight)
    for before, after in zip(own.score(ASKED, 5), loaded.score(ASKED, 5), strict=True):
        assert before.items == after.items and np.allclose(before.scores, after.scores, atol=1e-5)
    near = synthetic.vectors()[5][None]
    new_items.write(folder.parent, NewItems(Catalogue(["news"], ["thing 5 and a half"], [""], near), "toy"))
    grown = new_items.load(folder)
    assert ("news" in grown.item_ids) is titles
    answer = grown.score([ScoreRequest(["i3", "news"])], synthetic.ITEMS)[0]
    assert np.isfinite(answer.scores).all() and len(answer.items) >= synthetic.ITEMS - 1
