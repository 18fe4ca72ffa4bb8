"""GCE-GNN for answering: see `model.network.backbones.gcegnn`."""

from __future__ import annotations

import numpy as np

from model.config import ModelConfig
from model.kernels.compiled import flat, kernel, step
from model.network.kernels import Encoder, Shapes, Tables, Weights
from model.network.kernels.layers import affine, means_of, scaled_rows, session_graph, sigmoid, softmax

GLOBAL = ("context.weight", "context_energy.weight", "merge.weight", "merge.bias")
READ = (
    "positions",
    "position.weight",
    "position.bias",
    "query_item.weight",
    "query_item.bias",
    "query_mean.weight",
    "energy.weight",
)


@step
def leaky(x):
    """Return x, a fifth of it below 0."""
    return x if x > 0 else np.float32(0.2) * x


@step
def session_level(h, first, edges, relation, place, out):
    """Attention of one click's node along the session's own edges (eq. 7-9), shape (dim,)."""
    node = first[place]
    energies, others = np.empty(len(h), np.float32), np.empty(len(h), np.int64)
    count = 0
    for other in range(len(h)):
        away, back = edges[node, other] > 0, edges[other, node] > 0
        kind = 0 if other == node else (3 if away and back else (1 if away else (2 if back else -1)))
        if kind >= 0:
            energy = np.float32(0)
            for column in range(len(out)):
                energy += h[node, column] * relation[kind, column] * h[other, column]
            energies[count], others[count] = leaky(energy), other
            count += 1
    softmax(energies[:count])
    out[:] = 0
    for one in range(count):
        for column in range(len(out)):
            out[column] += energies[one] * h[others[one], column]


@step
def global_level(item, here, mean, raw, neighbours, counts, weights, out):
    """Attention over an item's neighbours in all sessions (eq. 2-5), shape (dim,)."""
    context, context_energy, merge, merge_bias = weights
    dim, width = len(out), neighbours.shape[1]
    root = np.float32(dim**0.5)
    around, energies = np.empty((width, dim), np.float32), np.empty(width, np.float32)
    keys, hidden, joined = (
        np.empty(dim + 1, np.float32),
        np.empty(dim, np.float32),
        np.zeros(2 * dim, np.float32),
    )
    known = item < len(neighbours)  # a new item is its own neighbour of weight 0
    for one in range(width):
        other = neighbours[item, one] if known else item
        for column in range(dim):
            around[one, column] = raw[other, column] * root
            keys[column] = mean[column] * around[one, column]
        keys[dim] = counts[item, one] if known else np.float32(0)
        affine(keys, context, np.empty(0, np.float32), hidden)
        energy = np.float32(0)
        for column in range(dim):
            energy += context_energy[0, column] * leaky(hidden[column])
        energies[one] = energy
    softmax(energies)
    for column in range(dim):
        joined[column] = here[column]
        for one in range(width):
            joined[dim + column] += energies[one] * around[one, column]
    affine(joined, merge, merge_bias, out)
    for column in range(dim):
        out[column] = max(out[column], np.float32(0))


@kernel
def sessions(items, offsets, tables, graph, relation, global_weights, read, whole, local):
    """Vectors after the last click.

    Parameters
    ----------
    items : int32, offsets : int64
        Prefixes, of which the newest ``len(positions)`` clicks are read.
    tables : tuple
        Item vectors as prefixes read them, and as neighbours are read; shape (items, dim).
    graph : tuple
        Neighbours int64 and how often they met, shape (fitted items, k).
    relation : shape (4, dim)
        Of an edge to itself, out, in, both.
    global_weights, read : tuple
        Weights by `GLOBAL` and `READ`.
    whole, local : out, shape (sessions, dim)
    """
    table, raw = tables
    positions, place_map, place_bias, item_map, item_bias, mean_map, energy = read
    longest, dim = positions.shape
    h, merged = np.empty((longest, dim), np.float32), np.empty((longest, dim), np.float32)
    joined = np.empty(2 * dim, np.float32)
    room = np.empty((5, dim), np.float32)
    mean, part, z, key, asked = room[0], room[1], room[2], room[3], room[4]
    for session in range(len(offsets) - 1):
        end = offsets[session + 1]
        begin = max(offsets[session], end - longest)
        count = end - begin
        first, edges = np.empty(count, np.int64), np.empty((count, count), np.float32)
        session_graph(items, begin, first, edges)
        scaled_rows(items, begin, end, table, np.float32(dim**0.5), h)
        means_of(h[:count], mean)
        for place in range(count):
            item = items[begin + place]
            global_level(item, h[place], mean, raw, graph[0], graph[1], global_weights, part)
            session_level(h[:count], first, edges, relation, place, merged[place])
            for column in range(dim):
                merged[place, column] += part[column]
        means_of(merged[:count], mean)
        affine(mean, mean_map, np.empty(0, np.float32), asked)
        found = whole[session]
        found[:] = 0
        for place in range(count):
            joined[:dim], joined[dim:] = merged[place], positions[count - 1 - place]
            affine(joined, place_map, place_bias, z)
            for column in range(dim):
                z[column] = np.tanh(z[column])
            affine(z, item_map, item_bias, key)
            weight = np.float32(0)
            for column in range(dim):
                weight += energy[0, column] * sigmoid(key[column] + asked[column])
            for column in range(dim):
                found[column] += weight * merged[place, column]
        local[session] = merged[count - 1]


def shapes(config: ModelConfig) -> Shapes:
    """Shapes of the weights."""
    dim = config.dim
    found: dict[str, tuple[int | None, ...]] = {
        "context.weight": (dim, dim + 1),
        "context_energy.weight": (1, dim),
    }
    found |= {"merge.weight": (dim, 2 * dim), "merge.bias": (dim,), "relation": (4, dim)}
    found |= {"positions": (config.max_length, dim), "position.weight": (dim, 2 * dim)}
    found |= {"position.bias": (dim,), "query_item.weight": (dim, dim), "query_item.bias": (dim,)}
    found |= {"query_mean.weight": (dim, dim), "energy.weight": (1, dim)}
    return found | {"neighbours": (None, None), "weights": (None, None)}


def encoder(config: ModelConfig, weights: Weights, tables: Tables) -> Encoder:
    """Return the compiled backbone."""
    graph = flat(weights["neighbours"], np.int64), flat(weights["weights"], np.float32)
    global_weights = tuple(flat(weights[name], np.float32) for name in GLOBAL)
    read = tuple(flat(weights[name], np.float32) for name in READ)
    relation = flat(weights["relation"], np.float32)
    both = tables.prepared, tables.raw
    return Encoder(
        lambda items, offsets, whole, local: sessions(
            items, offsets, both, graph, relation, global_weights, read, whole, local
        )
    )
