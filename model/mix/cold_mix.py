"""How items with few or no clicks are mixed: a source may count more or less for them than for items that are
known well. Chooses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from model.mix import Votes
from model.mix.pool import doubts
from model.mix.weights import TEXT, Trust

LENT = ("transitions",)  # nobody clicked the item after anything


@dataclass(frozen=True)
class ColdMix:
    """Factors of the sources by clicks: ``exp(trust * doubt)``, where doubt is 1 without a click and halves
    with each.

    Attributes
    ----------
    trust : tuple of float
        Of the sources that know items by their text, and of the others; chosen on validation
        (`model.mix.weights.trusted`).
    doubt : ndarray float32, shape (items,)
    """

    trust: Trust
    doubt: np.ndarray

    @classmethod
    def of(cls, trust: Trust, counts: np.ndarray) -> ColdMix | None:
        """Return the factors for a catalogue with these training clicks; none where no item is affected."""
        doubt = doubts(counts)
        return None if trust == (0.0, 0.0) or not doubt.any() else cls(trust, doubt)

    @cached_property
    def tables(self) -> tuple[Tensor, Tensor]:
        """The factors of every item, of text sources and of the others, float32, shape (items,)."""
        text, other = (torch.from_numpy(np.exp(np.float32(log) * self.doubt)) for log in self.trust)
        return text, other

    def put(self, sources: Iterable[tuple[str, Votes]]) -> Tensor:
        """Mix scaled votes, float32, shape (cases, items); a new tensor."""
        sums: list[Tensor | None] = [None, None]
        for name, votes in sources:
            side = int(name not in TEXT)
            total = sums[side]
            sums[side] = (
                votes.values * votes.scale if total is None else total.addcmul_(votes.values, votes.scale)
            )
        found = [
            total.mul_(table) for total, table in zip(sums, self.tables, strict=True) if total is not None
        ]
        return found[0] if len(found) == 1 else found[0].add_(found[1])

    def factor(self, name: str, items: np.ndarray) -> np.ndarray:
        """Return what a source's weight is multiplied by for some items, float32, shape of ``items``."""
        return np.asarray(self.tables[int(name not in TEXT)].numpy()[items])

    def said(self, name: str, given: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return what a source gave to recommended items as far as it can be a reason: lent transitions are
        none. Shapes as of ``items``, float32.
        """
        return np.asarray(given * (self.doubt[items] < 1 if name in LENT else self.factor(name, items)))
