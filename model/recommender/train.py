"""Training: batches, loss, early stop, checkpoints, refit. Reads top to bottom; knows no files but its
checkpoint.
"""

from __future__ import annotations

import copy
import logging
import math
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from model.config import ModelConfig
from model.data.catalogue import Catalogue
from model.data.sequences import Cases
from model.data.splits import Dataset
from model.evaluate.judge import SEEN, default_seen
from model.mix.worth import MixWorth, settled
from model.network import checkpoint
from model.network.averaging import RunningMean
from model.network.batches import epoch_batches, training_rows
from model.network.checkpoint import Progress
from model.network.cold_items import fill_cold
from model.network.compiled import CompiledNetwork
from model.network.network import Network
from model.network.objective import Objective
from model.network.scorer import NetworkScorer, validation_ndcg
from model.network.start import begins_at_texts, build_network
from model.network.text_space import TextSpace
from model.recommender import tune
from model.recommender.tune import Trial

if TYPE_CHECKING:
    from model.mix.hybrid import Hybrid

CHECKPOINT_SECONDS = 30.0  # at most this much work is lost by a kill
EPOCHS_WITHOUT_VALIDATION = 15  # where there is nothing to stop on; about what Beauty needs
VALIDATION_CASES = 25_000  # evenly spaced beyond; enough for +-0.002 of NDCG@10
log = logging.getLogger("intentstore.model.train")


@dataclass(frozen=True)
class Step:
    """What a progress display hears after every step.

    Attributes
    ----------
    phase : str
        ``train`` or ``refit``.
    epoch, epochs, step, steps : int
        From 1.
    loss : float
        Mean of the epoch so far, nats a target.
    record : dict, optional
        At the end of an epoch: its line of the history.
    """

    phase: str
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    record: dict[str, float] | None = None


ProgressCall = Callable[[Step], None]


@dataclass(frozen=True)
class Trained:
    """A trained model before it is saved.

    Attributes
    ----------
    config : ModelConfig
    catalogue : Catalogue
    network : Network
        At its best epoch, in evaluation mode.
    space : TextSpace, optional
        Map from raw text vectors to item vectors; none without text.
    cold_map : ndarray float32, shape (text_dim, dim), optional
        Adds to the text part what clicks taught about like titles; for items without clicks.
    counts : ndarray int64, shape (n_items,)
        Training clicks.
    history : list of dict
        epoch, loss, ndcg10, seconds of each epoch.
    best_epoch : int
    seconds : float
    hybrid : Hybrid, optional
        Parts beside the network with their weights.
    refitted : bool
        Whether the validation items are part of training.
    trials : tuple of Trial
        What ``config.tune`` tried; the settings in ``config`` are the chosen ones.
    """

    config: ModelConfig
    catalogue: Catalogue
    network: Network
    space: TextSpace | None
    cold_map: NDArray[np.float32] | None
    counts: NDArray[np.int64]
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    seconds: float = 0.0
    hybrid: Hybrid | None = None
    refitted: bool = False
    trials: tuple[Trial, ...] = ()

    def network_scorer(self) -> NetworkScorer:
        """The network alone, as training scores it: on any device."""
        return NetworkScorer(self.network, self.config)

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The network's weights by name."""
        return {name: value.detach().cpu().numpy() for name, value in self.network.state_dict().items()}

    def compiled(self) -> CompiledNetwork:
        """The network as answers are scored by it."""
        return CompiledNetwork.of(self.config, self.weights(), self.space, self.catalogue.vectors)


def train(
    dataset: Dataset,
    config: ModelConfig,
    *,
    checkpoint_dir: Path | None = None,
    progress: ProgressCall | None = None,
) -> Trained:
    """Train a model: settings where ``config.tune`` gives time for it, then the network, then the hybrid's
    weights on validation, then (``config.refit``) once more with the validation items.

    Parameters
    ----------
    dataset : Dataset
        Only ``train``, ``valid`` and the catalogue are read; never ``test``.
    config : ModelConfig
    checkpoint_dir : Path, optional
        A run killed at any instant goes on from here to the same result; none = no checkpoints.
    progress : callable, optional
        Called after every step.

    Returns
    -------
    Trained

    Raises
    ------
    CheckpointError
        If the checkpoint is damaged.
    ValueError
        If the training sequences hold no pair of clicks.
    """
    torch.set_num_threads(config.threads)
    config = config.model_copy(update={"text": begins_at_texts(dataset, config)})
    if config.tune and len(dataset.valid):
        with tempfile.TemporaryDirectory() as scratch:
            return _tuned(dataset, config, checkpoint_dir or Path(scratch), progress)
    run = _Run(dataset, config, "train", checkpoint_dir, progress)
    epochs = config.epochs if len(dataset.valid) else min(config.epochs, EPOCHS_WITHOUT_VALIDATION)
    trained = run.fit(epochs, early_stop=len(dataset.valid) > 0)
    hybrid = fit_hybrid(dataset, trained) if config.hybrid and config.fusion == "intent" else None
    if config.refit and len(dataset.valid):
        log.info("refit: training again on train + validation for %d epochs", trained.best_epoch)
        return fit_again(
            dataset.refit(),
            replace(trained, hybrid=hybrid),
            "refit",
            checkpoint_dir=checkpoint_dir,
            progress=progress,
        )
    return replace(trained, hybrid=hybrid)


