"""GRU4Rec (Hidasi et al., 2016; Hidasi & Karatzoglou, 2018): a gated recurrent network over the clicks."""

from __future__ import annotations

from torch import Tensor, nn

from model.config import ModelConfig
from model.network.backbones.base import Backbone, Clicks, last


class GRU4Rec(Backbone):
    """h_t = (1 - z_t) * h_{t-1} + z_t * candidate_t (2016, eq. 2-5); global = h_t, local = the last click's
    own vector.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.gru = nn.GRU(config.dim, config.dim, num_layers=config.layers, batch_first=True)
        self.output = nn.Linear(config.dim, config.dim)
        self.scale = nn.LayerNorm(config.dim)

    def encode(self, clicks: Clicks, vectors: Tensor, last_only: bool = False) -> tuple[Tensor, Tensor]:
        """Read prefixes; see Backbone.encode. Padding is on the right, so no valid state ever sees it."""
        # Item vectors are small (text_scale); sqrt(dim) brings them into the working range of the gates.
        states, _ = self.gru(vectors * self.dim**0.5)
        if last_only:
            states, vectors = last(states, clicks.lengths), last(vectors, clicks.lengths)
        return self.scale(self.output(self.dropout(states))), vectors
