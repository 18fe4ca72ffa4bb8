"""Six session networks behind one interface; `make_backbone` builds the one that a config names."""

from __future__ import annotations

from model.backbones.base import Backbone, Clicks, Graph, last
from model.backbones.gcegnn import GCEGNN
from model.backbones.gru4rec import GRU4Rec
from model.backbones.s2dhcn import S2DHCN
from model.backbones.sasrec import SASRec
from model.backbones.srgnn import SRGNN
from model.backbones.stamp import STAMP
from model.config import ModelConfig

__all__ = ["Backbone", "Clicks", "Graph", "last", "make_backbone", "needs_graph"]


def needs_graph(config: ModelConfig) -> bool:
    """Whether the backbone reads a graph of the training sequences."""
    return config.backbone in {"gcegnn", "s2dhcn"}


def make_backbone(config: ModelConfig, graph: Graph | None = None) -> Backbone:
    """Build the backbone that ``config.backbone`` names.

    Parameters
    ----------
    config : ModelConfig
        Architecture and sizes.
    graph : Graph, optional
        Needed by GCE-GNN and S2-DHCN (see ``needs_graph``).

    Returns
    -------
    Backbone
        With fresh random weights.

    Raises
    ------
    ValueError
        If the architecture needs a graph and none is given.
    """
    if config.backbone == "gcegnn" or config.backbone == "s2dhcn":
        if graph is None:
            raise ValueError(f"backbone '{config.backbone}' needs the graph of the training sequences; build it with model.batches.make_graph")
        return GCEGNN(config, graph) if config.backbone == "gcegnn" else S2DHCN(config, graph)
    simple: dict[str, type[Backbone]] = {"gru4rec": GRU4Rec, "stamp": STAMP, "sasrec": SASRec, "srgnn": SRGNN}
    return simple[config.backbone](config)
