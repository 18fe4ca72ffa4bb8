"""GCE-GNN (Wang et al., 2020): the session's graph and the graph of all sessions, joined at item level."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import ModelConfig
from model.network.backbones.base import Backbone, Clicks, Graph, last
from model.network.backbones.srgnn import session_graph

_NO_EDGE, _SELF, _OUT, _IN, _BOTH = 0, 1, 2, 3, 4


def edge_types(clicks: Clicks) -> tuple[Tensor, Tensor]:
    """Name the relation of every pair of nodes of a row.

    Returns
    -------
    first : Tensor, shape (batch, length), int64
        Node of each click.
    types : Tensor, shape (batch, length, length), int64
        0 none, 1 self, 2 outgoing, 3 incoming, 4 both ways.
    """
    first, edges = session_graph(clicks)
    out, into = edges.bool(), edges.transpose(1, 2).bool()
    types = torch.where(out & into, _BOTH, torch.where(out, _OUT, torch.where(into, _IN, _NO_EDGE)))
    eye = torch.eye(types.shape[1], dtype=torch.bool, device=types.device)
    return first, torch.where(eye, _SELF, types)


class GCEGNN(Backbone):
    """Global-context enhanced graph network.

    Equations of the paper::

        e_ij = LeakyReLU(a_rij . (h_i * h_j)),  h_s,i = sum_j softmax(e)_ij h_j          (7-9, session graph)
        pi_ij = q1 . LeakyReLU(W1 [s * h_j ; w_ij]),  h_N = sum softmax(pi) h_j           (2-4, global graph)
        h_g = relu(W2 [h ; h_N]),  h' = dropout(h_g) + h_s                                (5, 10)
        z_i = tanh(W3 [h'_i ; p_(l-i+1)] + b3)                                            (11)
        beta_i = q2 . sigmoid(W4 z_i + W5 s' + b4),  S = sum beta_i h'_i                  (13, 14)

    Global is S, local is h' of the last click; the session vector is S.
    """

    every_position = False
    needs_graph = True
    neighbours: Tensor
    weights: Tensor

    def __init__(self, config: ModelConfig, graph: Graph) -> None:
        super().__init__(config)
        dim = config.dim
        self.register_buffer("neighbours", graph.neighbours)
        self.register_buffer("weights", graph.weights)
        self.relation = nn.Parameter(torch.randn(4, dim) * dim**-0.5)
        self.context = nn.Linear(dim + 1, dim, bias=False)
        self.context_energy = nn.Linear(dim, 1, bias=False)
        self.merge = nn.Linear(2 * dim, dim)
        self.positions = nn.Parameter(torch.randn(config.max_length, dim) * 0.02)
        self.position = nn.Linear(2 * dim, dim)
        self.query_item = nn.Linear(dim, dim)
        self.query_mean = nn.Linear(dim, dim, bias=False)
        self.energy = nn.Linear(dim, 1, bias=False)
        self._table: Tensor | None = None

    def propagate(self, table: Tensor) -> Tensor:
        """Keep hold of the table (neighbours are looked up in it) and leave it as it is."""
        # A view: without titles the table is the item vectors' own Parameter, which this module would take
        # for one of its weights.
        self._table = table.view_as(table)
        return table

    def session_level(self, clicks: Clicks, h: Tensor) -> Tensor:
        """Attention along the session's own edges, one vector of weights per kind of edge; shape (batch,
        length, dim).
        """
        first, types = edge_types(clicks)
        scores = torch.stack([(h * relation) @ h.transpose(1, 2) for relation in self.relation], dim=3)
        chosen = scores.gather(3, (types - 1).clamp(min=0)[..., None]).squeeze(3)
        chosen = functional.leaky_relu(chosen, 0.2).masked_fill(types == _NO_EDGE, float("-inf"))
        nodes = torch.softmax(chosen, dim=2) @ h
        return nodes.gather(1, first[:, :, None].expand(-1, -1, h.shape[2]))

    def global_level(self, clicks: Clicks, h: Tensor, mean: Tensor) -> Tensor:
        """Attention over each item's neighbours in all sessions; shape (batch, length, dim)."""
        if self._table is None:
            raise RuntimeError(
                "GCE-GNN reads neighbours from the item table; call propagate(table) before encode"
            )
        # A new item has no row in the graph yet: it is its own neighbour of weight 0.
        known = clicks.items < len(self.neighbours)
        rows = clicks.items.where(known, 0)
        index = self.neighbours[rows].where(known[..., None], clicks.items[..., None])
        weight = self.weights[rows].where(known[..., None], 0.0)
        around = self._table[index] * self.dim**0.5
        keys = torch.cat([mean[:, None, None, :] * around, weight[..., None]], dim=3)
        energy = self.context_energy(functional.leaky_relu(self.context(keys), 0.2))
        neighbourhood = (torch.softmax(energy, dim=2) * around).sum(2)
        return functional.relu(self.merge(torch.cat([h, neighbourhood], dim=2)))

    def encode(self, clicks: Clicks, vectors: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        """Read whole rows; see Backbone.encode."""
        mask = clicks.mask[:, :, None]
        h = vectors * self.dim**0.5
        count = clicks.lengths[:, None].to(h.dtype)
        merged = self.dropout(self.global_level(clicks, h, h.sum(1) / count)) + self.session_level(clicks, h)
        merged = merged * mask
        backwards = (clicks.lengths[:, None] - 1 - torch.arange(h.shape[1], device=h.device)).clamp(min=0)
        z = torch.tanh(self.position(torch.cat([merged, self.positions[backwards]], dim=2)))
        beta = self.energy(
            torch.sigmoid(self.query_item(z) + self.query_mean(merged.sum(1) / count)[:, None])
        )
        return (beta * merged * mask).sum(1), last(merged, clicks.lengths)
