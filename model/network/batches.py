"""Training sequences as batches of like length, the same for the same seed and epoch; and the graph of the
training sequences.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.config import ModelConfig
from model.data.sequences import Sequences
from model.network.backbones import Clicks, Graph

# a step of a backbone without a causal form takes batch_size * 4 prefixes, about the targets of a causal step
PREFIXES_PER_SEQUENCE = 4
PAIR_BUDGET = 40_000  # rows * length^2 of a step for pairwise backbones: about 300 MB at dim 128
BUCKET_STEPS = 50  # sequences are sorted by length within this many steps, so that order stays random beyond
NEIGHBOURS = 12  # of the global graph, as in GCE-GNN
NEIGHBOUR_REACH = 3  # clicks apart, as in GCE-GNN

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Stretches of the flat click array that are trained on: inputs ``items[start:stop]``, targets one click
    later.

    Attributes
    ----------
    start, stop : ndarray int64, shape (rows,)
    every_position : bool
        Every click of a stretch has a target, or only the last one.
    """

    start: Places
    stop: Places
    every_position: bool

    @property
    def targets(self) -> int:
        """Targets of one epoch."""
        return int((self.stop - self.start).sum()) if self.every_position else len(self.start)


def training_rows(sequences: Sequences, max_length: int, every_position: bool) -> Rows:
    """Cut sequences into rows; each click but the first of a sequence is a target exactly once.

    Parameters
    ----------
    sequences : Sequences
    max_length : int
        Longest input; longer sequences become several rows (or longer prefixes lose their oldest clicks).
    every_position : bool
        One row a sequence, or one a prefix.

    Returns
    -------
    Rows

    Examples
    --------
    >>> rows = training_rows(Sequences.of([[1, 2, 3]]), 50, every_position=False)
    >>> list(zip(rows.start.tolist(), rows.stop.tolist()))
    [(0, 1), (0, 2)]
    """
    begin, end = sequences.offsets[:-1], sequences.offsets[1:] - 1  # the last click is a target only
    inputs = np.maximum(end - begin, 0)
    if every_position:
        pieces = -(-inputs // max_length)
        owner = np.repeat(np.arange(len(inputs)), pieces)
        number = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        # counted from the end, so that the newest clicks have the longest context
        stop = end[owner] - number * max_length
        return Rows(np.maximum(begin[owner], stop - max_length), stop, True)
    owner = np.repeat(np.arange(len(inputs)), inputs)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(inputs) - inputs, inputs)
    stop = begin[owner] + number + 1
    return Rows(np.maximum(begin[owner], stop - max_length), stop, False)


def epoch_batches(rows: Rows, config: ModelConfig, epoch: int, pairwise: bool = False) -> list[Places]:
    """Deal rows into batches of like length, in random order.

    Parameters
    ----------
    rows : Rows
    config : ModelConfig
        ``batch_size`` and ``seed``.
    epoch : int
        With the seed it fixes the order completely.
    pairwise : bool
        Keep rows * length^2 of a batch within ``PAIR_BUDGET``.

    Returns
    -------
    list of ndarray int64
        Row numbers of each step; every row once.
    """
    random = np.random.default_rng([config.seed, epoch])
    size = config.batch_size * (1 if rows.every_position else PREFIXES_PER_SEQUENCE)
    lengths = rows.stop - rows.start
    order = random.permutation(len(lengths))
    batches: list[Places] = []
    for place in range(0, len(order), size * BUCKET_STEPS):
        bucket = order[place : place + size * BUCKET_STEPS]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        batches += list(_cut(bucket, lengths, size, pairwise))
    return [batches[step] for step in random.permutation(len(batches))]


def _cut(bucket: Places, lengths: Places, size: int, pairwise: bool) -> Iterator[Places]:
    place = 0
    while place < len(bucket):
        chosen = bucket[place : place + size]
        while pairwise and len(chosen) > 1 and len(chosen) * int(lengths[chosen[-1]]) ** 2 > PAIR_BUDGET:
            chosen = chosen[: max(1, len(chosen) // 2)]
        yield chosen
        place += len(chosen)


def gather(flat: NDArray[np.int32], start: Places, stop: Places) -> tuple[Clicks, torch.Tensor]:
    """Pad stretches of the flat array on the right.

    Returns
    -------
    clicks : Clicks
    places : Tensor, shape (batch, length), int64
        Place of each click in the flat array; -1 where padded.
    """
    lengths = stop - start
    steps = np.arange(int(lengths.max()))
    inside = steps[None] < lengths[:, None]
    places = np.where(inside, start[:, None] + steps, -1)
    items = np.where(inside, flat[places], 0).astype(np.int64)
    return Clicks(torch.from_numpy(items), torch.from_numpy(lengths.astype(np.int64))), torch.from_numpy(
        places
    )


def pad(prefixes: list[NDArray[np.int32]] | Sequences, max_length: int) -> Clicks:
    """Pad prefixes on the right, newest ``max_length`` clicks of each; none may be empty."""
    if not isinstance(prefixes, Sequences):
        prefixes = Sequences.of([prefix.tolist() for prefix in prefixes])
    lengths = np.minimum(prefixes.lengths, max_length)
    # Every place of the padded rows reads the flat array; those behind a row's end read its last click and
    # are then set to 0.
    steps = np.arange(int(lengths.max(initial=1)))[None]
    places = (prefixes.offsets[1:] - lengths)[:, None] + np.minimum(steps, lengths[:, None] - 1)
    items = np.where(steps < lengths[:, None], prefixes.items[places], 0).astype(np.int64)
    return Clicks(torch.from_numpy(items), torch.from_numpy(lengths))


def make_graph(sequences: Sequences, n_items: int) -> Graph:
    """Read the global item graph and the session hypergraph off the training sequences.

    Parameters
    ----------
    sequences : Sequences
        Training only.
    n_items : int

    Returns
    -------
    Graph
    """
    items = sequences.items.astype(np.int64)
    session = np.repeat(np.arange(len(sequences)), sequences.lengths)
    pairs = []
    for reach in range(1, NEIGHBOUR_REACH + 1):
        near = session[reach:] == session[:-reach]
        left, right = items[:-reach][near], items[reach:][near]
        pairs += [left * n_items + right, right * n_items + left]
    keys, counts = np.unique(np.concatenate(pairs), return_counts=True)
    source, target = keys // n_items, keys % n_items
    keep = source != target
    source, target, counts = source[keep], target[keep], counts[keep]
    order = np.lexsort((target, -counts, source))
    source, target, counts = source[order], target[order], counts[order]
    rank = np.arange(len(source)) - np.searchsorted(source, source)
    top = rank < NEIGHBOURS
    neighbours = np.repeat(np.arange(n_items)[:, None], NEIGHBOURS, axis=1)
    weights = np.zeros((n_items, NEIGHBOURS), np.float32)
    neighbours[source[top], rank[top]] = target[top]
    weights[source[top], rank[top]] = counts[top]
    members = np.unique(items * len(sequences) + session)
    hyper = np.stack([members // len(sequences), members % len(sequences)])
    return Graph(
        torch.from_numpy(neighbours), torch.from_numpy(weights), torch.from_numpy(hyper), len(sequences)
    )
