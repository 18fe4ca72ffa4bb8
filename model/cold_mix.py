"""How items without a click are mixed: every source counts another share for them than for clicked items. Chooses no weight and knows no part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from model.parts import Votes

TEXT_PARTS = ("titles", "words", "intents")  # they know an item by its title, clicked or not
# Times a source's weight, for an item without a click: network and transitions know it by its stand-ins alone, so that the words of its title speak for it.
# Recall@10 of cold and of warm targets on validation of Beauty with a fifth of the items unclicked (4,728 and 17,635 cases): words 6 .0757 and .1333,
# 8.5 .0850 and .1317 (highest worth), 9 .0869 and .1310; one factor for all sources: 1 .0601 and .1361, 1.4 .0734 and .1325, 2 .0909 and .1272; before there
# were stand-ins, one factor 1.57: .0639 and .1313. Title kNN by words finds .0857 of the cold; without them as rivals the warm have .1417 (before: .1388).
FACTORS = {"network": 0.3, "transitions": 2.0, "words": 8.5, "intents": 0.5}
WITHOUT_WORDS = 1.4  # times every source, where words have no weight; chosen earlier on the same cases
LENT = ("transitions",)  # nobody clicked the item after anything


@dataclass(frozen=True)
class ColdMix:
    """Factors of the sources for items without a click.

    Attributes
    ----------
    places : ndarray int64, shape (n,)
        Items without a click.
    factors : dict
        Source name to what its weight is multiplied by.
    items : int
        Size of the catalogue.
    """

    places: np.ndarray
    factors: dict[str, float]
    items: int

    @classmethod
    def of(cls, weights: Mapping[str, float], cold: np.ndarray, items: int) -> ColdMix | None:
        """Return the factors for a mix; none where nothing is cold, or no text part has a weight.

        Where text has much of the weight already there is less to make up for: all weights together are at most 1 / (that of the text parts).
        """
        by_text = sum(weights.get(name, 0.0) for name in TEXT_PARTS)
        if not len(cold) or by_text <= 0:
            return None
        wanted = {name: FACTORS.get(name, 1.0) if weights.get("words", 0.0) > 0 else WITHOUT_WORDS for name in weights}
        total = sum(wanted[name] * weight for name, weight in weights.items())
        shrink = min(1.0, 1.0 / (by_text * total))
        return cls(cold, {name: factor * shrink for name, factor in wanted.items()}, items)

    @cached_property
    def index(self) -> Tensor:
        """The places as a tensor."""
        return torch.from_numpy(np.ascontiguousarray(self.places))

    @cached_property
    def is_cold(self) -> np.ndarray:
        """Whether an item has no click, bool, shape (items,)."""
        found = np.zeros(self.items, dtype=bool)
        found[self.places] = True
        return found

    def put(self, total: Tensor, sources: list[tuple[str, Votes]]) -> Tensor:
        """Mix the items without a click anew, in place; ``total`` and the votes' values are of shape (cases, items)."""
        found = torch.zeros(len(total), len(self.places))
        for name, votes in sources:
            found.addcmul_(votes.values[:, self.index], votes.scale, value=self.factors[name])
        total[:, self.index] = found
        return total

    def factor(self, name: str, items: np.ndarray) -> np.ndarray:
        """Return what a source's weight is multiplied by for some items, float32, shape of ``items``."""
        return np.asarray(np.where(self.is_cold[items], self.factors[name], 1.0), dtype=np.float32)

    def said(self, name: str, given: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return what a source gave to recommended items as far as it can be a reason: lent transitions are none. Shapes as of ``items``, float32."""
        return np.asarray(given * (~self.is_cold[items] if name in LENT else self.factor(name, items)))
