"""A small network that predicts the LLM's two intent vectors from a prefix's title vectors, for prefixes the
LLM never saw.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from feature_repo.contract.files import replacing
from model.intent.types import SessionIntent

if TYPE_CHECKING:
    from model.intent.ground.encoder import EncoderSource

STUDENT_FILE: Final = "student.safetensors"
HIDDEN: Final = 256
EPOCHS: Final = 200
PATIENCE: Final = 15  # epochs without a better validation cosine
LEAST_SESSIONS: Final = 24  # fewer LLM intents than that teach nothing that could be measured
HELD_OUT_SHARE: Final = 0.2


@dataclass(frozen=True)
class Agreement:
    """How close predictions come to held-out LLM intents: mean cosine by view, and the same of the trivial
    predictor.

    Attributes
    ----------
    student_long, student_short : float
        Of the network.
    trivial_long, trivial_short : float
        Of the recency-weighted title mean.
    sessions, held_out : int
        Sessions learned from, and sessions measured on.
    """

    student_long: float
    student_short: float
    trivial_long: float
    trivial_short: float
    sessions: int
    held_out: int


class Student:
    """The trained network, as plain arrays: one hidden layer on top of the trivial predictor.

    Parameters
    ----------
    tensors : dict of arrays
        ``w1`` (inputs, hidden), ``b1``, ``w2`` (hidden, 2 * dim), ``b2``, ``skip`` (4): how much of each
        trivial vector is kept.
    agreement : Agreement
        Measured when it was trained.
    """

    name = "student"

    def __init__(self, tensors: dict[str, NDArray[np.float32]], agreement: Agreement) -> None:
        self._tensors = tensors
        self.agreement = agreement

    def predict(
        self, long: NDArray[np.float32], short: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Predict the LLM's intent vectors.

        Parameters
        ----------
        long, short : arrays, float32, shape (n, dim)
            Recency-weighted title means of the prefixes (``EncoderSource.vectors``).

        Returns
        -------
        long, short : arrays, float32, shape (n, dim)
            Unit rows; zeros where the prefix is unknown.
        """
        parts = self._tensors
        hidden = np.maximum(np.concatenate([long, short], 1) @ parts["w1"] + parts["b1"], 0.0)
        both = hidden @ parts["w2"] + parts["b2"]
        dim = long.shape[1]
        skip = parts["skip"]
        known = np.abs(long).sum(1, keepdims=True) > 0
        first = both[:, :dim] + skip[0] * long + skip[1] * short
        second = both[:, dim:] + skip[2] * long + skip[3] * short
        return _unit(np.where(known, first, 0.0)), _unit(np.where(known, second, 0.0))

    def infer(self, prefixes: Sequence[Sequence[str]], encoder: EncoderSource) -> list[SessionIntent]:
        """Return one intent a prefix, explained by its nearest titles; ``none`` for prefixes of unknown
        items.
        """
        long, short = self.predict(*encoder.vectors(prefixes))
        views = encoder.views(np.concatenate([long, short]))
        count = len(prefixes)
        return [
            SessionIntent(views[row], views[count + row], self.name if np.any(long[row]) else "none")
            for row in range(count)
        ]

    def save(self, path: Path) -> None:
        """Write the network and its agreement to one safetensors file."""
        from safetensors.numpy import save_file

        with replacing(path) as part:
            save_file(self._tensors, part, metadata={"agreement": json.dumps(vars(self.agreement))})

    @classmethod
    def load(cls, path: Path) -> Student:
        """Read what ``save`` wrote."""
        from safetensors import safe_open

        with safe_open(str(path), framework="np") as file:
            # safe_open is no mapping
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            agreement = Agreement(**json.loads(file.metadata()["agreement"]))
        return cls(tensors, agreement)


