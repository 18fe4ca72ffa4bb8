"""A fresh network for a dataset: where its item vectors begin, and the graph it reads. Trains nothing."""

from __future__ import annotations

import numpy as np
import torch

from model.config import ModelConfig
from model.data.splits import Dataset
from model.evaluate.choose import sample, worth
from model.evaluate.judge import default_seen
from model.network.backbones import backbone_class
from model.network.batches import make_graph
from model.network.cooccurrence import cooccurrence_vectors
from model.network.network import Network
from model.network.text_space import TextSpace
from model.rankers.item_knn import ItemKnn
from model.rankers.title_knn import TitleKnn

FAR_BEHIND = 0.5  # of what co-clicks rank: titles begin better where both rank alike (Beauty)
CASES = 1_000  # tell a factor of two with certainty


def build_network(dataset: Dataset, config: ModelConfig) -> tuple[TextSpace | None, Network]:
    """Make the text space and a fresh network for a dataset; call ``torch.manual_seed`` before."""
    from_text = config.text is not False
    vectors = dataset.catalogue.vectors if from_text or config.fusion == "paper" else None
    if vectors is not None and not np.abs(vectors).any():
        vectors = None
    space = (
        None if vectors is None else TextSpace.fit(vectors, config.dim, config.text_power, config.text_scale)
    )
    text_part = (
        torch.from_numpy(space.apply(vectors))
        if space is not None and from_text and vectors is not None
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


def begins_at_texts(dataset: Dataset, config: ModelConfig) -> bool:
    """Whether item vectors begin at text vectors: as ``config.text`` says, else unless titles rank validation
    far worse than co-clicks.

    Titles that say little of what is clicked next (films, songs) put unlike items beside each other, and
    training first has to part them.

    Parameters
    ----------
    dataset : Dataset
        Training and validation are read.
    config : ModelConfig

    Returns
    -------
    bool
        True as well where there is nothing to choose: no texts, or no validation.
    """
    vectors = dataset.catalogue.vectors
    if config.text is not None:
        return config.text
    if vectors is None or not vectors.any() or not len(dataset.valid):
        return True
    cases, rule = sample(dataset.valid, CASES), default_seen(dataset)
    by_titles, by_clicks = (worth(ranker.fit(dataset), cases, rule) for ranker in (TitleKnn, ItemKnn))
    return by_titles >= FAR_BEHIND * by_clicks
