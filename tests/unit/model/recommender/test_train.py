"""Training: it learns, it repeats itself exactly, it survives kill -9, and new items need no click."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic
import torch

from model.config import BACKBONES, FUSIONS, ModelConfig, make_config
from model.data.sequences import Sequences
from model.network import checkpoint
from model.network.batches import epoch_batches, gather, make_graph, pad, training_rows
from model.network.checkpoint import CheckpointError
from model.network.cold_items import fill_cold
from model.network.objective import Objective
from model.network.scorer import validation_ndcg
from model.network.start import build_network
from model.recommender.train import Step, Trained, train

SMALL = {
    "dim": 16,
    "hybrid": False,
    "epochs": 2,
    "batch_size": 16,
    "max_length": 6,
    "dropout": 0.1,
    "embedding_dropout": 0.1,
}


def config(**values: object) -> ModelConfig:
    return make_config({**SMALL, **values})


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return trained.network.state_dict()


@pytest.mark.parametrize("backbone", BACKBONES)
# trains like "none"; see test_artifact
@pytest.mark.parametrize("fusion", [fusion for fusion in FUSIONS if fusion != "intent"])
def test_every_backbone_trains_with_every_fusion(backbone: str, fusion: str) -> None:
    losses: list[float] = []
    chosen = config(backbone=backbone, fusion=fusion, learning_rate=0.01)
    train(
        synthetic.dataset(), chosen, progress=lambda step: losses.append(step.loss) if step.record else None
    )
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def test_sasrec_learns_the_ring() -> None:
    data = synthetic.dataset()
    trained = train(data, config(epochs=15, learning_rate=0.01, patience=15))
    assert validation_ndcg(trained.network_scorer(), data.test, drop_seen=False) > 0.5  # chance is about 0.1


def test_the_same_seed_gives_the_same_weights_and_another_one_does_not() -> None:
    first, second, other = (train(synthetic.dataset(), config(seed=seed)) for seed in (1, 1, 2))
    assert all(torch.equal(value, weights(second)[name]) for name, value in weights(first).items())
    assert not torch.equal(weights(first)["residual.weight"], weights(other)["residual.weight"])


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import synthetic
from model.recommender import train as module
from model.config import make_config
module.CHECKPOINT_SECONDS = 0.0
def progress(step):
    if step.phase == "train" and (step.epoch, step.step) == (2, 4) and step.record is None:
        os.kill(os.getpid(), signal.SIGKILL)
module.train(synthetic.dataset(), make_config({values!r}), checkpoint_dir=Path({folder!r}), progress=progress)
"""


def test_a_run_killed_in_the_middle_of_an_epoch_ends_with_the_same_weights(tmp_path: Path) -> None:
    values = {**SMALL, "epochs": 3, "refit": True}
    script = textwrap.dedent(KILLED).format(
        tests=str(Path(__file__).parents[1]), values=values, folder=str(tmp_path)
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    seen: list[Step] = []
    resumed = train(synthetic.dataset(), make_config(values), checkpoint_dir=tmp_path, progress=seen.append)
    straight = train(synthetic.dataset(), make_config(values))
    # the third step was saved, the fourth was lost with the process
    assert (seen[0].epoch, seen[0].step) == (2, 4)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in straight.history]
    assert all(torch.equal(value, weights(straight)[name]) for name, value in weights(resumed).items())


def test_a_checkpoint_of_other_settings_is_not_used(tmp_path: Path) -> None:
    train(synthetic.dataset(), config(), checkpoint_dir=tmp_path)
    seen: list[Step] = []
    train(synthetic.dataset(), config(seed=9), checkpoint_dir=tmp_path, progress=seen.append)
    assert (seen[0].epoch, seen[0].step) == (1, 1)


def test_a_checkpoint_of_other_intents_is_not_used(tmp_path: Path) -> None:
    data = synthetic.dataset()
    random = np.random.default_rng(0)
    seen: list[Step] = []
    for _ in range(2):
        valid = data.valid.with_intents(
            *random.normal(size=(2, len(data.valid), synthetic.TEXT_DIM)).astype(np.float32)
        )
        seen.clear()
        train(
            replace(data, valid=valid), config(fusion="paper"), checkpoint_dir=tmp_path, progress=seen.append
        )
    assert (seen[0].epoch, seen[0].step) == (1, 1)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    train(synthetic.dataset(), config(), checkpoint_dir=tmp_path)
    (tmp_path / "train" / checkpoint.FILE).write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match="delete it"):
        train(synthetic.dataset(), config(), checkpoint_dir=tmp_path)


def test_early_stop_returns_the_best_epoch_not_the_last() -> None:
    data = synthetic.dataset()
    trained = train(data, config(epochs=40, learning_rate=0.02, patience=2))
    best = max(trained.history, key=lambda row: row["ndcg10"])
    assert trained.best_epoch == best["epoch"] < len(trained.history)
    assert validation_ndcg(trained.network_scorer(), data.valid, drop_seen=True) == pytest.approx(
        best["ndcg10"], abs=1e-6
    )


def test_training_never_reads_the_test_cases() -> None:
    data = synthetic.dataset()
    blind = replace(data, test=data.test.select(np.zeros(0, dtype=np.int64)))
    assert torch.equal(
        weights(train(data, config()))["residual.weight"], weights(train(blind, config()))["residual.weight"]
    )


def test_refit_says_so_and_learns_the_validation_items(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "intentstore.model.train")
    data = synthetic.dataset()
    trained = train(data, config(refit=True))
    assert trained.refitted
    assert "refit: training again on train + validation for" in caplog.text
    assert trained.counts.sum() == data.train.clicks + len(data.valid)


