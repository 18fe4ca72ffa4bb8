"""One prefix through a SASRec of one layer, by numpy: for a single session each call of torch costs more than the numbers in it. For scoring only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf
from torch import Tensor

from model.backbones.sasrec import SASRec

Floats = NDArray[np.float32]


class SASRecRow:
    """The weights of a network in evaluation mode, brought into the form that one last click needs.

    With one query, keys and values of the other clicks are never made (see ``model.backbones.sasrec``); here query and key, and value and
    output, are multiplied into one matrix each beforehand.

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
        scale = np.float32(width**-0.5)
        query, query_bias = _array(block.query.weight).reshape(heads, width, dim), _array(block.query.bias).reshape(heads, width)
        output = _array(block.output.weight).reshape(dim, heads, width)
        # (dim, heads * dim): the last click's vector to what each head asks of the others, and its constant part
        self._ask = np.ascontiguousarray(np.einsum("hwd,hwe->dhe", query, key).reshape(dim, heads * dim) * scale)
        self._ask_bias = (np.einsum("hw,hwe->he", query_bias, key) * scale).astype(np.float32)
        # (heads * dim, dim): each head's mean of the clicks to the block's output
        self._give = np.ascontiguousarray(np.einsum("hwd,ohw->hdo", value, output).reshape(heads * dim, dim))
        self._give_bias = _array(block.output.weight) @ _array(block.key_value.bias)[dim:] + _array(block.output.bias)
        self._norms = [(_array(norm.weight), _array(norm.bias), float(norm.eps)) for norm in (block.attention_norm, block.feed_norm, backbone.norm)]
        inner, outer = block.feed[0], block.feed[3]
        self._feed = [np.ascontiguousarray(_array(layer.weight).T) for layer in (inner, outer)], [_array(layer.bias) for layer in (inner, outer)]
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
        normed = _normed(x, *self._norms[0])
        asked = (normed[-1] @ self._ask).reshape(self._heads, -1) + self._ask_bias
        scores = asked @ normed.T
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        last = x[-1] + (weights @ normed).ravel() @ self._give + self._give_bias
        (inner, outer), (inner_bias, outer_bias) = self._feed
        hidden = _normed(last, *self._norms[1]) @ inner + inner_bias
        hidden *= (erf(hidden * np.float32(0.5**0.5)) + 1) * np.float32(0.5)
        return np.asarray(_normed(last + hidden @ outer + outer_bias, *self._norms[2]), dtype=np.float32)


def _normed(x: Floats, weight: Floats, bias: Floats, eps: float) -> Floats:
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + np.float32(eps))
    return np.asarray(centred / spread * weight + bias)


def _array(values: Tensor) -> Floats:
    found: Floats = values.detach().cpu().numpy()
    return found
