"""SR-GNN for answering: see `model.network.backbones.srgnn`."""

from __future__ import annotations

import numpy as np

from model.config import ModelConfig
from model.kernels.compiled import flat, kernel, step
from model.network.kernels import Encoder, Floats, Shapes, Tables, Weights
from model.network.kernels.layers import affine, gated, scaled_rows, session_graph, sigmoid

ALONG = ("incoming.weight", "incoming.bias", "outgoing.weight", "outgoing.bias")
CELL = ("cell.weight_ih", "cell.bias_ih", "cell.weight_hh", "cell.bias_hh")
ASK = ("query_last.weight", "query_item.weight", "query_item.bias")


@step
def gather(edges, given, place, out):
    """Mean of the rows of ``given`` that a node has edges to, 0 without any; shape (dim,)."""
    out[:] = 0
    count = max(np.float32(edges[place].sum()), np.float32(1))
    for other in range(len(given)):
        if edges[place, other] > 0:
            for column in range(len(out)):
                out[column] += given[other, column] / count


@kernel
def sessions(items, offsets, longest, steps, table, along, cell, ask, energy, whole, local):
    """Vectors after the last click.

    Parameters
    ----------
    items : int32, offsets : int64
        Prefixes, of which the newest ``longest`` clicks are read.
    steps : int
        Of propagation.
    table : shape (items, dim)
    along, cell, ask : tuple
        Weights by `ALONG`, `CELL` and `ASK`.
    energy : shape (dim,)
    whole, local : out, shape (sessions, dim)
    """
    in_map, in_bias, out_map, out_bias = along
    cell_x, cell_x_bias, cell_state, cell_state_bias = cell
    last_map, item_map, item_bias = ask
    dim, nothing = table.shape[1], np.empty(0, np.float32)
    x = np.empty((longest, dim), np.float32)
    incoming, outgoing = np.empty((longest, dim), np.float32), np.empty((longest, dim), np.float32)
    given, kept, message = (
        np.empty(3 * dim, np.float32),
        np.empty(3 * dim, np.float32),
        np.empty(2 * dim, np.float32),
    )
    asked, key = np.empty(dim, np.float32), np.empty(dim, np.float32)
    for session in range(len(offsets) - 1):
        end = offsets[session + 1]
        begin = max(offsets[session], end - longest)
        count = end - begin
        first, edges = np.empty(count, np.int64), np.empty((count, count), np.float32)
        session_graph(items, begin, first, edges)
        back = np.ascontiguousarray(edges.T)
        scaled_rows(items, begin, end, table, np.float32(dim**0.5), x)
        for _ in range(steps):
            for place in range(count):
                affine(x[place], in_map, in_bias, incoming[place])
                affine(x[place], out_map, out_bias, outgoing[place])
            for place in range(count):
                gather(back, incoming[:count], place, message[:dim])
                gather(edges, outgoing[:count], place, message[dim:])
                gated(message, x[place], cell_x, cell_x_bias, cell_state, cell_state_bias, given, kept)
        local[session] = x[first[count - 1]]
        affine(local[session], last_map, nothing, asked)
        found = whole[session]
        found[:] = 0
        for place in range(count):
            node = x[first[place]]
            affine(node, item_map, item_bias, key)
            weight = np.float32(0)
            for column in range(dim):
                weight += energy[column] * sigmoid(asked[column] + key[column])
            for column in range(dim):
                found[column] += weight * node[column]


def shapes(config: ModelConfig) -> Shapes:
    """Shapes of the weights."""
    dim = config.dim
    found: dict[str, tuple[int | None, ...]] = {
        name: (dim, dim) if name.endswith("weight") else (dim,) for name in (*ALONG, *ASK)
    }
    found |= {"cell.weight_ih": (3 * dim, 2 * dim), "cell.bias_ih": (3 * dim,)}
    found |= {"cell.weight_hh": (3 * dim, dim), "cell.bias_hh": (3 * dim,)}
    return found | {"energy.weight": (1, dim), "output.weight": (dim, 2 * dim)}


def encoder(config: ModelConfig, weights: Weights, tables: Tables) -> Encoder:
    """Return the compiled backbone."""
    along = tuple(flat(weights[name], np.float32) for name in ALONG)
    cell = tuple(flat(weights[name], np.float32) for name in CELL)
    ask = tuple(flat(weights[name], np.float32) for name in ASK)
    energy, output = flat(weights["energy.weight"][0], np.float32), flat(weights["output.weight"], np.float32)

    def combine(global_: Floats, local: Floats) -> Floats:
        found = np.empty_like(global_)
        joined = np.concatenate([local, global_], axis=1)
        for row, one in zip(joined, found, strict=True):  # one by one: a sum must not depend on the batch
            affine(row, output, np.zeros(0, np.float32), one)
        return found

    return Encoder(
        lambda items, offsets, whole, local: sessions(
            items,
            offsets,
            config.max_length,
            config.layers,
            tables.prepared,
            along,
            cell,
            ask,
            energy,
            whole,
            local,
        ),
        combine,
    )