def test_an_item_without_clicks_is_ranked_from_its_title() -> None:
    data = synthetic.dataset(without=20)
    trained = train(data, config(epochs=6, learning_rate=0.01))
    probabilities = trained.network_scorer().probabilities(Sequences.of([[16, 17, 18, 19]]))[0]
    assert np.argsort(-probabilities).tolist().index(20) < 10  # its neighbours' titles are like its own


def test_an_item_without_clicks_and_without_text_is_never_preferred() -> None:
    data = synthetic.dataset(without=20, text=False)
    trained = train(data, config())
    assert trained.network_scorer().probabilities(Sequences.of([[18, 19]]))[0, 20] == 0.0


def test_paper_fusion_without_titles_is_refused() -> None:
    with pytest.raises(ValueError, match="fusion 'paper' needs text vectors"):
        train(synthetic.dataset(text=False), config(fusion="paper"))


@pytest.mark.parametrize(
    ("values", "sampled"),
    [({}, False), ({"full_softmax_items": synthetic.ITEMS - 1}, True), ({"loss": "sampled"}, True)],
)
def test_large_catalogues_are_trained_with_sampled_softmax(values: dict[str, object], sampled: bool) -> None:
    data, chosen = synthetic.dataset(), config(**values)
    assert Objective(build_network(data, chosen)[1], data, chosen).sampled is sampled
    assert make_config({}).full_softmax_items == 500_000


def test_sampled_softmax_trains_too() -> None:
    data = synthetic.dataset()
    trained = train(data, config(loss="sampled", negatives=16, epochs=20, learning_rate=0.02, patience=20))
    assert validation_ndcg(trained.network_scorer(), data.test, drop_seen=False) > 0.3


def test_a_sampled_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    whole = train(synthetic.dataset(), config(loss="sampled", negatives=16, epochs=3))

    def stop(step: Step) -> None:
        if step.epoch == 2 and step.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(
            synthetic.dataset(),
            config(loss="sampled", negatives=16, epochs=3),
            checkpoint_dir=tmp_path,
            progress=stop,
        )
    resumed = train(
        synthetic.dataset(), config(loss="sampled", negatives=16, epochs=3), checkpoint_dir=tmp_path
    )
    assert torch.equal(weights(whole)["residual.weight"], weights(resumed)["residual.weight"])


def test_data_without_validation_train_a_fixed_number_of_epochs() -> None:
    data = synthetic.dataset()
    blind = replace(data, valid=data.valid.select(np.zeros(0, dtype=np.int64)))
    assert train(blind, config()).best_epoch == 2


@pytest.mark.parametrize("every", [True, False])
def test_each_click_but_the_first_is_a_target_once(every: bool) -> None:
    sequences = Sequences.of([[1], [1, 2, 3], list(range(20))])
    rows = training_rows(sequences, 6, every)
    found = (
        [stop for start, stop in zip(rows.start, rows.stop, strict=True)]
        if not every
        else [
            place + 1
            for start, stop in zip(rows.start, rows.stop, strict=True)
            for place in range(start, stop)
        ]
    )
    assert sorted(found) == [2, 3, *range(5, 24)]
    assert (rows.stop - rows.start).max() <= 6


def test_batches_hold_rows_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(2, 51, 1_000)
    rows = training_rows(Sequences.of([[0] * length for length in lengths]), 50, True)
    size = rows.stop - rows.start

    def padded(batches: list[np.ndarray]) -> float:
        return sum(len(batch) * size[batch].max() for batch in batches) / size.sum() - 1

    by_chance = np.array_split(np.random.default_rng(1).permutation(len(size)), len(size) // 16)
    assert padded(epoch_batches(rows, config(), 0)) < 0.25 < padded(by_chance)


@pytest.mark.parametrize("pairwise", [True, False])
def test_an_epoch_holds_every_row_once_in_a_repeatable_order(pairwise: bool) -> None:
    rows = training_rows(synthetic.dataset().train, 6, True)
    first, again, later = (epoch_batches(rows, config(), epoch, pairwise) for epoch in (0, 0, 1))
    assert sorted(np.concatenate(first)) == list(range(len(rows.start)))
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert not np.array_equal(np.concatenate(first), np.concatenate(later))


def test_gather_and_pad_put_clicks_on_the_left() -> None:
    clicks, places = gather(np.array([5, 6, 7, 8], dtype=np.int32), np.array([0, 1]), np.array([1, 4]))
    assert clicks.items.tolist() == [[5, 0, 0], [6, 7, 8]] and places.tolist() == [[0, -1, -1], [1, 2, 3]]
    assert pad(Sequences.of([[1, 2, 3], [4]]), 2).items.tolist() == [[2, 3], [4, 0]]


def test_graph_counts_neighbours_within_three_clicks() -> None:
    graph = make_graph(Sequences.of([[0, 1, 2], [0, 1]]), 4)
    assert graph.neighbours[0, :2].tolist() == [1, 2] and graph.weights[0, :3].tolist() == [2.0, 1.0, 0.0]
    assert graph.neighbours[3].tolist() == [3] * graph.neighbours.shape[1]
    assert sorted(zip(*graph.members.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]


def test_cold_items_get_the_residual_that_like_titles_learned() -> None:
    data = synthetic.dataset(without=20)
    trained = train(data, config())
    assert trained.space is not None
    network = trained.network
    direction = torch.ones(16)
    network.residual.weight.data[:] = (
        torch.from_numpy(trained.space.centred(data.catalogue.vectors)[:, :1]) * direction
    )
    network.residual.weight.data[20] = 0.0
    fill_cold(network, trained.space, data.catalogue, trained.counts)
    expected = float(trained.space.centred(data.catalogue.vectors)[20, 0])
    assert network.residual.weight[20, 0].item() == pytest.approx(expected, abs=0.5 * abs(expected))