def train_student(
    trivial: tuple[NDArray[np.float32], NDArray[np.float32]],
    wanted: tuple[NDArray[np.float32], NDArray[np.float32]],
    *,
    seed: int = 0,
) -> Student | None:
    """Train a student on cached LLM intents.

    Parameters
    ----------
    trivial : (long, short) arrays, float32, shape (n, dim)
        Recency-weighted title means of the prefixes.
    wanted : (long, short) arrays, float32, shape (n, dim)
        The LLM's intent vectors of the same prefixes.
    seed : int
        Of the split and the weights.

    Returns
    -------
    Student or None
        With the agreement on a held-out fifth; None when there are fewer than ``LEAST_SESSIONS`` prefixes.
    """
    count, dim = trivial[0].shape
    if count < LEAST_SESSIONS:
        return None
    order = np.random.default_rng(seed).permutation(count)
    test, valid, train = np.split(order, [int(HELD_OUT_SHARE * count), int(2 * HELD_OUT_SHARE * count)])
    inputs = np.concatenate(trivial, 1)
    targets = np.concatenate(wanted, 1)
    tensors = _fit(inputs, targets, train, valid, dim, seed)
    student = Student(tensors, Agreement(0.0, 0.0, 0.0, 0.0, 0, 0))
    guess = student.predict(trivial[0][test], trivial[1][test])
    student.agreement = Agreement(
        _cosine(guess[0], wanted[0][test]),
        _cosine(guess[1], wanted[1][test]),
        _cosine(trivial[0][test], wanted[0][test]),
        _cosine(trivial[1][test], wanted[1][test]),
        len(train) + len(valid),
        len(test),
    )
    return student


def _fit(
    inputs: NDArray[np.float32],
    targets: NDArray[np.float32],
    train: NDArray[np.int64],
    valid: NDArray[np.int64],
    dim: int,
    seed: int,
) -> dict[str, NDArray[np.float32]]:
    import torch

    torch.manual_seed(seed)
    x, y = torch.from_numpy(inputs), torch.from_numpy(targets)
    parts: dict[str, Any] = {
        "w1": torch.randn(2 * dim, HIDDEN) * (2.0 / (2 * dim)) ** 0.5,
        "b1": torch.zeros(HIDDEN),
        "w2": torch.zeros(HIDDEN, 2 * dim),
        "b2": torch.zeros(2 * dim),
        "skip": torch.tensor([1.0, 0.0, 0.0, 1.0]),
    }
    for tensor in parts.values():
        tensor.requires_grad_(True)
    steps = torch.optim.AdamW(parts.values(), lr=2e-3, weight_decay=1e-2)

    def loss(rows: NDArray[np.int64], drop: float) -> Any:
        chosen = torch.from_numpy(rows)
        given, asked = x[chosen], y[chosen]
        hidden = torch.dropout(torch.relu(given @ parts["w1"] + parts["b1"]), drop, train=drop > 0)
        both = hidden @ parts["w2"] + parts["b2"]
        long, short, skip = given[:, :dim], given[:, dim:], parts["skip"]
        cosine = torch.nn.functional.cosine_similarity
        first = cosine(both[:, :dim] + skip[0] * long + skip[1] * short, asked[:, :dim])
        second = cosine(both[:, dim:] + skip[2] * long + skip[3] * short, asked[:, dim:])
        return 1.0 - (first.mean() + second.mean()) / 2

    best, kept, waited = float("inf"), {name: tensor.detach().clone() for name, tensor in parts.items()}, 0
    for _ in range(EPOCHS):
        for start in range(0, len(train), 256):
            steps.zero_grad()
            loss(train[start : start + 256], 0.3).backward()
            steps.step()
        with torch.no_grad():
            now = float(loss(valid if len(valid) else train, 0.0))
        waited = waited + 1
        if now < best - 1e-5:
            best, waited = now, 0
            kept = {name: tensor.detach().clone() for name, tensor in parts.items()}
        if waited >= PATIENCE:
            break
    return {name: tensor.numpy() for name, tensor in kept.items()}


def _cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    return float((_unit(first) * _unit(second)).sum(1).mean())


def _unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
