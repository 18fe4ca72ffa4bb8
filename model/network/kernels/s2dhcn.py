"""S2-DHCN for answering: see `model.network.backbones.s2dhcn`."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from model.config import ModelConfig
from model.kernels.compiled import flat, kernel
from model.network.kernels import Encoder, Floats, Shapes, Tables, Weights
from model.network.kernels.layers import affine, means_of, scaled_rows, sigmoid

NAMES = (
    "position_item.weight",
    "position_item.bias",
    "query_item.weight",
    "query_item.bias",
    "query_mean.weight",
)


@kernel
def sessions(items, offsets, table, places, weights, energy, whole, local):
    """Vectors after the last click.

    Parameters
    ----------
    items : int32, offsets : int64
        Prefixes, of which the newest ``len(places)`` clicks are read.
    table : shape (items, dim)
    places : shape (longest, dim)
        Position vectors by clicks after, through their map.
    weights : tuple
        `NAMES`, in that order.
    energy : shape (dim,)
    whole, local : out, shape (sessions, dim)
    """
    item_map, item_bias, query_map, query_bias, mean_map = weights
    longest, dim = places.shape
    x, nothing = np.empty((longest, dim), np.float32), np.empty(0, np.float32)
    room = np.empty((4, dim), np.float32)
    mean, asked, placed, query = room[0], room[1], room[2], room[3]
    for session in range(len(offsets) - 1):
        end = offsets[session + 1]
        begin = max(offsets[session], end - longest)
        count = end - begin
        scaled_rows(items, begin, end, table, np.float32(dim**0.5), x)
        means_of(x[:count], mean)
        affine(mean, mean_map, nothing, asked)
        found = whole[session]
        found[:] = 0
        for place in range(count):
            affine(x[place], item_map, item_bias, placed)
            for column in range(dim):
                placed[column] = np.tanh(placed[column] + places[count - 1 - place, column])
            affine(placed, query_map, query_bias, query)
            weight = np.float32(0)
            for column in range(dim):
                weight += energy[column] * sigmoid(query[column] + asked[column])
            for column in range(dim):
                found[column] += weight * x[place, column]
        local[session] = x[count - 1]


def propagate(config: ModelConfig, weights: Weights, table: Floats) -> Floats:
    """Smooth item vectors over the hypergraph of sessions (eq. 4, 5); items that joined later keep theirs."""
    items, of_session = np.asarray(weights["members"], dtype=np.int64)
    fitted, total_sessions = len(weights["item_degree"]), len(weights["session_size"])
    joined = sparse.csr_matrix(
        (np.ones(len(items), np.float32), (of_session, items)), shape=(total_sessions, fitted)
    )
    degree = np.asarray(weights["item_degree"])[:, None]
    x = table[:fitted]
    total = x.copy()
    for _ in range(config.layers):
        edges = (joined @ x) / np.asarray(weights["session_size"])[:, None]
        x = np.where(degree > 0, (joined.T @ edges) / np.maximum(degree, 1), x).astype(np.float32)
        total += x
    return np.concatenate([total / np.float32(config.layers + 1), table[fitted:]])


def shapes(config: ModelConfig) -> Shapes:
    """Shapes of the weights."""
    dim = config.dim
    found: dict[str, tuple[int | None, ...]] = {
        name: (dim, dim) if name.endswith("weight") else (dim,) for name in NAMES
    }
    found |= {"position_place.weight": (dim, dim), "energy.weight": (1, dim)}
    return found | {"positions": (config.max_length, dim), "members": (2, None)}


def encoder(config: ModelConfig, weights: Weights, tables: Tables) -> Encoder:
    """Return the compiled backbone."""
    places = flat(weights["positions"] @ weights["position_place.weight"].T, np.float32)
    read = tuple(flat(weights[name], np.float32) for name in NAMES)
    energy = flat(weights["energy.weight"][0], np.float32)
    return Encoder(
        lambda items, offsets, whole, local: sessions(
            items, offsets, tables.prepared, places, read, energy, whole, local
        )
    )
