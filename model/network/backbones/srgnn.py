"""SR-GNN (Wu et al., 2019): gated graph network over the session's own click graph; the prototype of
LLM4SBR.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.network.backbones.base import Backbone, Clicks, last


def session_graph(clicks: Clicks) -> tuple[Tensor, Tensor]:
    """Build each row's click graph without a loop.

    Node i of a row stands for the item of click i if that is its first click, and is empty otherwise.

    Parameters
    ----------
    clicks : Clicks
        A batch of sessions.

    Returns
    -------
    first : Tensor, shape (batch, length), int64
        Node of each click: the place where its item came first.
    edges : Tensor, shape (batch, length, length), float32
        1 where the row's node was followed by the column's node.

    Examples
    --------
    >>> first, edges = session_graph(Clicks(torch.tensor([[5, 7, 5, 9]]), torch.tensor([4])))
    >>> first.tolist(), edges[0, 0].tolist()
    ([[0, 1, 0, 3]], [0.0, 1.0, 0.0, 1.0])
    """
    mask = clicks.mask
    same = (clicks.items[:, :, None] == clicks.items[:, None, :]) & mask[:, None, :] & mask[:, :, None]
    positions = torch.arange(mask.shape[1], device=mask.device)
    first = torch.where(mask, same.to(torch.uint8).argmax(2), positions)
    edges = torch.zeros(same.shape, device=mask.device)
    rows = torch.arange(len(mask), device=mask.device)[:, None].expand(-1, mask.shape[1] - 1)
    valid = mask[:, 1:]
    edges[rows[valid], first[:, :-1][valid], first[:, 1:][valid]] = 1.0
    return first, edges


class SRGNN(Backbone):
    """Session graphs, gated propagation, soft attention led by the last click.

    Equations of the paper::

        a = [A_in v W_in + b_in ; A_out v W_out + b_out]                  (1)
        z = sigmoid(Wz a + Uz v),  r = sigmoid(Wr a + Ur v)               (2, 3)
        c = tanh(Wo a + Uo (r * v)),  v' = (1 - z) * v + z * c            (4, 5)
        alpha_i = q . sigmoid(W1 v_last + W2 v_i + c),  s_g = sum alpha_i v_i   (6)
        s = W3 [s_local ; s_global]                                       (7)

    Padded clicks take part in neither sum, unlike in the code published with LLM4SBR.
    """

    every_position = False

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        dim = config.dim
        self.steps = config.layers
        self.incoming = nn.Linear(dim, dim)
        self.outgoing = nn.Linear(dim, dim)
        self.cell = nn.GRUCell(2 * dim, dim)
        self.query_last = nn.Linear(dim, dim, bias=False)
        self.query_item = nn.Linear(dim, dim)
        self.energy = nn.Linear(dim, 1, bias=False)
        self.output = nn.Linear(2 * dim, dim, bias=False)

    def propagate_session(self, clicks: Clicks, x: Tensor) -> Tensor:
        """Run the gated graph network; node vectors back in click order, shape (batch, length, dim)."""
        first, edges = session_graph(clicks)
        incoming = edges.transpose(1, 2)
        into = incoming / incoming.sum(2, keepdim=True).clamp(min=1)
        out = edges / edges.sum(2, keepdim=True).clamp(min=1)
        nodes = x
        for _ in range(self.steps):
            message = torch.cat([into @ self.incoming(nodes), out @ self.outgoing(nodes)], dim=2)
            nodes = self.cell(message.flatten(0, 1), nodes.flatten(0, 1)).reshape(nodes.shape)
        return nodes.gather(1, first[:, :, None].expand(-1, -1, nodes.shape[2]))

    def encode(self, clicks: Clicks, vectors: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        """Read whole rows; see Backbone.encode."""
        nodes = self.propagate_session(clicks, vectors * self.dim**0.5)
        local = last(nodes, clicks.lengths)
        alpha = self.energy(torch.sigmoid(self.query_last(local)[:, None] + self.query_item(nodes)))
        return (alpha * nodes * clicks.mask[:, :, None]).sum(1), local

    def combine(self, global_: Tensor, local: Tensor) -> Tensor:
        """Session vector W3 [s_local ; s_global] (eq. 7)."""
        return torch.as_tensor(self.output(self.dropout(torch.cat([local, global_], dim=-1))))
