"""bfloat16 where it is fast and harmless: the weights' matrix products. Sums, norms and attention stay in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class HalfLinear(torch.nn.Module):
    """A linear layer that multiplies in bfloat16 and hands on float32.

    A network kept wholly in bfloat16 rounds its running sum after every layer, and on small models every fifth greedy answer
    differs from float32's; with the products alone in bfloat16 most of that goes, at about the same speed.

    Parameters
    ----------
    linear : torch.nn.Linear
        The layer to take over.
    """

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(linear.weight.detach().to(torch.bfloat16), requires_grad=False)
        self.bias = None if linear.bias is None else torch.nn.Parameter(linear.bias.detach().float(), requires_grad=False)

    def forward(self, given: Tensor) -> Tensor:
        """Return the product, with the bias added in float32."""
        product = torch.nn.functional.linear(given.to(torch.bfloat16), self.weight).float()
        return product if self.bias is None else product + self.bias


def halve_products(network: Any) -> Any:
    """Replace every linear layer below the output head by its bfloat16 twin, in place; return the network."""
    head = network.get_output_embeddings()
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.Linear) and child is not head:
                setattr(module, name, HalfLinear(child))
    return network


def best_tokens(hidden: Tensor, exact: Tensor, rough: Tensor | None, close_calls: int) -> Tensor:
    """Return the token of the highest score for each hidden state.

    Parameters
    ----------
    hidden : Tensor, shape (rows, places, width)
    exact : Tensor, shape (tokens, width)
        The output head's weights.
    rough : Tensor, bfloat16, shape (tokens, width), optional
        The same, rounded: its few best tokens are scored again in float32, because bfloat16 scores of this size are 1/8 apart and
        often tie. None = everything at once, in the weights' own type.
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
