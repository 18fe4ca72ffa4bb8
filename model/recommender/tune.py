"""Search of training settings within a given time: successive halving on validation. Knows no network and no
test case.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from model.config import ModelConfig
from model.data.splits import Dataset
from model.mix.weights import LEAST_GAIN

FIRST_EPOCHS = 2  # of the first rung; each rung trains twice as long as the one before
KEPT = 2  # one setting in so many goes on to the next rung, and the plain one always
FILE = "tuning.json"
# What is tried instead of the settings given: one thing at a time, then some together.
CHANGES: tuple[dict[str, Any], ...] = (
    {"score": "cosine", "temperature": 9.0},
    {"score": "cosine", "temperature": 16.0},
    {"dim": 64},
    {"dropout": 0.1, "embedding_dropout": 0.2},
    {"dropout": 0.5, "embedding_dropout": 0.5},
    {"backbone": "gru4rec"},
    {"start": "random"},
    {"learning_rate": 3e-3},
    {"score": "cosine", "temperature": 9.0, "dim": 64},
    {"score": "cosine", "temperature": 16.0, "dim": 64, "dropout": 0.5, "embedding_dropout": 0.5},
    {"dim": 64, "dropout": 0.1, "embedding_dropout": 0.2},
)
log = logging.getLogger("intentstore.model.tune")


@dataclass(frozen=True)
class Trial:
    """One setting, trained for so many epochs.

    Attributes
    ----------
    place : int
        In `candidates`; 0 = the settings given.
    change : dict
        What differs from the settings given.
    epochs : int
        Of its rung; training may have ended before, where it stood still.
    worth : float
        Best so far of what the mix with the network reaches on validation (`model.mix.worth`), NDCG@10 where
        it answers alone.
    seconds : float
        Spent in this rung.
    epoch_seconds : float
        Of one epoch.
    """

    place: int
    change: dict[str, Any]
    epochs: int
    worth: float
    seconds: float
    epoch_seconds: float


# Trains one setting up to so many epochs, going on from its checkpoint: place, config, epochs to the history
# and the seconds of all its processes so far.
Fit = Callable[[int, ModelConfig, int], tuple[Sequence[dict[str, float]], float]]


def candidates(config: ModelConfig, dataset: Dataset) -> list[dict[str, Any]]:
    """Return the changes that make a difference to some settings on some data; the first is none."""
    vectors = dataset.catalogue.vectors if config.text is not False else None
    with_text = vectors is not None and bool(vectors.any())
    found: list[dict[str, Any]] = [{}]
    known = {config.model_dump_json()}
    for change in CHANGES:
        if "start" in change and with_text:
            continue  # item vectors begin at titles there
        try:
            made = ModelConfig.model_validate(config.model_dump() | change).model_dump_json()
        except ValidationError:
            continue  # such as a width that the given number of heads does not divide
        if made not in known:
            known.add(made)
            found.append(change)
    return found


def search(
    dataset: Dataset, config: ModelConfig, seconds: float, fit: Fit, folder: Path, run: str
) -> list[Trial]:
    """Try settings, twice as long those that look best, until the time is spent or one is left.

    Parameters
    ----------
    dataset : Dataset
    config : ModelConfig
        Plain settings; they are trained in every rung, so that what replaces them was better at equal epochs.
    seconds : float
        Of training; what does not fit into the rest is not begun. Time of earlier processes counts.
    fit : callable
    folder : Path
        Holds the record of all trials, replaced after each.
    run : str
        Fingerprint of data and settings; the record of another run is not used.

    Returns
    -------
    list of Trial
        In the order in which they were made.

    References
    ----------
    Jamieson & Talwalkar, 2016, "Non-stochastic best arm identification and hyperparameter optimization"
    (successive halving).
    """
    changes = candidates(config, dataset)
    trials = _read(folder, run)
    places, epochs = list(range(len(changes))), FIRST_EPOCHS
    while len(places) > 1 and epochs <= config.epochs:
        for place in places:
            if any((one.place, one.epochs) == (place, epochs) for one in trials):
                continue
            before = [one for one in trials if one.place == place]
            left = seconds - sum(one.seconds for one in trials)
            if trials and _expected(trials, before, epochs) > left:
                log.info("tuning: %.0f s are left, too few for the next trial", max(left, 0.0))
                return trials
            history, spent = _tried(fit, place, config.model_copy(update=changes[place]), epochs)
            trials.append(
                Trial(
                    place,
                    changes[place],
                    epochs,
                    _worth(history),
                    spent - sum(one.seconds for one in before),
                    spent / max(len(history), 1),
                )
            )
            _write(folder, run, trials)
            log.info("tuning: %s, %d epochs: %.4f", _named(changes[place]), epochs, trials[-1].worth)
        rung = sorted((one for one in trials if one.epochs == epochs), key=lambda one: -one.worth)
        best = [one.place for one in rung[: math.ceil(len(rung) / KEPT)]]
        places = best if 0 in best else [*best, 0]
        if places == [0] or len(rung) <= KEPT:
            break
        epochs *= 2
    return trials


def _tried(
    fit: Fit, place: int, config: ModelConfig, epochs: int
) -> tuple[Sequence[dict[str, float]], float]:
    """Fit; a change that cannot be trained (say, by a loss of NaN) is worth nothing, and ends nothing."""
    started = time.monotonic()
    try:
        return fit(place, config, epochs)
    except ValueError as error:
        if not place:
            raise
        log.warning("tuning: setting %d cannot be trained: %s", place, error)
        return [{"ndcg10": 0.0}], time.monotonic() - started


def chosen(trials: Sequence[Trial]) -> Trial:
    """Return the best trial of the longest rung, if by ``LEAST_GAIN`` better than the plain settings there.

    Where the time ended before the plain settings were trained in that rung, the rung before decides.

    Examples
    --------
    >>> plain, other = Trial(0, {}, 2, 0.30, 1, 1), Trial(1, {"dim": 64}, 2, 0.32, 1, 1)
    >>> chosen([plain, other]).change, chosen([plain, Trial(1, {"dim": 64}, 2, 0.3001, 1, 1)]).change
    ({'dim': 64}, {})
    """
    with_plain = max(one.epochs for one in trials if one.place == 0)
    rung = [one for one in trials if one.epochs == with_plain]
    plain = next(one for one in rung if one.place == 0)
    best = max(rung, key=lambda one: one.worth)
    return best if best.worth >= plain.worth + LEAST_GAIN else plain


def _expected(trials: Sequence[Trial], before: Sequence[Trial], epochs: int) -> float:
    """Seconds that a trial will take: by its own epochs, else by the dearest ones seen."""
    each = before[-1].epoch_seconds if before else max(one.epoch_seconds for one in trials)
    return each * (epochs - (before[-1].epochs if before else 0))


def _worth(history: Sequence[dict[str, float]]) -> float:
    return max(epoch.get("mix", epoch["ndcg10"]) for epoch in history)


def _named(change: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in change.items()) or "as given"


def _read(folder: Path, run: str) -> list[Trial]:
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return [Trial(**one) for one in found["trials"]] if found["run"] == run else []
    except (OSError, ValueError, KeyError, TypeError):
        return []  # none yet, or of another version: tried again


def _write(folder: Path, run: str, trials: Sequence[Trial]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{FILE}.{os.getpid()}"
    part.write_text(
        json.dumps({"run": run, "trials": [asdict(one) for one in trials]}, indent=1), encoding="utf-8"
    )
    part.replace(folder / FILE)
