"""What a part of the hybrid score is: rows of probabilities out of cases. Knows no part."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.data.decay import expanded, powers
from model.data.sequences import Cases
from model.data.splits import Dataset

SHARPNESS = 12.0  # cosine -> exp(12 * cosine): the best title then weighs about as much as 100 average ones
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Votes:
    """Scores before they are divided by their sum: a mix multiplies by weight and share at once, one pass
    instead of three.

    Attributes
    ----------
    values : Tensor float32, shape (cases, items)
        Not negative.
    scale : Tensor float32, shape (cases, 1)
        What a row is multiplied by to become probabilities, or zeros where the part knows nothing.
    """

    values: Tensor
    scale: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Votes:
        """Make votes of non-negative scores; the scale of a row of zeros does not matter."""
        sums = values.sum(1, keepdim=True)
        return cls(values, torch.from_numpy(1 / np.maximum(sums.numpy(), np.float32(1e-30))))

    def probabilities(self) -> np.ndarray:
        """Return rows that sum to 1, or to 0 where nothing is known, float32, shape (cases, items)."""
        return np.asarray((self.values * self.scale).numpy())


class Part(ABC):
    """A ranker whose rows are probabilities, or all zero where it knows nothing."""

    @abstractmethod
    def votes(self, cases: Cases) -> Votes:
        """Score every item of every case."""

    def probabilities(self, cases: Cases) -> np.ndarray:
        """Return float32, shape (cases, items)."""
        return self.votes(cases).probabilities()

    def because(self, cases: Cases, rows: np.ndarray, items: np.ndarray) -> np.ndarray | None:
        """Name the click that speaks most for a recommendation.

        Parameters
        ----------
        cases : Cases
        rows, items : ndarray int64, shape (n,)
            Recommendation i is ``items[i]`` for case ``rows[i]``; rows do not fall.

        Returns
        -------
        ndarray int64, shape (n,), or None
            Place in the case's prefix, -1 where no click speaks for the item; None = the part does not read
            clicks one by one.
        """
        return None

    @abstractmethod
    def arrays(self) -> Arrays:
        """Return what must be saved to score again, beside the catalogue."""

    @abstractmethod
    def refit(self, dataset: Dataset) -> Part:
        """Return the part with the same settings on other training data; what is lent is lent again."""

    def lent(self, dataset: Dataset) -> Part:
        """Return the part with what like items lend to items without a click; most parts lend nothing."""
        return self


def sharpened(products: Tensor, lengths: Tensor, known: Tensor | None = None) -> Votes:
    """Turn cosines into votes, in place: ``exp(SHARPNESS * cosine)``.

    Parameters
    ----------
    products : Tensor float32, shape (cases, items)
        Of a case's vector with the items' unit vectors.
    lengths : Tensor float32, shape (cases, 1)
        Of the cases' vectors; a case of length 0 has no direction and gets no votes.
    known : Tensor float32, shape (items,), optional
        1 for items with a text, 0 for those without, which get no vote; none = every item has one.

    Returns
    -------
    Votes
    """
    numbers = lengths.numpy()  # one a case: calls of torch would cost more than they compute
    votes = products.mul_(torch.from_numpy(SHARPNESS / np.maximum(numbers, np.float32(1e-12)))).exp_()
    if known is not None:
        votes.mul_(known)
    found = Votes.of(votes)
    return found if numbers.all() else Votes(votes, found.scale.mul_(lengths > 0))


def strongest_click(
    cases: Cases,
    rows: np.ndarray,
    items: np.ndarray,
    decay: float,
    weights: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Name the click with the largest decayed weight for each recommendation; arguments and result as of
    :meth:`Part.because`.

    Parameters
    ----------
    cases : Cases
    rows, items : ndarray int64, shape (n,)
        The items of one case are all different.
    decay : float
        Weight of a click, per click after it.
    weights : callable
        Clicked items and recommended items, of shapes (pairs,) both or (clicks, 1) and (n,), to how much the
        one speaks for the other, in the shape that these give together.
    """
    prefixes = cases.prefixes
    if len(prefixes) == 1:  # the usual request: every click with every item, without lists of pairs
        given = weights(prefixes.items[:, None], items) * powers(decay, prefixes.clicks)[::-1, None]
        return np.where(given.max(axis=0) > 0, given.argmax(axis=0), -1)
    owner, click = expanded(prefixes.offsets, rows)
    given = decay ** prefixes.steps_back[click] * weights(prefixes.items[click], items[owner])
    table = np.zeros((len(rows), int(prefixes.lengths.max(initial=1))))
    table[owner, click - prefixes.offsets[rows][owner]] = given
    best = table.argmax(axis=1)
    return np.where(table[np.arange(len(rows)), best] > 0, best, -1)
