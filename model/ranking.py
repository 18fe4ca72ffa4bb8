"""Ranks of targets and best items out of full score rows, as tensors, for training and serving; `model.evaluate` is the judge of results."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.sequences import Sequences

LARGE_ROW = 50_000  # from here on a pass over block maxima is several times faster than a selection over the whole row
BLOCK = 1_024
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
    """Find the best ``k`` items of every row.

    Parameters
    ----------
    scores : Tensor, shape (cases, n_items)
        No NaN.
    k : int

    Returns
    -------
    values, items : Tensor, shape (cases, min(k, n_items))
        Best first.

    Examples
    --------
    >>> best_items(torch.tensor([[0.1, 0.9, 0.4]]), 2)[1].tolist()
    [[1, 2]]
    """
    count = min(k, scores.shape[1])
    if scores.shape[1] < LARGE_ROW or count * BLOCK > scores.shape[1]:
        found = torch.topk(scores, count, dim=1)
        return found.values, found.indices
    rows = [_best_of_large(row, count) for row in scores]
    return torch.stack([values for values, _ in rows]), torch.stack([items for _, items in rows])


def _best_of_large(row: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Exact top ``count`` of one long row: an item of the top is never below the count-th best block maximum."""
    whole = len(row) // BLOCK * BLOCK
    heads = row[:whole].view(-1, BLOCK).amax(1)
    border = torch.topk(heads, count).values[-1]
    candidates = torch.nonzero(row >= border).flatten()
    best = torch.topk(row[candidates], count)
    return best.values, candidates[best.indices]