def _tuned(dataset: Dataset, config: ModelConfig, folder: Path, progress: ProgressCall | None) -> Trained:
    """Choose settings, then train on from where the chosen ones stand."""
    plain = config.model_copy(update={"tune": 0.0})
    count = len(tune.candidates(plain, dataset))

    def fit(place: int, tried: ModelConfig, epochs: int) -> tuple[list[dict[str, float]], float]:
        def say(step: Step) -> None:
            if progress:
                progress(replace(step, phase=f"tuning {place + 1} of {count},"))

        run = _Run(dataset, tried, "train", folder / f"tuning-{place}", say)
        done = run.fit(epochs, early_stop=True)
        return done.history, done.seconds

    identity = checkpoint.fingerprint(dataset, plain, "tuning")
    trials = tune.search(dataset, plain, config.tune, fit, folder, identity)
    best = tune.chosen(trials)
    trained = train(
        dataset,
        plain.model_copy(update=best.change),
        checkpoint_dir=folder / f"tuning-{best.place}",
        progress=progress,
    )
    return replace(trained, trials=tuple(trials))


def fit_again(
    dataset: Dataset,
    trained: Trained,
    phase: str,
    *,
    checkpoint_dir: Path | None = None,
    progress: ProgressCall | None = None,
) -> Trained:
    """Fit the same recipe (settings, epochs, weights) on other sessions.

    Parameters
    ----------
    dataset : Dataset
        Its validation cases are not read.
    trained : Trained
        Whose recipe it is.
    phase : str
        Name of the checkpoint.
    checkpoint_dir, progress
        As of `train`.

    Returns
    -------
    Trained
        With the history of ``trained``, and the seconds of both.
    """
    again = _Run(dataset, trained.config, phase, checkpoint_dir, progress).fit(
        max(trained.best_epoch, 1), early_stop=False
    )
    hybrid = None if trained.hybrid is None else trained.hybrid.refit(dataset)
    return replace(
        again,
        hybrid=hybrid,
        history=trained.history,
        best_epoch=trained.best_epoch,
        seconds=trained.seconds + again.seconds,
        refitted=True,
        trials=trained.trials,
    )


def fit_hybrid(dataset: Dataset, trained: Trained) -> Hybrid:
    """Fit the parts beside a trained network, and the weights of the mix on validation."""
    from model.mix.hybrid import Hybrid

    def blind(counts: NDArray[np.int64]) -> Callable[[Cases], NDArray[np.float32]]:
        """The network as if items without a count had never been clicked."""
        network = copy.deepcopy(trained.network)
        fill_cold(network, trained.space, dataset.catalogue, counts)
        return NetworkScorer(network, trained.config).of_cases

    return Hybrid.fit(dataset, trained.network_scorer(), trained.config, blind=blind)


