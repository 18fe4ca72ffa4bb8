"""Tuning: halving at equal epochs, a bound in time, and what a killed search goes on from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import synthetic
import torch

from model.config import ModelConfig, make_config
from model.recommender.train import Step, train
from model.recommender.tune import FILE, FIRST_EPOCHS, Trial, candidates, chosen, search

SMALL = {"dim": 16, "hybrid": False, "epochs": 8, "batch_size": 16, "max_length": 6}


class Told:
    """Learning curves that are given: a setting's worth grows by its own pace, ten seconds an epoch."""

    def __init__(self, paces: dict[int, float], killed_after: int = 99) -> None:
        self.paces, self.killed_after, self.asked = paces, killed_after, []

    def __call__(self, place: int, config: ModelConfig, epochs: int) -> tuple[list[dict[str, float]], float]:
        if len(self.asked) == self.killed_after:
            raise KeyboardInterrupt
        self.asked.append((place, epochs))
        pace = self.paces.get(place, 0.01)
        return [{"ndcg10": pace * epoch} for epoch in range(1, epochs + 1)], 10.0 * epochs


def searched(folder: Path, fit: Told, seconds: float = 1e9) -> list[Trial]:
    return search(synthetic.dataset(), make_config(SMALL), seconds, fit, folder, "run")


def test_settings_given_come_first_and_none_comes_twice() -> None:
    given = make_config({**SMALL, "dim": 64})
    found = candidates(given, synthetic.dataset())
    made = [given.model_copy(update=change).model_dump_json() for change in found]
    assert found[0] == {} and len(set(made)) == len(made) and {"dim": 64} not in found
    assert {"start": "random"} not in found  # with titles item vectors begin there
    assert {"start": "random"} in candidates(given, synthetic.dataset(text=False))


def test_widths_that_the_heads_do_not_divide_are_not_tried() -> None:
    given = make_config({**SMALL, "dim": 48, "heads": 3})
    assert not any("dim" in change for change in candidates(given, synthetic.dataset()))


def test_a_setting_that_cannot_be_trained_loses_and_ends_nothing(tmp_path: Path) -> None:
    class Broken(Told):
        def __call__(
            self, place: int, config: ModelConfig, epochs: int
        ) -> tuple[list[dict[str, float]], float]:
            if place in self.paces:
                raise ValueError("training loss is nan")
            return super().__call__(place, config, epochs)

    trials = searched(tmp_path, Broken({2: 0.0}))
    assert [(one.worth, one.epochs) for one in trials if one.place == 2] == [(0.0, 2)]
    with pytest.raises(ValueError, match="nan"):
        searched(tmp_path / "plain", Broken({0: 0.0}))


def test_each_rung_keeps_half_and_the_settings_given(tmp_path: Path) -> None:
    trials = searched(tmp_path, Told({3: 0.03, 5: 0.02}))
    rungs = {epochs: [one.place for one in trials if one.epochs == epochs] for epochs in (2, 4, 8)}
    assert (
        len(rungs[2]) > 2 * len(rungs[4]) - 3 and rungs[4][:2] == [3, 5] and 0 in rungs[4] and 0 in rungs[8]
    )
    assert chosen(trials).place == 3


def test_what_does_not_fit_into_the_time_is_not_begun(tmp_path: Path) -> None:
    first = 10.0 * FIRST_EPOCHS
    assert [one.place for one in searched(tmp_path / "a", Told({}), 3.5 * first)] == [0, 1, 2]
    assert [one.place for one in searched(tmp_path / "b", Told({}), 0.1)] == [0]
    assert chosen(searched(tmp_path / "b", Told({}), 0.1)).change == {}


def test_a_killed_search_goes_on_where_it_was(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path / "killed", Told({2: 0.02}, killed_after=5))
    rest, whole = Told({2: 0.02}), Told({2: 0.02})
    assert searched(tmp_path / "killed", rest) == searched(tmp_path / "whole", whole)
    assert rest.asked == whole.asked[5:]


@pytest.mark.parametrize("spoilt", ["{", '{"run": "other", "trials": []}', '{"run": "run", "trials": [{}]}'])
def test_a_record_that_is_not_ours_is_not_used(tmp_path: Path, spoilt: str) -> None:
    (tmp_path / FILE).write_text(spoilt)
    assert searched(tmp_path, Told({}), 0.1)[0].place == 0
    assert json.loads((tmp_path / FILE).read_text())["run"] == "run"


def test_training_tunes_and_goes_on_with_the_chosen_settings(tmp_path: Path) -> None:
    heard: list[Step] = []
    given = make_config({**SMALL, "epochs": 4, "tune": 3.0})
    trained = train(synthetic.dataset(), given, checkpoint_dir=tmp_path, progress=heard.append)
    assert trained.trials and chosen(trained.trials).change.items() <= trained.config.model_dump().items()
    assert trained.config.tune == 0 and heard[0].phase.startswith("tuning 1 of ")
    assert (tmp_path / FILE).exists()
    # the chosen settings are not trained anew from their first epoch, nor at all where their trial had all
    place = chosen(trained.trials).place
    begun = max(one.epochs for one in trained.trials if one.place == place)  # a later rung may be worth less
    epochs = [step.epoch for step in heard if step.phase == "train"]
    assert all(epoch > begun - 1 for epoch in epochs) and (epochs or begun == given.epochs)
    again = train(synthetic.dataset(), given, checkpoint_dir=tmp_path)
    assert again.trials == trained.trials
    assert torch.equal(again.network.item_table(), trained.network.item_table())


def test_without_time_nothing_is_tried() -> None:
    assert train(synthetic.dataset(), make_config({**SMALL, "epochs": 1})).trials == ()
