"""The trained networks for answering: a compiled loop a backbone, over the weights as they stand in the model
folder. A module of this folder has the name of its backbone and gives an `Encoder`; its formulas stand in the
backbone's own file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from model.config import ModelConfig

Floats = NDArray[np.float32]
Weights = Mapping[str, Floats]
Shapes = Mapping[str, tuple[int | None, ...]]  # name of a weight to its shape; none = any length


def take_global(global_: Floats, local: Floats) -> Floats:
    """Return the vector of the whole prefix: what most backbones compare with items."""
    return global_


@dataclass(frozen=True)
class Encoder:
    """A backbone that reads prefixes.

    Attributes
    ----------
    encode : callable
        ``(items int32, offsets int64, global out, local out)``: vectors of the whole prefix and of its last
        click, float32, shape (sessions, dim); no prefix is empty.
    combine : callable
        Both to the session vector, shape (sessions, dim).
    """

    encode: Callable[[NDArray[np.int32], NDArray[np.int64], Floats, Floats], None]
    combine: Callable[[Floats, Floats], Floats] = take_global


@dataclass(frozen=True)
class Tables:
    """Item vectors, float32, shape (items, dim).

    Attributes
    ----------
    raw : ndarray
        Before the backbone's propagation and before they are brought to length 1.
    prepared : ndarray
        As prefixes read them and as scores use them.
    """

    raw: Floats
    prepared: Floats


def make_encoder(config: ModelConfig, weights: Weights, tables: Tables) -> Encoder | None:
    """Return the compiled form of a backbone; none where it has none.

    Parameters
    ----------
    config : ModelConfig
    weights : mapping
        The backbone's weights by the names that they have in its module.
    tables : Tables
    """
    name = f"{__name__}.{config.backbone}"
    if find_spec(name) is None:
        return None
    found: Encoder = import_module(name).encoder(config, weights, tables)
    return found


def misshapen(config: ModelConfig, weights: Weights) -> str:
    """Name a weight of the backbone that lacks or has not the shape that the settings say: a compiled loop
    would read beyond its end. Empty where all fit.
    """
    name = f"{__name__}.{config.backbone}"
    wanted: Shapes = {} if find_spec(name) is None else import_module(name).shapes(config)
    for weight, shape in wanted.items():
        found = weights[weight].shape if weight in weights else None
        if found is None or len(found) != len(shape):
            return f"{weight} has shape {found}, the settings say {shape}"
        if any(size not in (None, has) for size, has in zip(shape, found, strict=True)):
            return f"{weight} has shape {found}, the settings say {shape}"
    return ""


def propagated(config: ModelConfig, weights: Weights, table: Floats) -> Floats:
    """Turn item vectors into those that prefixes and scores use, where the backbone does that; float32, shape
    (items, dim).
    """
    name = f"{__name__}.{config.backbone}"
    change = None if find_spec(name) is None else getattr(import_module(name), "propagate", None)
    found: Floats = table if change is None else change(config, weights, table)
    return found