class _Run:
    """One pass of training over one dataset: builds the network, runs epochs, keeps the best."""

    def __init__(
        self,
        dataset: Dataset,
        config: ModelConfig,
        phase: str,
        folder: Path | None,
        progress: ProgressCall | None,
    ) -> None:
        self.dataset, self.config, self.phase, self.progress = dataset, config, phase, progress
        self.folder = None if folder is None else folder / phase
        self.counts = dataset.item_counts
        torch.manual_seed(config.seed)
        self.space, self.network = build_network(dataset, config)
        self.network.to(config.device)
        self.objective = Objective(self.network, dataset, config)
        self.rows = training_rows(dataset.train, config.max_length, self.network.backbone.every_position)
        if not self.rows.targets:
            raise ValueError(
                f"dataset '{dataset.name}' has no training session of two clicks; nothing can be learned "
                "from it"
            )
        self.optimizers = self.objective.optimizers()
        # Not where a step touches a few rows only: the mean would cost a pass over the whole table.
        self.mean = (
            RunningMean(self.network, config.averaging)
            if config.averaging and not self.objective.partial
            else None
        )
        self.best: dict[str, torch.Tensor] | None = None
        self.state = Progress(history=[])
        self.run = checkpoint.fingerprint(dataset, config, phase) if folder else ""

    def fit(self, epochs: int, early_stop: bool) -> Trained:
        """Run (or go on with) the epochs and return the network at its best."""
        self._resume()
        started, before = time.monotonic(), self.state.seconds
        self._saved = started
        while self.state.epoch < epochs and not (early_stop and self._stale()):
            self._epoch(epochs, early_stop, lambda: before + time.monotonic() - started)
            self._save()
        if self.best is not None:
            self.network.load_state_dict(self.best)
        elif self.mean is not None:
            self.network.load_state_dict(self.mean.values, strict=False)
        self.network.eval().requires_grad_(False)
        cold_map = fill_cold(self.network, self.space, self.dataset.catalogue, self.counts)
        return Trained(
            self.config,
            self.dataset.catalogue,
            self.network,
            self.space,
            cold_map,
            self.counts,
            list(self.state.history or []),
            self.state.best_epoch or self.state.epoch,
            before + time.monotonic() - started,
        )

    def _stale(self) -> bool:
        if settled(self.state.history or [], self.config.patience):
            log.info("the last %d epochs did not change the mix; training ends", self.config.patience)
            return True
        return self.state.best_epoch > 0 and self.state.epoch - self.state.best_epoch >= self.config.patience

    def _epoch(self, epochs: int, validate: bool, clock: Callable[[], float]) -> None:
        state = self.state
        begun = clock()
        batches = epoch_batches(self.rows, self.config, state.epoch, self.network.backbone.pairwise)
        self.network.train()
        while state.step < len(batches):
            # The random numbers of a step depend on its number alone, so a resumed run draws the same ones.
            torch.manual_seed(self.config.seed * 1_000_003 + state.epoch * 100_003 + state.step)
            chosen = batches[state.step]
            loss, targets = self.objective.step(self.rows, chosen, self.optimizers)
            if self.mean is not None:
                self.mean.update(state.epoch * len(batches) + state.step)
            state.loss_sum, state.targets, state.step = (
                state.loss_sum + loss * targets,
                state.targets + targets,
                state.step + 1,
            )
            state.seconds = clock()
            if self.progress:
                self.progress(
                    Step(
                        self.phase,
                        state.epoch + 1,
                        epochs,
                        state.step,
                        len(batches),
                        state.loss_sum / state.targets,
                    )
                )
            if time.monotonic() - self._saved > CHECKPOINT_SECONDS:
                self._save()
        loss = state.loss_sum / max(state.targets, 1)
        if not math.isfinite(loss):
            raise ValueError(
                f"training loss is {loss} in epoch {state.epoch + 1}; lower learning_rate (now "
                f"{self.config.learning_rate})"
            )
        state.epoch, state.step, state.loss_sum, state.targets = state.epoch + 1, 0, 0.0, 0
        value = math.nan
        if validate:
            with self.mean.in_place() if self.mean is not None else nullcontext():
                value = self._keep_best(state)
        state.seconds = clock()
        record = {
            "epoch": state.epoch,
            "loss": loss,
            "ndcg10": value if validate else 0.0,
            "seconds": state.seconds - begun,
        }
        if validate and self.mix_worth is not None:
            record["mix"] = self.mix_worth.of(NetworkScorer(self.network.eval(), self.config).of_cases)
        state.history = [*(state.history or []), record]
        if self.progress:
            self.progress(Step(self.phase, state.epoch, epochs, len(batches), len(batches), loss, record))

    def _keep_best(self, state: Progress) -> float:
        """Validate, and remember the weights if they are the best so far."""
        value = self._validate()
        if value > state.best_value:
            state.best_value, state.best_epoch = value, state.epoch
            self.best = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        return value

    @cached_property
    def mix_worth(self) -> MixWorth | None:
        """What tells whether the mix still changes; none where the network answers alone."""
        if not self.config.hybrid or self.config.fusion != "intent" or self.config.parts == ():
            return None
        return MixWorth(self.dataset, self.config, SEEN[not without_seen(self.dataset, self.config)])

    def _validate(self) -> float:
        cases = self.dataset.valid
        if len(cases) > VALIDATION_CASES:
            cases = cases.select(np.linspace(0, len(cases) - 1, VALIDATION_CASES).astype(np.int64))
        self.network.eval()
        return validation_ndcg(
            NetworkScorer(self.network, self.config), cases, without_seen(self.dataset, self.config)
        )

    def _save(self) -> None:
        self._saved = time.monotonic()
        if self.folder is not None:
            checkpoint.save(
                self.folder, self.run, self.state, self.network, self.optimizers, self.best, self.mean
            )

    def _resume(self) -> None:
        if self.folder is None:
            return
        found = checkpoint.load(self.folder, self.run, self.network, self.optimizers, self.mean)
        if found is None:
            if (self.folder / checkpoint.FILE).exists():
                log.warning(
                    "checkpoint in '%s' is of other data or settings; training starts anew", self.folder
                )
            return
        self.state, self.best = found
        log.info("%s goes on at epoch %d, step %d", self.phase, self.state.epoch + 1, self.state.step + 1)


def without_seen(dataset: Dataset, config: ModelConfig) -> bool:
    """Whether choices are made with seen items removed: ``config.remove_seen``, else by the dataset's
    protocol.
    """
    return default_seen(dataset) == "removed" if config.remove_seen is None else config.remove_seen
