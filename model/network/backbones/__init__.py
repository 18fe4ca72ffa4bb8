"""Session networks behind one interface: each module of this folder but `base` is one, found by its name and
built by `make_backbone`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import cast

from model.config import ModelConfig
from model.network.backbones.base import Backbone, Clicks, Graph, last

__all__ = ["Backbone", "Clicks", "Graph", "backbone_class", "last", "make_backbone"]


def backbone_class(name: str) -> type[Backbone]:
    """Return the class of the backbone whose module is called ``name``.

    Raises
    ------
    TypeError
        The module defines none, or more than one.
    """
    module = import_module(f"model.network.backbones.{name}")
    classes = [
        thing
        for _, thing in inspect.getmembers(module, inspect.isclass)
        if thing.__module__ == module.__name__
    ]
    backbones = [thing for thing in classes if issubclass(thing, Backbone)]
    if len(backbones) != 1:
        raise TypeError(
            f"model.network.backbones.{name} defines {len(backbones)} backbones; one class of a module "
            "inherits from Backbone"
        )
    return backbones[0]


def make_backbone(config: ModelConfig, graph: Graph | None = None) -> Backbone:
    """Build the backbone that ``config.backbone`` names.

    Parameters
    ----------
    config : ModelConfig
        Architecture and sizes.
    graph : Graph, optional
        For backbones that propagate over the catalogue (``needs_graph`` of their class).

    Returns
    -------
    Backbone
        With fresh random weights.

    Raises
    ------
    ValueError
        If the architecture needs a graph and none is given.
    """
    chosen = backbone_class(config.backbone)
    if not chosen.needs_graph:
        return chosen(config)
    if graph is None:
        raise ValueError(
            f"backbone '{config.backbone}' needs the graph of the training sequences; build it with "
            "model.network.batches.make_graph"
        )
    return cast(Callable[[ModelConfig, Graph], Backbone], chosen)(config, graph)
