"""LLM4SBR's gates for answering: see `model.network.fusion`."""

from __future__ import annotations

import numpy as np

from model.kernels.compiled import kernel, step
from model.kernels.cosines import TINY, dot
from model.network.kernels.layers import affine, sigmoid

NAMES = (
    "projection.weight",
    "projection.bias",
    "long_gate.weight",
    "short_gate.weight",
    "output.weight",
)


@step
def own_intent(items, begin, end, views, half_life, out):
    """Recency-weighted mean of the clicks' titles at length 1, shape (text_dim,)."""
    out[:] = 0
    for place in range(begin, end):
        weight = np.float32(0.5 ** ((end - 1 - place) / half_life))
        for column in range(len(out)):
            out[column] += weight * views[items[place], column]
    length = max(np.sqrt(dot(out, out)), TINY)
    for column in range(len(out)):
        out[column] /= length


@step
def gated_half(behaviour, view, on, projection, bias, gate, out):
    """``out = (gate . sigmoid(behaviour + projected view)) * behaviour``; a view of 0 or switched off adds
    nothing. Shapes (dim,).
    """
    projected = np.zeros(len(behaviour), np.float32)
    if on and np.any(view != 0):
        affine(view, projection, bias, projected)
    alpha = np.float32(0)
    for column in range(len(behaviour)):
        alpha += gate[0, column] * sigmoid(behaviour[column] + projected[column])
    for column in range(len(behaviour)):
        out[column] = alpha * behaviour[column]


@kernel
def fused(items, offsets, longest, views, half_lives, long, short, switches, weights, whole, local, out):
    """Session vectors (eq. 6-13).

    Parameters
    ----------
    items : int32, offsets : int64
        Prefixes, of which the newest ``longest`` clicks are read.
    views : shape (items, text_dim)
    half_lives : float64, shape (2,)
        Of the long and the short view that are made where none is given.
    long, short : shape (sessions, text_dim) or (0, text_dim)
        Given intents; rows of 0 are none.
    switches : bool, shape (2,)
        Whether the long and the short view are read.
    weights : tuple
        By `NAMES`.
    whole, local : shape (sessions, dim)
    out : shape (sessions, dim)
    """
    projection, bias, long_gate, short_gate, output = weights
    dim = whole.shape[1]
    joined, view = np.empty(2 * dim, np.float32), np.empty(views.shape[1], np.float32)
    for session in range(len(offsets) - 1):
        end = offsets[session + 1]
        begin = max(offsets[session], end - longest)
        if len(long) and np.any(long[session] != 0):
            view[:] = long[session]
        else:
            own_intent(items, begin, end, views, half_lives[0], view)
        gated_half(whole[session], view, switches[0], projection, bias, long_gate, joined[dim:])
        if len(short) and np.any(short[session] != 0):
            view[:] = short[session]
        else:
            own_intent(items, begin, end, views, half_lives[1], view)
        gated_half(local[session], view, switches[1], projection, bias, short_gate, joined[:dim])
        affine(joined, output, np.empty(0, np.float32), out[session])
