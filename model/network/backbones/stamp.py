"""STAMP (Liu et al., 2018): attention over the clicks, led by the last click and the mean of the session."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.network.backbones.base import Backbone, Clicks, last, running_mean


class STAMP(Backbone):
    """Short-term attention/memory priority.

    For the prefix that ends at click t (equation numbers of the paper)::

        m_s = mean(x_1..x_t)                                             (2)
        a_i = w0 . sigmoid(W1 x_i + W2 x_t + W3 m_s + b)                 (7)
        m_a = sum_i a_i x_i                                              (8)
        h_s = tanh(Ws m_a + bs),  h_t = tanh(Wt x_t + bt)                (5)
        score_j = <h_s, h_t, x_j>                                        (4)

    Global is h_s, local is h_t; the session vector is their element-wise product.
    """

    pairwise = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        dim = config.dim
        self.item = nn.Linear(dim, dim, bias=False)
        self.current = nn.Linear(dim, dim, bias=False)
        self.mean = nn.Linear(dim, dim)
        self.energy = nn.Linear(dim, 1, bias=False)
        self.session_cell = nn.Linear(dim, dim)
        self.item_cell = nn.Linear(dim, dim)
        # products of tanh are small; lets the logits reach a useful range
        self.gain = nn.Parameter(torch.tensor(float(dim) ** 0.5))

    def encode(self, clicks: Clicks, vectors: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        """Read prefixes; see Backbone.encode."""
        x = vectors * self.dim**0.5
        means = running_mean(x)
        ends = last(x, clicks.lengths)[:, None] if last_only else x
        end_means = last(means, clicks.lengths)[:, None] if last_only else means
        # (batch, ends, length, dim)
        keys = self.item(x)[:, None] + (self.current(ends) + self.mean(end_means))[:, :, None]
        energy = self.energy(torch.sigmoid(keys)).squeeze(-1)
        positions = torch.arange(x.shape[1], device=x.device)
        if last_only:
            allowed = clicks.mask[:, None]
        else:
            allowed = (positions[None, :] <= positions[:, None])[None]
        memory = (energy * allowed) @ x
        global_ = torch.tanh(self.session_cell(self.dropout(memory)))
        local = torch.tanh(self.item_cell(self.dropout(ends)))
        if last_only:
            return global_[:, 0], local[:, 0]
        return global_, local

    def combine(self, global_: Tensor, local: Tensor) -> Tensor:
        """Element-wise product, the trilinear score of eq. 4."""
        return global_ * local * self.gain
