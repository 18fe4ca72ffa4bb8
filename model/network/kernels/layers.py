"""Steps that several networks share: affine maps, layer norms, gates, attention of one click.

Types: everything float32, matrices as torch keeps them: (outputs, inputs).
"""

from __future__ import annotations

import math

import numpy as np

from model.kernels.compiled import kernel, step, summing
from model.kernels.cosines import dot, exponential

ONE = np.float32(1)


@kernel
def affine(x, weight, bias, out):
    """``out = weight x + bias``; an empty bias is none."""
    for row in range(len(out)):
        out[row] = dot(weight[row], x) + (bias[row] if len(bias) else np.float32(0))


@step
def sigmoid(x):
    """Return 1 / (1 + e ** -x)."""
    return ONE / (ONE + exponential(-x))


@summing
def norm(x, stretch, shift, eps, out):
    """Layer norm: mean 0 and variance 1, stretched and shifted."""
    mean = np.float32(0)
    for place in range(len(x)):
        mean += x[place]
    mean /= np.float32(len(x))
    square = np.float32(0)
    for place in range(len(x)):
        square += (x[place] - mean) * (x[place] - mean)
    scale = ONE / np.sqrt(square / np.float32(len(x)) + eps)
    for place in range(len(x)):
        out[place] = (x[place] - mean) * scale * stretch[place] + shift[place]


@step
def softmax(values):
    """Turn numbers into shares, in place."""
    most = values.max()
    total = np.float32(0)
    for place in range(len(values)):
        values[place] = exponential(values[place] - most)
        total += values[place]
    for place in range(len(values)):
        values[place] /= total


@step
def gelu(values):
    """``x * P(normal < x)``, in place."""
    for place in range(len(values)):
        x = values[place]
        values[place] = x * np.float32(0.5 * (1.0 + math.erf(x * 0.7071067811865476)))


@step
def gated(x, state, weight_x, bias_x, weight_state, bias_state, given, kept):
    """One step of a gated recurrent unit, in place of ``state``; ``given`` and ``kept`` are room for 3 dim
    numbers each::

        r, z = sigmoid(Wx x + bx + Ws s + bs),  c = tanh(Wx x + bx + r (Ws s + bs)),  s = (1 - z) c + z s
    """
    dim = len(state)
    affine(x, weight_x, bias_x, given)
    affine(state, weight_state, bias_state, kept)
    for place in range(dim):
        reset = sigmoid(given[place] + kept[place])
        update = sigmoid(given[dim + place] + kept[dim + place])
        candidate = np.tanh(given[2 * dim + place] + reset * kept[2 * dim + place])
        state[place] = (ONE - update) * candidate + update * state[place]


@step
def scaled_rows(items, begin, end, table, factor, out):
    """``out[i] = factor * table[items[begin + i]]``, shape (clicks, dim)."""
    for place in range(begin, end):
        for column in range(table.shape[1]):
            out[place - begin, column] = factor * table[items[place], column]


@step
def means_of(rows, out):
    """Mean of rows, shape (dim,)."""
    out[:] = 0
    for row in range(len(rows)):
        for column in range(len(out)):
            out[column] += rows[row, column]
    for column in range(len(out)):
        out[column] /= np.float32(len(rows))


@step
def session_graph(items, begin, first, edges):
    """A prefix's click graph: ``first[i]`` is the place where the item of click i came first, ``edges[a, b]``
    1 where node a was followed by node b; shapes (clicks,) and (clicks, clicks).
    """
    edges[:, :] = 0
    for place in range(len(first)):
        first[place] = place
        for earlier in range(place):
            if items[begin + earlier] == items[begin + place]:
                first[place] = earlier
                break
        if place:
            edges[first[place - 1], first[place]] = 1
