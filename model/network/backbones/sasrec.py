"""SASRec (Kang & McAuley, 2018): causal self-attention over the clicks, read with learned positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ModelConfig
from model.network.backbones.base import Backbone, Clicks


class Gelu(nn.Module):
    """Gaussian error linear unit; written out for scoring, where the library's own kernel takes longer than
    the rest of the block.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return x * P(normal < x), any shape."""
        if self.training:
            return functional.gelu(x)
        return x * torch.erf(x * 0.5**0.5).add_(1.0).mul_(0.5)


class Block(nn.Module):
    """One pre-norm block: x + Attention(LN x), then x + FFN(LN x) (eq. 2-6)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.output = nn.Linear(dim, dim)
        self.feed_norm = nn.LayerNorm(dim)
        self.feed = nn.Sequential(
            nn.Linear(dim, dim), Gelu(), nn.Dropout(config.dropout), nn.Linear(dim, dim)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, clicks: Clicks, last_only: bool) -> Tensor:
        """Map (batch, length, dim) to the same shape, or to (batch, 1, dim) for the last click of each row
        only.
        """
        batch, _, dim = x.shape
        normed = self.attention_norm(x)
        if last_only:
            return self._rest(clicks.last(x), self._last(normed, clicks))[:, None]
        key, value = (
            self.key_value(normed).reshape(batch, -1, 2, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        )
        query = self.query(normed).reshape(batch, -1, self.heads, dim // self.heads).transpose(1, 2)
        drop = self.dropout.p if self.training else 0.0
        # Rows are padded on the right, so the causal mask alone keeps padding out of every valid position.
        mixed = functional.scaled_dot_product_attention(query, key, value, dropout_p=drop, is_causal=True)
        return self._rest(x, mixed.transpose(1, 2).reshape(batch, -1, dim))

    def _rest(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Everything behind the attention; shapes (..., dim)."""
        x = x + self.dropout(self.output(mixed))
        return torch.as_tensor(x + self.dropout(self.feed(self.feed_norm(x))))

    def _last(self, normed: Tensor, clicks: Clicks) -> Tensor:
        """Attention of the last click alone, for scoring: (batch, length, dim) to (batch, dim).

        Keys and values of the other clicks are never made. With one query, ``q . (K x + k)`` is ``(K' q) .
        x`` plus a number that is the same for every click and so falls out of the softmax, and the mean of
        ``V x + v`` is ``V`` of the mean plus ``v``: a tenth of the products at 50 clicks.
        """
        batch, _, dim = normed.shape
        heads, width = self.heads, dim // self.heads
        key, value = self.key_value.weight.view(2, heads, width, dim)
        query = self.query(clicks.last(normed)).view(batch, heads, width)
        asked = ((query * width**-0.5).transpose(0, 1) @ key).transpose(0, 1)
        scores = asked @ normed.transpose(1, 2)
        if clicks.padded:
            scores = scores.masked_fill(~clicks.mask[:, None], float("-inf"))
        weights = torch.softmax(scores, dim=2)
        mixed = (weights @ normed).transpose(0, 1) @ value.transpose(1, 2)
        return torch.as_tensor(mixed.transpose(0, 1).reshape(batch, dim) + self.key_value.bias[dim:])


class SASRec(Backbone):
    """Self-attentive sequential recommendation; global = output at the last click, local = that click's own
    vector.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.positions = nn.Parameter(torch.randn(config.max_length, config.dim) * 0.02)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)

    def encode(self, clicks: Clicks, vectors: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        """Read prefixes; see Backbone.encode."""
        x = vectors * self.dim**0.5 + self.positions[: vectors.shape[1]]
        for index, block in enumerate(self.blocks):
            x = block(x, clicks, last_only and index == len(self.blocks) - 1)
        x = self.norm(x)
        if last_only:
            return x[:, 0], clicks.last(vectors)
        return x, vectors
