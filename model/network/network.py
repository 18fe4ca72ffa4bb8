"""A backbone with its item vectors and, where asked for, the paper's fusion: clicks in, session vectors and
item vectors out.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ModelConfig
from model.data.recency import HalfLives
from model.network.backbones import Clicks, Graph, make_backbone
from model.network.fusion import PaperFusion


class Network(nn.Module):
    """Item vectors = fixed text part + trained residual; session vectors = backbone (+ fusion).

    The residual of an item with text starts at zero, so an item is ranked by its title until clicks say more.
    An item without text starts at a random vector.

    Parameters
    ----------
    config : ModelConfig
    n_items : int
    text_part : Tensor, shape (n_items, dim), optional
        Reduced text vectors (``TextSpace.apply``); none = trained ids only.
    views : Tensor, shape (n_items, text_dim), optional
        Centred unit text vectors, from which the paper's fusion makes intents where the caller gives none.
    graph : Graph, optional
        For backbones that propagate over the catalogue.
    start : Tensor, shape (n_items, dim), optional
        Where the trained vectors of items without text begin; places of 0 (and none) = by chance.
    """

    text_part: Tensor
    views: Tensor

    def __init__(
        self,
        config: ModelConfig,
        n_items: int,
        text_part: Tensor | None = None,
        views: Tensor | None = None,
        graph: Graph | None = None,
        start: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.backbone = make_backbone(config, graph)
        random = torch.randn(n_items, config.dim) * config.text_scale
        start = random if start is None else torch.where(start == 0, random, start)
        if text_part is not None:
            start = start * (text_part.abs().sum(1, keepdim=True) == 0)
        self.residual = nn.Embedding(n_items, config.dim, _weight=start)
        self.register_buffer(
            "text_part", text_part if text_part is not None else torch.zeros(0, config.dim), persistent=False
        )
        self.register_buffer("views", views if views is not None else torch.zeros(0, 0), persistent=False)
        self.fusion = (
            PaperFusion(config, views.shape[1]) if config.fusion == "paper" and views is not None else None
        )
        self.input_dropout = nn.Dropout(config.embedding_dropout)

    def item_table(self) -> Tensor:
        """Item vectors before the backbone's propagation, shape (n_items, dim)."""
        table = self.residual.weight
        return table + self.text_part if len(self.text_part) else table

    def item_vectors(self) -> Tensor:
        """Item vectors as prefixes read them and as scores use them, shape (n_items, dim)."""
        return self.prepare(self.item_table())

    def extended(self, views: Tensor) -> Network:
        """Return a network that shares all weights and also reads the titles of items behind the known ones,
        (new, text_dim).
        """
        if not len(self.views):
            return self
        # shallow: the registered modules and parameters are shared, only the buffer table is its own
        grown = copy.copy(self)
        grown._buffers = {**self._buffers, "views": torch.cat([self.views, views.to(self.views.device)])}
        return grown

    def prepare(self, table: Tensor) -> Tensor:
        """Propagate and, for cosine scores, normalise an item table; shape (n_items, dim)."""
        table = self.backbone.propagate(table)
        return functional.normalize(table, dim=1) if self.config.score == "cosine" else table

    def states(self, clicks: Clicks, table: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        """Backbone's global and local vectors for prepared item vectors ``table``; see Backbone.encode."""
        vectors = functional.embedding(clicks.items, table)
        if self.training:
            vectors = self.input_dropout(vectors)
        if clicks.padded:
            vectors = vectors * clicks.mask[:, :, None]
        return self.backbone.encode(clicks, vectors, last_only)

    def finish(self, global_: Tensor, local: Tensor, projected: tuple[Tensor, Tensor] | None) -> Tensor:
        """Session vectors to be multiplied with item vectors, shape (..., dim)."""
        if self.fusion is not None and projected is not None:
            session = self.fusion(global_, local, *projected)
        else:
            session = self.backbone.combine(global_, local)
        if self.config.score == "cosine":
            return functional.normalize(session, dim=-1) * self.config.temperature
        return torch.as_tensor(session)

    def own_intents(self, clicks: Clicks, last_only: bool) -> tuple[Tensor, Tensor]:
        """Intents without any source: recency-weighted means of the clicked titles, shape (batch[, length],
        text_dim).

        Same half-lives as the encoder source: ``config.recency_half_life`` for the short view.
        """
        titles = self.views[clicks.items] * clicks.mask[:, :, None]
        steps = torch.arange(titles.shape[1], device=titles.device)
        ends = (clicks.lengths - 1)[:, None] if last_only or not self.backbone.every_position else steps[None]
        age = ends[:, :, None] - steps
        found = []
        for half_life in HalfLives.of(self.config.recency_half_life):
            weights = torch.where(age >= 0, torch.pow(0.5, age / half_life), 0.0)
            mean = functional.normalize(weights @ titles, dim=2)
            found.append(mean[:, 0] if last_only or not self.backbone.every_position else mean)
        return found[0], found[1]

    def encode(
        self, clicks: Clicks, table: Tensor, long: Tensor | None = None, short: Tensor | None = None
    ) -> Tensor:
        """Session vectors after the last click, for scoring.

        Parameters
        ----------
        clicks : Clicks
        table : Tensor, shape (n_items, dim)
            ``item_vectors()``, or an extended table through ``prepare``.
        long, short : Tensor, shape (batch, text_dim), optional
            Intent vectors; none or zero rows = the network's own.

        Returns
        -------
        Tensor, shape (batch, dim)
        """
        global_, local = self.states(clicks, table, last_only=True)
        projected = None
        if self.fusion is not None:
            own_long, own_short = self.own_intents(clicks, last_only=True)
            projected = self.fusion.project(_given(long, own_long), _given(short, own_short))
        return self.finish(global_, local, projected)


def _given(given: Tensor | None, own: Tensor) -> Tensor:
    """Prefer given vectors; rows of zeros (nothing known) fall back to ``own``. Shapes equal, (batch,
    text_dim).
    """
    if given is None:
        return own
    return torch.where(given.abs().sum(-1, keepdim=True) > 0, given, own)
