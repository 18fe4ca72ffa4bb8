"""S2-DHCN (Xia et al., 2021): hypergraph convolution over all sessions, with a line graph of sessions as
second view.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ModelConfig
from model.network.backbones.base import Backbone, Clicks, Graph, last, running_mean

CONTRAST_WEIGHT = 0.01  # beta of the paper, section 4.4


class S2DHCN(Backbone):
    """Dual channel hypergraph network.

    Equations of the paper::

        X' = D^-1 H B^-1 H^T X,  item vectors = mean over the layers' X                  (4, 5)
        x*_i = tanh(W1 [x_i ; p_(t-i+1)] + b),  alpha_i = f . sigmoid(W2 x* + W3 s + c),  theta = sum alpha_i
                                                x_i   (6-8)
        T' = D^-1 (A + I) T over the batch's line graph, A = shared / joint items        (9)
        L_s = -log sigmoid(theta . t) - log sigmoid(1 - theta~ . t)                      (12)

    Items are smoothed over the training sessions only, so every prefix of a row may be a target. Global is
    theta, local the last click's smoothed vector. An item without a session keeps its own vector.
    """

    pairwise = True
    needs_graph = True
    members: Tensor
    session_size: Tensor
    item_degree: Tensor

    def __init__(self, config: ModelConfig, graph: Graph) -> None:
        super().__init__(config)
        dim = config.dim
        self.layers = config.layers
        items, sessions = graph.members
        self.register_buffer("members", graph.members)
        self.register_buffer(
            "session_size", torch.bincount(sessions, minlength=graph.n_sessions).float().clamp(min=1)
        )
        self.register_buffer("item_degree", torch.bincount(items, minlength=len(graph.neighbours)).float())
        self.positions = nn.Parameter(torch.randn(config.max_length, dim) * 0.02)
        self.position_item = nn.Linear(dim, dim)
        self.position_place = nn.Linear(dim, dim, bias=False)
        self.query_item = nn.Linear(dim, dim)
        self.query_mean = nn.Linear(dim, dim, bias=False)
        self.energy = nn.Linear(dim, 1, bias=False)

    def propagate(self, table: Tensor) -> Tensor:
        """Smooth the item table over the hypergraph of sessions (eq. 4, 5); shape (n_items, dim)."""
        items, sessions = self.members
        # items added to the catalogue later have no session: they keep their own vector
        fitted = len(self.item_degree)
        x, total = table[:fitted], table[:fitted]
        degree = self.item_degree[:, None]
        for _ in range(self.layers):
            edges = torch.zeros(len(self.session_size), x.shape[1], dtype=x.dtype, device=x.device).index_add(
                0, sessions, x[items]
            )
            edges = edges / self.session_size[:, None]
            around = torch.zeros_like(x).index_add(0, items, edges[sessions]) / degree.clamp(min=1)
            x = torch.where(degree > 0, around, x)
            total = total + x
        return torch.cat([total / (self.layers + 1), table[fitted:]])

    def encode(self, clicks: Clicks, vectors: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        """Read prefixes; see Backbone.encode."""
        x = vectors * self.dim**0.5
        means = running_mean(x)
        steps = torch.arange(x.shape[1], device=x.device)
        ends = (clicks.lengths - 1)[:, None] if last_only else steps[None].expand(len(x), -1)
        distance = (ends[:, :, None] - steps).clamp(min=0)  # (batch, ends, length)
        allowed = steps <= ends[:, :, None]
        mean = last(means, clicks.lengths)[:, None] if last_only else means
        placed = torch.tanh(self.position_item(x)[:, None] + self.position_place(self.positions)[distance])
        alpha = self.energy(
            torch.sigmoid(self.query_item(placed) + self.query_mean(mean)[:, :, None])
        ).squeeze(3)
        theta = self.dropout((alpha * allowed) @ x)
        if last_only:
            return theta[:, 0], last(x, clicks.lengths)
        return theta, x

    def auxiliary(self, clicks: Clicks, table: Tensor, sessions: Tensor) -> Tensor | None:
        """Contrast each session's vector with its line-graph vector (eq. 9-12); none for a batch of one
        session.
        """
        if len(clicks.items) < 2:
            return None
        # columns for the items of this batch only
        items, place = torch.unique(clicks.items, return_inverse=True)
        incidence = torch.zeros(len(clicks.items), len(items), dtype=table.dtype, device=table.device)
        incidence.scatter_add_(1, place, clicks.mask.to(table.dtype))
        incidence = (incidence > 0).to(table.dtype)
        shared = incidence @ incidence.T
        sizes = incidence.sum(1)
        line = shared / (sizes[:, None] + sizes[None] - shared).clamp(min=1)  # 1 on the diagonal: A + I
        line = line / line.sum(1, keepdim=True)
        nodes = (table[clicks.items] * clicks.mask[:, :, None]).sum(1) / clicks.lengths[:, None]
        total = nodes
        for _ in range(self.layers):
            nodes = line @ nodes
            total = total + nodes
        view = total / (self.layers + 1)
        shuffled = sessions[torch.randperm(len(sessions), device=sessions.device)][
            :, torch.randperm(sessions.shape[1], device=sessions.device)
        ]
        agree = functional.logsigmoid((sessions * view).sum(1))
        differ = functional.logsigmoid(1 - (shuffled * view).sum(1))
        return -CONTRAST_WEIGHT * (agree + differ).mean()
