"""How items with few or no clicks are mixed: a source may count more or less for them than for items that are
known well. Chooses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

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
    def factors(self) -> np.ndarray:
        """What the parts of text sources (row 0) and of the others (row 1) are multiplied by, float32, shape
        (2, items).
        """
        return np.stack([np.exp(np.float32(log) * self.doubt) for log in self.trust])

    @cached_property
    def reasons(self) -> np.ndarray:
        """The same as far as it can be a reason, float32, shape (3, items): row 2 is for what was lent, which
        is none for items without a click.
        """
        return np.concatenate([self.factors, (self.doubt[None] < 1).astype(np.float32)])

    @staticmethod
    def reason_side(name: str) -> int:
        """Return the row of `reasons` of a source."""
        return 2 if name in LENT else int(name not in TEXT)
