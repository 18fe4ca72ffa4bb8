"""SASRec (Kang & McAuley, 2018): causal self-attention over the clicks, read with learned positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import erf
from torch import Tensor, nn
from torch.nn import functional

from model.config import ModelConfig
from model.network.backbones.base import Backbone, Clicks, SingleRow

Floats = NDArray[np.float32]
ONE, HALF, ROOT_HALF = (np.float32(value) for value in (1.0, 0.5, 0.5**0.5))


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

    def single_row(self) -> SingleRow | None:
        """See Backbone.single_row; there is one for a single layer."""
        fits = len(self.blocks) == 1 and self.positions.device.type == "cpu"
        return SASRecRow(self) if fits else None


class SASRecRow:
    """One prefix through a SASRec of one layer, by numpy: for a single session each call of torch costs more
    than its numbers.

    The weights of a network in evaluation mode are brought into the form that one last click needs.

    With one query, keys and values of the other clicks are never made (see ``Block``); here query and key,
    and value and output, are multiplied into one matrix each beforehand, and so are the stretch and shift of
    the layer norms with the matrices behind them.

    Parameters
    ----------
    backbone : SASRec
        Of one layer, in the processor's memory; later changes of its weights are not seen.
    """

    def __init__(self, backbone: SASRec) -> None:
        layers: Any = backbone.blocks
        block, dim = layers[0], backbone.dim
        heads, width = block.heads, dim // block.heads
        key, value = _array(block.key_value.weight).reshape(2, heads, width, dim)
        stretch, shift = _array(block.attention_norm.weight), _array(block.attention_norm.bias)
        query = _array(block.query.weight).reshape(heads, width, dim) * np.float32(width**-0.5)
        query_bias = _array(block.query.bias).reshape(heads, width) * np.float32(width**-0.5) + query @ shift
        output = _array(block.output.weight).reshape(dim, heads, width)
        # (dim, heads * dim): the last click's vector to what each head asks of the others, and its constant
        # part
        self._ask = np.ascontiguousarray(
            np.einsum("d,hwd,hwe,e->dhe", stretch, query, key, stretch, optimize=True).reshape(
                dim, heads * dim
            )
        )
        self._ask_bias = np.ascontiguousarray(
            np.einsum("hw,hwe,e->he", query_bias, key, stretch, optimize=True).ravel()
        )
        # (heads * dim, dim): each head's mean of the clicks to the block's output
        give = np.einsum("hwd,ohw->hdo", value, output)
        self._give = np.ascontiguousarray((give * stretch[:, None]).reshape(heads * dim, dim))
        self._give_bias = (
            np.einsum("d,hdo->o", shift, give)
            + _array(block.output.weight) @ _array(block.key_value.bias)[dim:]
            + _array(block.output.bias)
        )
        inner, outer = block.feed[0], block.feed[3]
        before = np.ascontiguousarray((_array(inner.weight) * _array(block.feed_norm.weight)).T)
        self._inner = before, _array(inner.weight) @ _array(block.feed_norm.bias) + _array(inner.bias)
        self._outer = np.ascontiguousarray(_array(outer.weight).T), _array(outer.bias)
        self._last = _array(backbone.norm.weight), _array(backbone.norm.bias)
        self._eps = [float(norm.eps) for norm in (block.attention_norm, block.feed_norm, backbone.norm)]
        self._positions, self._heads, self._root = _array(backbone.positions), heads, np.float32(dim**0.5)

    def __call__(self, vectors: Floats) -> Floats:
        """Give the vector after the last click.

        Parameters
        ----------
        vectors : ndarray float32, shape (clicks, dim)
            Item vectors of a prefix, oldest first, at least one and at most ``max_length``.

        Returns
        -------
        ndarray float32, shape (dim,)
            As ``SASRec.encode`` gives it for ``last_only``, up to rounding.
        """
        x = vectors * self._root + self._positions[: len(vectors)]
        normed = _normed(x, self._eps[0])
        asked = (normed[-1] @ self._ask + self._ask_bias).reshape(self._heads, -1)
        scores = asked @ normed.T
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        last = x[-1] + (weights @ normed).ravel() @ self._give + self._give_bias
        hidden = _normed(last, self._eps[1]) @ self._inner[0] + self._inner[1]
        hidden *= (erf(hidden * ROOT_HALF) + ONE) * HALF
        last += hidden @ self._outer[0] + self._outer[1]
        return _normed(last, self._eps[2]) * self._last[0] + self._last[1]


def _normed(x: Floats, eps: float) -> Floats:
    """Take rows to mean 0 and variance 1; shape (..., dim). What a layer norm does after that is part of the
    matrices that follow.
    """
    width = x.shape[-1]
    centred: Floats = x - np.add.reduce(x, -1, keepdims=True) / width
    centred /= np.sqrt(np.einsum("...d,...d->...", centred, centred) / width + eps)[..., None]
    return centred


def _array(values: Tensor) -> Floats:
    found: Floats = values.detach().cpu().numpy()
    return found
