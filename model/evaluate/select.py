"""Ranks of targets and best items out of full score rows, as tensors, for training and serving;
`model.evaluate.judge` is the judge of results.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.data.sequences import Sequences

LEAST_BLOCKS = 4  # times the items wanted: with fewer blocks than that nearly everything is a candidate
SMALL = 16_384  # scores; below this one selection is over before three smaller steps have begun
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
        rows, items = prefixes.rows, prefixes.items
    else:
        lengths = np.array([len(prefix) for prefix in prefixes], dtype=np.int64)
        items = np.concatenate(prefixes) if prefixes else np.zeros(0, np.int32)
        rows = np.repeat(np.arange(len(lengths)), lengths)
    return torch.from_numpy(rows), torch.from_numpy(items.astype(np.int64))


def pessimistic_ranks(scores: Tensor, targets: Tensor) -> Tensor:
    """Rank of every row's target: 1 + other items with a score at least as high; NaN counts against the
    target.

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
    rows, width = scores.shape
    count = min(k, width)
    # Column c belongs to block c % blocks. The best `count` items stand in the `count` blocks with the
    # highest maxima, so one pass for the maxima and two small selections replace a selection over the whole
    # row; with this depth the selections are about equal.
    depth = math.isqrt(width // count)
    blocks = width // max(depth, 1)
    if rows * width < SMALL or depth < 2 or blocks < LEAST_BLOCKS * count:
        found = torch.topk(scores, count, dim=1)
        return found.values, found.indices
    inside = torch.arange(depth, device=scores.device) * blocks
    best = torch.topk(
        scores[:, : depth * blocks].view(rows, depth, blocks).amax(1), count, dim=1, sorted=False
    ).indices
    # columns that fill no whole layer
    tail = torch.arange(depth * blocks, width, device=scores.device).expand(rows, -1)
    candidates = torch.cat([(best[:, :, None] + inside).flatten(1), tail], dim=1)
    found = torch.topk(scores.gather(1, candidates), count, dim=1)
    return found.values, candidates.gather(1, found.indices)
