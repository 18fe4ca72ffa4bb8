"""bfloat16 where it is fast and harmless: the weights' matrix products. Sums, norms and attention stay in
float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Cast:
    """The last tensor that was rounded, so that layers which read the same one (query, key, value) round it
    once.
    """

    def __init__(self) -> None:
        self._given: Tensor | None = None
        self._rounded: Tensor | None = None

    def __call__(self, given: Tensor) -> Tensor:
        if self._rounded is None or self._given is not given:
            self._given, self._rounded = given, given.to(torch.bfloat16)
        return self._rounded


class HalfLinear(torch.nn.Module):
    """A linear layer that multiplies in bfloat16, for networks whose running sum stays in float32.

    A network kept wholly in bfloat16 rounds its running sum after every layer, and on small models every
    fourth greedy answer then differs from float32's. Here float32 that comes in (the normalised sum) goes on
    in bfloat16, into attention or the gate; what comes in as bfloat16 (out of these) is handed back to the
    sum in float32.

    Parameters
    ----------
    linear : torch.nn.Linear
        The layer to take over.
    cast : callable
        Rounds to bfloat16; shared by all layers of a network.
    """

    def __init__(self, linear: torch.nn.Linear, cast: _Cast) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(linear.weight.detach().to(torch.bfloat16), requires_grad=False)
        self.bias = (
            None
            if linear.bias is None
            else torch.nn.Parameter(linear.bias.detach().to(torch.bfloat16), requires_grad=False)
        )
        self._cast = cast

    def forward(self, given: Tensor) -> Tensor:
        """Return the product: bfloat16 for a float32 input, float32 for a bfloat16 one."""
        if given.dtype == torch.bfloat16:
            return torch.nn.functional.linear(given, self.weight, self.bias).float()
        return torch.nn.functional.linear(self._cast(given), self.weight, self.bias)


def halve_products(network: Any) -> Any:
    """Replace every linear layer below the output head by its bfloat16 twin, in place; return the network."""
    head, cast = network.get_output_embeddings(), _Cast()
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.Linear) and child is not head:
                setattr(module, name, HalfLinear(child, cast))
    return network


def best_tokens(hidden: Tensor, exact: Tensor, rough: Tensor | None, close_calls: int) -> Tensor:
    """Return the token of the highest score for each hidden state.

    Parameters
    ----------
    hidden : Tensor, shape (rows, places, width)
    exact : Tensor, shape (tokens, width)
        The output head's weights.
    rough : Tensor, bfloat16, shape (tokens, width), optional
        The same, rounded: its few best tokens are scored again in float32, because bfloat16 scores of this
        size are 1/8 apart and often tie. None = everything at once, in the weights' own type.
    close_calls : int
        How many are scored again.

    Returns
    -------
    Tensor, shape (rows, places)
    """
    if rough is None:
        return torch.nn.functional.linear(hidden, exact).argmax(-1)
    scores = torch.nn.functional.linear(hidden.to(torch.bfloat16), rough)
    close = scores.topk(close_calls, dim=-1).indices.sort(dim=-1).values
    again = (exact[close].float() @ hidden.float().unsqueeze(-1)).squeeze(-1)
    return close.gather(-1, again.argmax(-1, keepdim=True)).squeeze(-1)
