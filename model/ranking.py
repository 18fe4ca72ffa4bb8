"""Ranks of targets and best items out of full score rows. Knows no model; the one place where a rank is counted."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.sequences import Sequences

Prefixes = Sequences | list[NDArray[np.int32]]


def remove_seen(scores: Tensor, prefixes: Prefixes) -> None:
    """Set the scores of every row's own prefix items to -inf, in place.

    Parameters
    ----------
    scores : Tensor, shape (cases, n_items)
    prefixes : Sequences or list of ndarray
        One a row.
    """
    rows, items = seen_pairs(prefixes)
    scores[rows, items] = float("-inf")


def seen_pairs(prefixes: Prefixes) -> tuple[Tensor, Tensor]:
    """Row and item of every click of the prefixes, int64, shape (clicks,) each."""
    if isinstance(prefixes, Sequences):
        lengths, items = prefixes.lengths, prefixes.items
    else:
        lengths = np.array([len(prefix) for prefix in prefixes], dtype=np.int64)
        items = np.concatenate(prefixes) if prefixes else np.zeros(0, np.int32)
    return torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)), torch.from_numpy(items.astype(np.int64))


def pessimistic_ranks(scores: Tensor, targets: Tensor) -> Tensor:
    """Rank of every row's target: 1 + other items with a score at least as high; NaN counts against the target.

    Parameters
    ----------
    scores : Tensor, shape (cases, n_items)
        Higher is better; -inf = not to be recommended.
    targets : Tensor, shape (cases,), int64

    Returns
    -------
    Tensor, shape (cases,), int64
        From 1; n_items for a target that was itself removed.

    Examples
    --------
    >>> pessimistic_ranks(torch.tensor([[0.5, 0.5, 0.1]]), torch.tensor([0])).tolist()
    [2]
    """
    wanted = scores.gather(1, targets[:, None])
    return (~(scores < wanted)).sum(1)


def best_items(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Scores and items of the best ``k`` of every row, best first, each of shape (cases, min(k, n_items))."""
    found = torch.topk(scores, min(k, scores.shape[1]), dim=1)
    return found.values, found.indices
