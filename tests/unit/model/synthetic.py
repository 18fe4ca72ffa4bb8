"""Small made-up shops for the model's tests: item n is usually followed by n + 1, and titles say which family
an item is of.
"""

from __future__ import annotations

import numpy as np

from model.data.catalogue import Catalogue
from model.data.sequences import Sequences
from model.data.splits import Dataset, leave_one_out

ITEMS, TEXT_DIM = 40, 12


def vectors(items: int = ITEMS) -> np.ndarray:
    """Unit vectors; neighbours on the ring of items have like titles."""
    random = np.random.default_rng(5)
    basis = random.normal(size=(4, TEXT_DIM))
    angle = 2 * np.pi * np.arange(items)[:, None] / items
    found = (
        np.cos(angle) @ basis[:1] + np.sin(angle) @ basis[1:2] + 0.05 * random.normal(size=(items, TEXT_DIM))
    )
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def catalogue(items: int = ITEMS, text: bool = True) -> Catalogue:
    """Items "i0", "i1", ... with or without titles."""
    names = [f"i{number}" for number in range(items)]
    titles = [f"thing {number}" if text else "" for number in range(items)]
    return Catalogue(names, titles, [""] * items, vectors(items) if text else None)


def dataset(sessions: int = 120, text: bool = True, without: int | None = None) -> Dataset:
    """Leave-one-out over walks along the ring; item ``without`` is in the catalogue but never clicked."""
    random = np.random.default_rng(7)
    walks = []
    for _ in range(sessions):
        steps = random.choice([1, 1, 1, 2], size=random.integers(4, 9))
        walk = (random.integers(ITEMS) + np.cumsum(steps)) % ITEMS
        walks.append([int(item) for item in walk if item != without])
    parts = leave_one_out(Sequences.of(walks))
    return Dataset(
        "ring",
        "leave-one-out",
        catalogue(text=text),
        parts.train,
        parts.valid,
        parts.test,
        validation_sequences=parts.validation_sequences,
    )
