"""A training run on disk: one safetensors file, replaced in one step, so that a kill at any instant leaves a
whole one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from feature_repo.contract.files import replacing
from model.config import ModelConfig
from model.data.splits import Dataset
from model.network.averaging import RunningMean

FILE = "checkpoint.safetensors"
FORMAT = 1


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used; the text names the file and the remedy."""


@dataclass
class Progress:
    """Where a run stands.

    Attributes
    ----------
    epoch, step : int
        Next step to run, from 0.
    best_epoch : int
        Epochs done when validation was best; 0 = none yet.
    best_value : float
        Validation NDCG@10 then.
    loss_sum, targets : float, int
        Of the running epoch.
    seconds : float
        Spent in all processes of this run.
    history : list of dict
        One entry an epoch.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_value: float = -1.0
    loss_sum: float = 0.0
    targets: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] | None = None


def fingerprint(dataset: Dataset, config: ModelConfig, phase: str) -> str:
    """Identify a run by data, settings and phase; equal runs may continue each other's checkpoint."""
    digest = hashlib.sha256(f"{FORMAT} {phase} {config.model_dump_json(exclude={'threads'})}".encode())
    digest.update("\0".join(dataset.catalogue.item_ids).encode())
    arrays = [dataset.train.items, dataset.train.offsets, dataset.catalogue.vectors]
    for cases in (dataset.valid, dataset.train_cases):
        arrays += (
            []
            if cases is None
            else [cases.prefixes.items, cases.prefixes.offsets, cases.targets, cases.long, cases.short]
        )
    for array in arrays:
        digest.update(b"none" if array is None else array.tobytes())
    return digest.hexdigest()[:32]


def save(
    folder: Path,
    run: str,
    progress: Progress,
    network: nn.Module,
    optimizers: list[Optimizer],
    best: dict[str, Tensor] | None,
    mean: RunningMean | None = None,
) -> None:
    """Write the run's state; the file is whole at every instant.

    Parameters
    ----------
    folder : Path
    run : str
        Fingerprint.
    progress : Progress
    network : Module
    optimizers : list of Optimizer
        In a fixed order.
    best : dict of Tensor, optional
        Weights at the best validation so far.
    mean : RunningMean, optional
    """
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        for place, state in optimizer.state_dict()["state"].items():
            tensors |= {
                f"optimizer.{number}.{place}.{name}": torch.as_tensor(value) for name, value in state.items()
            }
    tensors |= {f"best.{name}": value for name, value in (best or {}).items()}
    tensors |= {f"mean.{name}": value for name, value in (mean.values.items() if mean is not None else ())}
    with replacing(folder / FILE, durable=True) as part:
        save_file(
            {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
            part,
            {"run": run, "progress": json.dumps(vars(progress))},
        )


def load(
    folder: Path, run: str, network: nn.Module, optimizers: list[Optimizer], mean: RunningMean | None = None
) -> tuple[Progress, dict[str, Tensor] | None] | None:
    """Put a run's state back.

    Returns
    -------
    (Progress, best weights or None), or None
        None when there is no checkpoint, or it belongs to another run (other data or settings), which is then
        started anew.

    Raises
    ------
    CheckpointError
        If the file is damaged.
    """
    file = folder / FILE
    if not file.exists():
        return None
    try:
        with safe_open(file, framework="pt") as handle:
            about = handle.metadata() or {}
            if about.get("run") != run:
                return None
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a dict
            progress = Progress(**json.loads(about["progress"]))
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint '{file}' cannot be read ({error}); delete it to train from the start"
        ) from None
    network.load_state_dict(_under(tensors, "network."))
    for number, optimizer in enumerate(optimizers):
        _restore(optimizer, _under(tensors, f"optimizer.{number}."))
    if mean is not None:
        mean.load(_under(tensors, "mean."))
    best = _under(tensors, "best.")
    return progress, best or None


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _restore(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    content: dict[str, Any] = optimizer.state_dict()
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        place, _, key = name.partition(".")
        # SparseAdam counts steps in a plain integer.
        plain = type(optimizer).__name__ == "SparseAdam" and key == "step"
        state.setdefault(int(place), {})[key] = int(value.item()) if plain else value
    content["state"] = state
    optimizer.load_state_dict(content)
