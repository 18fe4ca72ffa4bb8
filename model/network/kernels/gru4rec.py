"""GRU4Rec for answering: see `model.network.backbones.gru4rec`."""

from __future__ import annotations

import numpy as np

from model.config import ModelConfig
from model.kernels.compiled import flat, kernel
from model.network.kernels import Encoder, Floats, Shapes, Tables, Weights
from model.network.kernels.layers import affine, gated, norm, scaled_rows

EPS = np.float32(1e-5)  # of torch's layer norms


@kernel
def sessions(items, offsets, longest, table, gates, output, output_bias, stretch, shift, whole, local):
    """Vectors after the last click.

    Parameters
    ----------
    items : int32, offsets : int64
        Prefixes, of which the newest ``longest`` clicks are read.
    table : shape (items, dim)
    gates : tuple
        Weights of x (layers, 3 dim, dim), their biases, weights of the state, their biases.
    output, output_bias, stretch, shift
        Affine map and layer norm behind.
    whole, local : out, shape (sessions, dim)
    """
    weights_x, biases_x, weights_state, biases_state = gates
    dim = table.shape[1]
    given, kept = np.empty(3 * dim, np.float32), np.empty(3 * dim, np.float32)
    x, out = np.empty((longest, dim), np.float32), np.empty(dim, np.float32)
    for session in range(len(offsets) - 1):
        end = offsets[session + 1]
        begin = max(offsets[session], end - longest)
        scaled_rows(items, begin, end, table, np.float32(dim**0.5), x)
        for layer in range(len(weights_x)):
            state = np.zeros(dim, np.float32)
            for place in range(end - begin):
                gated(
                    x[place],
                    state,
                    weights_x[layer],
                    biases_x[layer],
                    weights_state[layer],
                    biases_state[layer],
                    given,
                    kept,
                )
                x[place] = state
        affine(x[end - begin - 1], output, output_bias, out)
        norm(out, stretch, shift, EPS, whole[session])
        local[session] = table[items[end - 1]]


def shapes(config: ModelConfig) -> Shapes:
    """Shapes of the weights."""
    dim = config.dim
    gates = {"weight_ih": (3 * dim, dim), "bias_ih": (3 * dim,)}
    gates |= {"weight_hh": (3 * dim, dim), "bias_hh": (3 * dim,)}
    found: dict[str, tuple[int | None, ...]] = {
        f"gru.{name}_l{layer}": shape for layer in range(config.layers) for name, shape in gates.items()
    }
    found |= {"output.weight": (dim, dim), "output.bias": (dim,)}
    return found | {"scale.weight": (dim,), "scale.bias": (dim,)}


def encoder(config: ModelConfig, weights: Weights, tables: Tables) -> Encoder:
    """Return the compiled backbone."""

    def stacked(name: str) -> Floats:
        return flat(np.stack([weights[f"gru.{name}_l{layer}"] for layer in range(config.layers)]), np.float32)

    gates = tuple(stacked(name) for name in ("weight_ih", "bias_ih", "weight_hh", "bias_hh"))
    behind = tuple(
        flat(weights[name], np.float32)
        for name in ("output.weight", "output.bias", "scale.weight", "scale.bias")
    )
    read = config.max_length, tables.prepared, gates, *behind
    return Encoder(lambda items, offsets, whole, local: sessions(items, offsets, *read, whole, local))
