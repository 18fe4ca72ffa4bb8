"""LLM4SBR's fusion (arXiv 2402.13840, eq. 6-13) for any backbone: projection, gates, concatenation, alignment
and uniformity.

Our own fusion (`intent`) adds nothing to the network: there the intents retrieve items at score level, in
`model.mix.hybrid`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.network.losses import alignment, uniformity

# the paper's batch has 100; all positions of 128 long sessions are thousands, and their pairs would take most
# of a step
UNIFORM_ROWS = 1_024


class PaperFusion(nn.Module):
    """Gates that let each view's text decide how much of the behaviour vector passes.

    Equations::

        z_view = T intent_view                                    (6, one projection for both views)
        alpha_long = Q1 . sigmoid(h_global + z_long)              (10)
        alpha_short = Q2 . sigmoid(h_local + z_short)             (11)
        session = W [alpha_short h_local ; alpha_long h_global]   (12, 13)

    A view that is switched off (``config.views``) keeps its gate without text and has no auxiliary loss.
    """

    def __init__(self, config: ModelConfig, text_dim: int) -> None:
        super().__init__()
        dim = config.dim
        self.config = config
        self.projection = nn.Linear(text_dim, dim)
        self.long_gate = nn.Linear(dim, 1, bias=False)
        self.short_gate = nn.Linear(dim, 1, bias=False)
        self.output = nn.Linear(2 * dim, dim, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def project(self, long: Tensor, short: Tensor) -> tuple[Tensor, Tensor]:
        """Project raw intent vectors (..., text_dim) to (..., dim); an all-zero intent stays zero, so that no
        news means no effect.
        """
        return tuple(self.projection(view) * (view.abs().sum(-1, keepdim=True) > 0) for view in (long, short))  # type: ignore[return-value]

    def forward(self, global_: Tensor, local: Tensor, z_long: Tensor, z_short: Tensor) -> Tensor:
        """Fuse; all inputs and the result have shape (..., dim)."""
        with_long = z_long if self.config.views in {"both", "long"} else torch.zeros_like(z_long)
        with_short = z_short if self.config.views in {"both", "short"} else torch.zeros_like(z_short)
        alpha_long = self.long_gate(torch.sigmoid(global_ + with_long))
        alpha_short = self.short_gate(torch.sigmoid(local + with_short))
        # Dropout on both paths: without it the last-click path overfits within a few epochs.
        fused = torch.cat([self.dropout(alpha_short * local), self.dropout(alpha_long * global_)], dim=-1)
        return torch.as_tensor(self.output(fused))

    def auxiliary(self, global_: Tensor, local: Tensor, z_long: Tensor, z_short: Tensor) -> Tensor:
        """Weighted tau * (alignment + uniformity) over the views in use (eq. 7-9), shape (); inputs (rows,
        dim).

        Views are averaged as printed in the paper, or summed as in its published code
        (``config.view_reduction``). Uniformity is estimated on ``UNIFORM_ROWS`` rows, evenly spread, where a
        step has more.
        """
        pairs = [(z_long, global_)] if self.config.views == "long" else [(z_short, local)]
        if self.config.views == "both":
            pairs = [(z_long, global_), (z_short, local)]
        total = global_.new_zeros(())
        for text, behaviour in pairs:
            present = text.detach().abs().sum(1) > 0
            text, behaviour = text[present], behaviour[present]
            if len(text) < 2:
                continue  # no pair of rows to compare; the published code divides 0 by 0 here
            if self.config.align:
                total = total + alignment(text, behaviour)
            if self.config.uniform:
                every = -(-len(text) // UNIFORM_ROWS)
                total = total + (uniformity(text[::every]) + uniformity(behaviour[::every])) / 2
        if self.config.view_reduction == "mean":
            total = total / len(pairs)
        return total * self.config.auxiliary_weight
