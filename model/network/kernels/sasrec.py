"""SASRec for answering: see `model.network.backbones.sasrec`."""

from __future__ import annotations

import numpy as np

from model.config import ModelConfig
from model.kernels.compiled import flat, kernel, step
from model.kernels.cosines import dot
from model.network.kernels import Encoder, Floats, Shapes, Tables, Weights
from model.network.kernels.layers import affine, gelu, norm, scaled_rows, softmax

EPS = np.float32(1e-5)  # of torch's layer norms


@step
def click(x, normed, place, layer, heads, blocks):
    """One block for the click at ``place``, in place of ``x[place]``: ``x + Attention(LN x)``, then ``x +
    FFN(LN x)``.

    Keys and values of the other clicks are never made: with one query, ``q . (K x + k)`` is ``(K' q) . x``
    plus a number that falls out of the softmax, and the mean of ``V x + v`` is ``V`` of the mean plus ``v``.

    Parameters
    ----------
    x, normed : shape (clicks, dim)
        Vectors of the clicks, and their layer norm.
    place, layer, heads : int
    blocks : tuple
        Weights of all layers; see `encoder`.
    """
    queries, query_biases, key_values, key_value_biases, outputs, output_biases = blocks[:6]
    feed_norms, feed_shifts, inner, inner_biases, outer, outer_biases = blocks[6:]
    dim = x.shape[1]
    width = dim // heads
    query, mixed, out = np.empty(dim, np.float32), np.empty(dim, np.float32), np.empty(dim, np.float32)
    asked, mean, shares = (
        np.empty(dim, np.float32),
        np.empty(dim, np.float32),
        np.empty(place + 1, np.float32),
    )
    affine(normed[place], queries[layer], query_biases[layer], query)
    scale = np.float32(width**-0.5)
    for head in range(heads):
        asked[:] = 0
        for row in range(head * width, (head + 1) * width):
            factor, key = scale * query[row], key_values[layer, row]
            for column in range(dim):
                asked[column] += factor * key[column]
        for other in range(place + 1):
            shares[other] = dot(asked, normed[other])
        softmax(shares)
        mean[:] = 0
        for other in range(place + 1):
            share, row_of = shares[other], normed[other]
            for column in range(dim):
                mean[column] += share * row_of[column]
        begin, end = dim + head * width, dim + (head + 1) * width
        affine(
            mean,
            key_values[layer, begin:end],
            key_value_biases[layer, begin:end],
            mixed[head * width : (head + 1) * width],
        )
    affine(mixed, outputs[layer], output_biases[layer], out)
    here = x[place]
    for column in range(dim):
        here[column] += out[column]
    norm(here, feed_norms[layer], feed_shifts[layer], EPS, mixed)
    affine(mixed, inner[layer], inner_biases[layer], query)
    gelu(query)
    affine(query, outer[layer], outer_biases[layer], out)
    for column in range(dim):
        here[column] += out[column]


@kernel
def sessions(
    items, offsets, table, positions, norms, shifts, blocks, heads, last_norm, last_shift, whole, local
):
    """Vectors after the last click.

    Parameters
    ----------
    items : int32, offsets : int64
        Prefixes, of which the newest ``len(positions)`` clicks are read.
    table : shape (items, dim)
    positions : shape (longest, dim)
    norms, shifts : shape (layers, dim)
        Of the layer norms before attention.
    blocks : tuple
        As of `click`.
    last_norm, last_shift : shape (dim,)
    whole, local : out, shape (sessions, dim)
    """
    layers, dim = norms.shape
    x, normed = np.empty(positions.shape, np.float32), np.empty(positions.shape, np.float32)
    for session in range(len(offsets) - 1):
        end = offsets[session + 1]
        begin = max(offsets[session], end - len(positions))
        count = end - begin
        scaled_rows(items, begin, end, table, np.float32(dim**0.5), x)
        for place in range(count):
            for column in range(dim):
                x[place, column] += positions[place, column]
        for layer in range(layers):
            for place in range(count):
                norm(x[place], norms[layer], shifts[layer], EPS, normed[place])
            for place in range(count - 1 if layer == layers - 1 else 0, count):
                click(x, normed, place, layer, heads, blocks)
        norm(x[count - 1], last_norm, last_shift, EPS, whole[session])
        local[session] = table[items[end - 1]]


BLOCK = (
    "query.weight",
    "query.bias",
    "key_value.weight",
    "key_value.bias",
    "output.weight",
    "output.bias",
    "feed_norm.weight",
    "feed_norm.bias",
    "feed.0.weight",
    "feed.0.bias",
    "feed.3.weight",
    "feed.3.bias",
)


def shapes(config: ModelConfig) -> Shapes:
    """Shapes of the weights."""
    dim = config.dim
    block = {
        "attention_norm.weight": (dim,),
        "attention_norm.bias": (dim,),
        "query.weight": (dim, dim),
        "query.bias": (dim,),
        "key_value.weight": (2 * dim, dim),
        "key_value.bias": (2 * dim,),
        "output.weight": (dim, dim),
        "output.bias": (dim,),
        "feed_norm.weight": (dim,),
        "feed_norm.bias": (dim,),
        "feed.0.weight": (dim, dim),
        "feed.0.bias": (dim,),
        "feed.3.weight": (dim, dim),
        "feed.3.bias": (dim,),
    }
    found: dict[str, tuple[int | None, ...]] = {
        f"blocks.{layer}.{name}": shape for layer in range(config.layers) for name, shape in block.items()
    }
    return found | {"positions": (config.max_length, dim), "norm.weight": (dim,), "norm.bias": (dim,)}


def encoder(config: ModelConfig, weights: Weights, tables: Tables) -> Encoder:
    """Return the compiled backbone."""

    def stacked(name: str) -> Floats:
        return flat(
            np.stack([weights[f"blocks.{layer}.{name}"] for layer in range(config.layers)]), np.float32
        )

    norms, shifts = stacked("attention_norm.weight"), stacked("attention_norm.bias")
    blocks = tuple(stacked(name) for name in BLOCK)
    read = tables.prepared, flat(weights["positions"], np.float32), norms, shifts, blocks, config.heads
    last = flat(weights["norm.weight"], np.float32), flat(weights["norm.bias"], np.float32)
    return Encoder(lambda items, offsets, whole, local: sessions(items, offsets, *read, *last, whole, local))
