"""What every backbone offers: a prefix of clicks becomes a global and a local vector. Knows nothing of
losses, texts or catalogues.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn

from model.config import ModelConfig


@dataclass(frozen=True)
class Clicks:
    """Sequences of one batch, padded on the right.

    Attributes
    ----------
    items : Tensor, shape (batch, length), int64
        Item indices; 0 in padded places (the mask, not the index, marks padding).
    lengths : Tensor, shape (batch,), int64
        Clicks of each row, at least 1.
    """

    items: Tensor
    lengths: Tensor

    @cached_property
    def padded(self) -> bool:
        """Whether any row is shorter than the longest one."""
        return bool((self.lengths < self.items.shape[1]).any())

    @cached_property
    def mask(self) -> Tensor:
        """True where a click is, shape (batch, length)."""
        return torch.arange(self.items.shape[1], device=self.items.device)[None, :] < self.lengths[:, None]

    def last(self, values: Tensor) -> Tensor:
        """Take each row's vector at its last click: (batch, length, dim) to (batch, dim)."""
        return last(values, self.lengths) if self.padded else values[:, -1]


@dataclass(frozen=True)
class Graph:
    """What the training sequences say about items, for backbones that propagate over the catalogue.

    Attributes
    ----------
    neighbours : Tensor, shape (n_items, k), int64
        Most frequent neighbours within a few clicks; the item itself fills empty places.
    weights : Tensor, shape (n_items, k), float32
        How often, 0 in empty places.
    members : Tensor, shape (2, memberships), int64
        Distinct (item, session) pairs of the hypergraph.
    n_sessions : int
        Hyperedges.
    """

    neighbours: Tensor
    weights: Tensor
    members: Tensor
    n_sessions: int


class Backbone(nn.Module, ABC):
    """A session network behind one interface.

    ``every_position`` says whether ``encode`` gives a vector for every prefix of a row at once (causal
    networks), or for the whole row only (graph networks, whose graph would leak the future); training then
    expands prefixes.
    """

    every_position: ClassVar[bool] = True
    # True: built as ``cls(config, graph)`` with the graph of the training sequences
    needs_graph: ClassVar[bool] = False
    # memory grows with length squared times width; the batcher then makes smaller batches
    pairwise: ClassVar[bool] = False

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dim = config.dim
        self.max_length = config.max_length
        self.dropout = nn.Dropout(config.dropout)

    @abstractmethod
    def encode(self, clicks: Clicks, vectors: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        """Read prefixes.

        Parameters
        ----------
        clicks : Clicks
            Item indices and lengths.
        vectors : Tensor, shape (batch, length, dim)
            Item vectors of the clicks, zero in padded places.
        last_only : bool
            Give only the vectors after the last click.

        Returns
        -------
        tuple of Tensor
            Global vector (the whole prefix) and local vector (the last click), each (batch, length, dim) for
            every prefix of a row, or (batch, dim) when ``last_only`` or when the network has no causal form.
        """

    def combine(self, global_: Tensor, local: Tensor) -> Tensor:
        """Make the session vector that is compared with items; shape as the inputs."""
        return global_

    def propagate(self, table: Tensor) -> Tensor:
        """Turn the item table into the one that prefixes read and scores use, shape (n_items, dim); most
        backbones leave it alone.
        """
        return table

    def auxiliary(self, clicks: Clicks, table: Tensor, sessions: Tensor) -> Tensor | None:
        """Give the architecture's own extra loss, if it has one, shape ()."""
        return None


def last(values: Tensor, lengths: Tensor) -> Tensor:
    """Take each row's last valid vector.

    Parameters
    ----------
    values : Tensor, shape (batch, length, dim)
    lengths : Tensor, shape (batch,)

    Returns
    -------
    Tensor, shape (batch, dim)

    Examples
    --------
    >>> last(torch.arange(6.0).reshape(1, 3, 2), torch.tensor([2])).tolist()
    [[2.0, 3.0]]
    """
    return values[torch.arange(len(values), device=values.device), lengths - 1]


def running_mean(values: Tensor) -> Tensor:
    """Mean of the first 1, 2, ... vectors of a row, shape (batch, length, dim)."""
    counts = torch.arange(1, values.shape[1] + 1, device=values.device, dtype=values.dtype)
    return values.cumsum(1) / counts[None, :, None]
