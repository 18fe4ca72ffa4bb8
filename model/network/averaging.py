"""A running mean of the weights during training, which ranks better and more evenly than the weights of any
one step. Knows no loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class RunningMean:
    """Exponential mean of a network's parameters over steps; buffers are left alone.

    Parameters
    ----------
    network : Module
    decay : float
        Share of the old mean that a step keeps; 0.995 remembers about 200 steps.

    References
    ----------
    Polyak & Juditsky, 1992; Izmailov et al., 2018 (weight averaging finds wider optima).

    Examples
    --------
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> mean = RunningMean(layer, 0.5)
    >>> _ = nn.init.constant_(layer.weight, 3.0)
    >>> mean.update(0)
    >>> with mean.in_place():
    ...     layer.weight.item()
    3.0
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.parameters = dict(network.named_parameters())
        self.values = {name: value.detach().clone() for name, value in self.parameters.items()}

    @torch.no_grad()
    def update(self, steps_before: int) -> None:
        """Take in the weights after a step; the first steps count more, so that the random start is soon
        forgotten.
        """
        decay = min(self.decay, steps_before / (10.0 + steps_before))
        torch._foreach_lerp_(
            list(self.values.values()), [value.detach() for value in self.parameters.values()], 1.0 - decay
        )

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the network have the mean as its weights for a while."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, parameter in self.parameters.items():
            parameter.data, self.values[name] = self.values[name], parameter.data

    def load(self, values: dict[str, Tensor]) -> None:
        """Go on from a saved mean (``values`` of another process)."""
        for name, value in self.values.items():
            value.copy_(values[name])
