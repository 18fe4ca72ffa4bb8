"""STAMP for answering: see `model.network.backbones.stamp`."""

from __future__ import annotations

import numpy as np

from model.config import ModelConfig
from model.kernels.compiled import flat, kernel
from model.network.kernels import Encoder, Floats, Shapes, Tables, Weights
from model.network.kernels.layers import affine, means_of, scaled_rows, sigmoid

NAMES = (
    "item.weight",
    "current.weight",
    "mean.weight",
    "mean.bias",
    "energy.weight",
    "session_cell.weight",
    "session_cell.bias",
    "item_cell.weight",
    "item_cell.bias",
)


@kernel
def sessions(items, offsets, longest, table, weights, whole, local):
    """Vectors after the last click.

    Parameters
    ----------
    items : int32, offsets : int64
        Prefixes, of which the newest ``longest`` clicks are read.
    table : shape (items, dim)
    weights : tuple
        `NAMES`, in that order.
    whole, local : out, shape (sessions, dim)
    """
    of_item, of_current, of_mean, bias, energy, session_map, session_bias, item_map, item_bias = weights
    dim, nothing = table.shape[1], np.empty(0, np.float32)
    x = np.empty((longest, dim), np.float32)
    room = np.empty((4, dim), np.float32)
    mean, first, second, key = room[0], room[1], room[2], room[3]
    memory = np.empty(dim, np.float32)
    for session in range(len(offsets) - 1):
        end = offsets[session + 1]
        begin = max(offsets[session], end - longest)
        count = end - begin
        scaled_rows(items, begin, end, table, np.float32(dim**0.5), x)
        means_of(x[:count], mean)
        affine(x[count - 1], of_current, nothing, first)
        affine(mean, of_mean, bias, second)
        memory[:] = 0
        for place in range(count):
            affine(x[place], of_item, nothing, key)
            weight = np.float32(0)
            for column in range(dim):
                weight += energy[column] * sigmoid(key[column] + first[column] + second[column])
            for column in range(dim):
                memory[column] += weight * x[place, column]
        affine(memory, session_map, session_bias, key)
        whole[session] = np.tanh(key)
        affine(x[count - 1], item_map, item_bias, key)
        local[session] = np.tanh(key)


def shapes(config: ModelConfig) -> Shapes:
    """Shapes of the weights."""
    dim = config.dim
    found: dict[str, tuple[int | None, ...]] = {
        name: (dim, dim) if name.endswith("weight") else (dim,) for name in NAMES
    }
    return found | {"energy.weight": (1, dim)}


def encoder(config: ModelConfig, weights: Weights, tables: Tables) -> Encoder:
    """Return the compiled backbone."""
    read = tuple(flat(np.asarray(weights[name]).squeeze(), np.float32) for name in NAMES)
    gain = np.asarray(weights["gain"], np.float32).reshape(())

    def combine(global_: Floats, local: Floats) -> Floats:
        return np.asarray(global_ * local * gain)

    return Encoder(
        lambda items, offsets, whole, local: sessions(
            items, offsets, config.max_length, tables.prepared, read, whole, local
        ),
        combine,
    )
