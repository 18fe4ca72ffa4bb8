"""A fresh network for a dataset: where its item vectors begin, and the graph it reads. Trains nothing."""

from __future__ import annotations

import numpy as np
import torch

from model.config import ModelConfig
from model.data.splits import Dataset
from model.network.backbones import backbone_class
from model.network.batches import make_graph
from model.network.cooccurrence import cooccurrence_vectors
from model.network.network import Network
from model.network.text_space import TextSpace


def build_network(dataset: Dataset, config: ModelConfig) -> tuple[TextSpace | None, Network]:
    """Make the text space and a fresh network for a dataset; call ``torch.manual_seed`` before."""
    vectors = dataset.catalogue.vectors if config.text or config.fusion == "paper" else None
    if vectors is not None and not np.abs(vectors).any():
        vectors = None
    space = (
        None if vectors is None else TextSpace.fit(vectors, config.dim, config.text_power, config.text_scale)
    )
    text_part = (
        torch.from_numpy(space.apply(vectors))
        if space is not None and config.text and vectors is not None
        else None
    )
    views = (
        torch.from_numpy(space.centred(vectors))
        if space is not None and config.fusion == "paper" and vectors is not None
        else None
    )
    if config.fusion == "paper" and views is None:
        raise ValueError(
            "fusion 'paper' needs text vectors, but the catalogue has none; give items.* with titles, or "
            "use --fusion none"
        )
    graph = (
        make_graph(dataset.train, len(dataset.catalogue))
        if backbone_class(config.backbone).needs_graph
        else None
    )
    start = None
    if text_part is None and config.start == "cooccurrence":
        start = torch.from_numpy(
            cooccurrence_vectors(dataset.train, len(dataset.catalogue), config.dim, config.text_scale)
        )
    return space, Network(config, len(dataset.catalogue), text_part, views, graph, start)
