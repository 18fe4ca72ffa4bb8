"""Model folders: the loaded model answers as the trained one, and anything else is refused with a reason."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import synthetic
import torch
from safetensors.torch import load_file, save_file

from model.config import BACKBONES, make_config
from model.mix import KINDS, applicable
from model.mix.counts import Neighbours
from model.mix.hybrid import NETWORK, Hybrid
from model.rankers.session_knn import STAN, VSKNN, SessionKnn, Settings
from model.recommender import artifact
from model.recommender.artifact import MANIFEST, TENSORS, ArtifactError
from model.recommender.recommender import Scorer, ScoreRequest
from model.recommender.train import Trained, fit_again, train

REQUESTS = [ScoreRequest(["i1", "i2", "i3"]), ScoreRequest(["i9"]), ScoreRequest([])]


def trained(**values: object) -> Trained:
    return train(
        synthetic.dataset(),
        make_config({"dim": 16, "epochs": 1, "batch_size": 32, "max_length": 6, **values}),
    )


@pytest.fixture(scope="module")
def model() -> Trained:
    return trained()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_loaded_model_answers_as_the_trained_one(backbone: str, tmp_path: Path) -> None:
    made = trained(backbone=backbone, fusion="paper")
    folder = artifact.save(made, tmp_path / "m")
    assert artifact.load(folder).score(REQUESTS, 5) == Scorer.of(made).score(REQUESTS, 5)


def test_the_hybrid_survives_the_folder(model: Trained, tmp_path: Path) -> None:
    assert model.hybrid is not None
    loaded = artifact.load(artifact.save(model, tmp_path / "m", without_seen=False))
    data = synthetic.dataset()
    np.testing.assert_allclose(loaded.scores(data.test), Scorer.of(model).scores(data.test), atol=1e-6)
    assert loaded.without_seen is False


@pytest.mark.parametrize(
    "settings", [STAN, VSKNN, dataclasses.replace(STAN, distance=np.inf, days=np.inf, rare_items=False)]
)
def test_every_part_survives_the_folder_with_every_setting(
    settings: Settings, model: Trained, tmp_path: Path
) -> None:
    data = synthetic.dataset()
    parts = {name: KINDS[name].fit(data) for name in applicable(data)}
    parts["neighbours"] = Neighbours(SessionKnn.stan(data, settings))
    made = dataclasses.replace(
        model, hybrid=Hybrid(dict.fromkeys([NETWORK, *parts], 1 / (1 + len(parts))), parts)
    )
    loaded = artifact.load(artifact.save(made, tmp_path / "m"))
    assert loaded.hybrid is not None
    assert loaded.hybrid.parts["neighbours"].ranker.settings == settings  # type: ignore[attr-defined]
    np.testing.assert_allclose(loaded.scores(data.test), Scorer.of(made).scores(data.test), atol=1e-6)


def test_what_serves_and_what_was_measured_stand_in_one_folder(model: Trained, tmp_path: Path) -> None:
    data = synthetic.dataset()
    everything = dataclasses.replace(data, all_sequences=data.validation_sequences).everything()
    assert everything is not None and not len(everything.valid) and not len(everything.test)
    served = fit_again(everything, model, "serving")
    folder = artifact.save(served, tmp_path / "m", metrics={"R@10": 0.1}, measured=model)
    assert "held-out" in json.loads((folder / MANIFEST).read_text())["figures"]
    before, after = artifact.load(folder / artifact.MEASURED), artifact.load(folder)
    np.testing.assert_allclose(before.scores(data.test), Scorer.of(model).scores(data.test), atol=1e-6)
    assert after.counts.sum() > before.counts.sum()
    assert not (artifact.save(model, tmp_path / "n") / artifact.MEASURED).exists()


def test_the_manifest_says_what_the_model_was_made_of(model: Trained, tmp_path: Path) -> None:
    folder = artifact.save(
        model,
        tmp_path / "m",
        metrics={"R@10": 0.1},
        delta_versions={"clicks": 3},
        code_commit="abc",
        feature_list=("items", "last_item"),
        encoder="e",
        intent=lambda place: (place / "note.json").write_text("{}") and None,
    )
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["delta_versions"] == {"clicks": 3} and manifest["feature_list"] == ["items", "last_item"]
    assert (
        manifest["metrics"] == {"R@10": 0.1}
        and manifest["code_commit"] == "abc"
        and manifest["config"]["backbone"] == "sasrec"
    )
    assert (folder / "intent" / "note.json").exists()
    assert sorted(path.suffix for path in folder.iterdir() if path.is_file()) == [
        ".json",
        ".json",
        ".safetensors",
    ]


def test_a_version_is_named_by_its_content(model: Trained, tmp_path: Path) -> None:
    one, again = artifact.save_version(model, tmp_path), artifact.save_version(model, tmp_path)
    assert one == again and one.name == artifact.load(one).version
    assert [path.name for path in tmp_path.iterdir()] == [one.name]


def test_a_failed_save_leaves_the_old_folder_whole(model: Trained, tmp_path: Path) -> None:
    folder = artifact.save(model, tmp_path / "m")

    def broken(_: Path) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        artifact.save(model, folder, intent=broken)
    assert artifact.load(folder).version and [path.name for path in tmp_path.iterdir()] == ["m"]


def test_promotion_switches_one_link(model: Trained, tmp_path: Path) -> None:
    assert artifact.promoted_dir(tmp_path) is None
    first, second = artifact.save(model, tmp_path / "a"), artifact.save(model, tmp_path / "b")
    artifact.promote(tmp_path, "a")
    assert artifact.promoted_dir(tmp_path) == first.resolve()
    artifact.promote(tmp_path, "b")
    assert artifact.promoted_dir(tmp_path) == second.resolve()
    assert artifact.load(tmp_path / "promoted").version


@pytest.mark.parametrize("name", ["missing", "../a", "promoted"])
def test_promotion_of_no_model_is_refused_and_changes_nothing(
    name: str, model: Trained, tmp_path: Path
) -> None:
    artifact.save(model, tmp_path / "a")
    artifact.promote(tmp_path, "a")
    with pytest.raises(ArtifactError):
        artifact.promote(tmp_path, name)
    assert artifact.promoted_dir(tmp_path) == (tmp_path / "a").resolve()


def edit(folder: Path, **values: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, **values}))


def test_another_format_is_refused(model: Trained, tmp_path: Path) -> None:
    folder = artifact.save(model, tmp_path / "m")
    edit(folder, format=99)
    with pytest.raises(ArtifactError, match="format 99"):
        artifact.load(folder)


def test_a_config_of_another_version_is_refused(model: Trained, tmp_path: Path) -> None:
    folder = artifact.save(model, tmp_path / "m")
    edit(folder, config={**model.config.model_dump(), "warp": 1})
    with pytest.raises(ArtifactError, match="warp"):
        artifact.load(folder)


@pytest.mark.parametrize("name", [TENSORS, MANIFEST, artifact.ITEMS])
def test_a_missing_file_is_named(name: str, model: Trained, tmp_path: Path) -> None:
    folder = artifact.save(model, tmp_path / "m")
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        artifact.load(folder)


def test_a_cut_off_file_is_refused(model: Trained, tmp_path: Path) -> None:
    folder = artifact.save(model, tmp_path / "m")
    (folder / TENSORS).write_bytes((folder / TENSORS).read_bytes()[:-10])
    with pytest.raises(ArtifactError, match="altered or cut off"):
        artifact.load(folder)


@pytest.mark.parametrize("tensor", ["vectors", "network.residual.weight"])
def test_nan_is_refused(tensor: str, model: Trained, tmp_path: Path) -> None:
    folder = artifact.save(model, tmp_path / "m")
    tensors = load_file(folder / TENSORS)
    tensors[tensor][0, 0] = torch.nan
    save_file(tensors, folder / TENSORS)
    edit(folder, sha256={})
    with pytest.raises(ArtifactError, match=f"tensor '{tensor}' holds NaN"):
        artifact.load(folder)


def test_weights_of_another_shape_are_refused(model: Trained, tmp_path: Path) -> None:
    folder = artifact.save(model, tmp_path / "m")
    edit(folder, config={**model.config.model_dump(), "dim": 8})
    with pytest.raises(ArtifactError, match="does not fit together"):
        artifact.load(folder)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="has no manifest"):
        artifact.load(tmp_path)
    with pytest.raises(ArtifactError, match="does not exist"):
        artifact.load(tmp_path / "nothing")
