"""SASRec (Kang & McAuley, 2018): causal self-attention over the clicks, read with learned positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.backbones.base import Backbone, Clicks, last
from model.config import ModelConfig


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
        self.feed = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(dim, dim))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, lengths: Tensor, last_only: bool) -> Tensor:
        """Map (batch, length, dim) to the same shape, or to (batch, 1, dim) for the last click of each row only."""
        batch, length, dim = x.shape
        normed = self.attention_norm(x)
        key, value = self.key_value(normed).reshape(batch, length, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        if last_only:
            x = last(x, lengths)[:, None]
            query = self.query(last(normed, lengths)[:, None])
            mask = (torch.arange(length, device=x.device)[None] < lengths[:, None])[:, None, None, :]
        else:
            query, mask = self.query(normed), None
        query = query.reshape(batch, -1, self.heads, dim // self.heads).transpose(1, 2)
        drop = self.dropout.p if self.training else 0.0
        # Rows are padded on the right, so the causal mask alone keeps padding out of every valid position.
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=drop, is_causal=mask is None)
        x = x + self.dropout(self.output(mixed.transpose(1, 2).reshape(batch, -1, dim)))
        return torch.as_tensor(x + self.dropout(self.feed(self.feed_norm(x))))


class SASRec(Backbone):
    """Self-attentive sequential recommendation; global = output at the last click, local = that click's own vector."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.positions = nn.Parameter(torch.randn(config.max_length, config.dim) * 0.02)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)

    def encode(self, clicks: Clicks, vectors: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        """Read prefixes; see Backbone.encode."""
        x = vectors * self.dim**0.5 + self.positions[: vectors.shape[1]]
        for index, block in enumerate(self.blocks):
            x = block(x, clicks.lengths, last_only and index == len(self.blocks) - 1)
        x = self.norm(x)
        if last_only:
            return x[:, 0], last(vectors, clicks.lengths)
        return x, vectors
