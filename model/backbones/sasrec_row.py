"""One prefix through a SASRec of one layer, by numpy: for a single session each call of torch costs more than the numbers in it. For scoring only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf
from torch import Tensor

from model.backbones.sasrec import SASRec

Floats = NDArray[np.float32]
ONE, HALF, ROOT_HALF = (np.float32(value) for value in (1.0, 0.5, 0.5**0.5))


class SASRecRow:
    """The weights of a network in evaluation mode, brought into the form that one last click needs.

    With one query, keys and values of the other clicks are never made (see ``model.backbones.sasrec``); here query and key, and value and
    output, are multiplied into one matrix each beforehand, and so are the stretch and shift of the layer norms with the matrices behind them.

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
        # (dim, heads * dim): the last click's vector to what each head asks of the others, and its constant part
        self._ask = np.ascontiguousarray(np.einsum("d,hwd,hwe,e->dhe", stretch, query, key, stretch, optimize=True).reshape(dim, heads * dim))
        self._ask_bias = np.ascontiguousarray(np.einsum("hw,hwe,e->he", query_bias, key, stretch, optimize=True).ravel())
        # (heads * dim, dim): each head's mean of the clicks to the block's output
        give = np.einsum("hwd,ohw->hdo", value, output)
        self._give = np.ascontiguousarray((give * stretch[:, None]).reshape(heads * dim, dim))
        self._give_bias = np.einsum("d,hdo->o", shift, give) + _array(block.output.weight) @ _array(block.key_value.bias)[dim:] + _array(block.output.bias)
        inner, outer = block.feed[0], block.feed[3]
        before = np.ascontiguousarray((_array(inner.weight) * _array(block.feed_norm.weight)).T)
        self._inner = before, _array(inner.weight) @ _array(block.feed_norm.bias) + _array(inner.bias)
        self._outer = np.ascontiguousarray(_array(outer.weight).T), _array(outer.bias)
        self._last = _array(backbone.norm.weight), _array(backbone.norm.bias)
        self._eps = [float(norm.eps) for norm in (block.attention_norm, block.feed_norm, backbone.norm)]
        self._positions, self._heads, self._root = _array(backbone.positions), heads, np.float32(dim**0.5)

    @classmethod
    def fits(cls, backbone: SASRec) -> bool:
        """Whether there is such a form of a backbone."""
        return len(backbone.blocks) == 1 and backbone.positions.device.type == "cpu"

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
    """Take rows to mean 0 and variance 1; shape (..., dim). What a layer norm does after that is part of the matrices that follow."""
    width = x.shape[-1]
    centred: Floats = x - np.add.reduce(x, -1, keepdims=True) / width
    centred /= np.sqrt(np.einsum("...d,...d->...", centred, centred) / width + eps)[..., None]
    return centred


def _array(values: Tensor) -> Floats:
    found: Floats = values.detach().cpu().numpy()
    return found
