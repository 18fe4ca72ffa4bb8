"""The recency-weighted mean of the clicked titles, long and short: the intent of a prefix without an LLM, and
what every other intent is compared with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from model.data.sequences import Sequences

if TYPE_CHECKING:
    from torch import Tensor

LONG_HALF_LIFE_RATIO: Final = 8.0  # the long view forgets eight times slower than the short one
SHORT_HALF_LIFE: Final = 3.0  # clicks; what ``intents.recency_half_life`` is where nobody sets it


class HalfLives(NamedTuple):
    """Clicks after which a title's weight halves, in both views."""

    long: float
    short: float

    @classmethod
    def of(cls, short: float) -> HalfLives:
        """Return both for a short view's half-life, which is what settings name.

        Examples
        --------
        >>> HalfLives.of(3.0)
        HalfLives(long=24.0, short=3.0)
        """
        return cls(short * LONG_HALF_LIFE_RATIO, short)


class Clicked(NamedTuple):
    """The clicks of several prefixes, one prefix behind the other.

    Attributes
    ----------
    rows : ndarray int64, shape (clicks,)
        Rows of the table of titles.
    offsets : ndarray int64, shape (prefixes + 1,)
        Where each prefix begins and ends.
    ages : ndarray int64, shape (clicks,)
        Clicks after each, those on unknown items too.
    """

    rows: np.ndarray
    offsets: np.ndarray
    ages: np.ndarray

    @classmethod
    def of(cls, prefixes: Sequences) -> Clicked:
        """Return the clicks of prefixes whose items are rows already."""
        return cls(prefixes.items.astype(np.int64), prefixes.offsets.astype(np.int64), prefixes.steps_back)


def weights(ages: np.ndarray, half_life: float) -> np.ndarray:
    """Return a click's weight by the number of clicks after it, float32, half of it every `half_life`.

    Examples
    --------
    >>> weights(np.array([0, 3, 6]), 3.0).tolist()
    [1.0, 0.5, 0.25]
    """
    powers = (0.5 ** (np.arange(int(ages.max(initial=0)) + 1) / half_life)).astype(np.float32)
    chosen: np.ndarray = powers[ages]
    return chosen


def recency_mean(clicked: Clicked, half_life: float, titles: Tensor) -> np.ndarray:
    """Return the recency-weighted mean of each prefix's titles.

    Parameters
    ----------
    clicked : Clicked
        The prefixes.
    half_life : float
        In clicks; infinite = the plain mean.
    titles : Tensor float32, shape (items, dim)
        Unit rows.

    Returns
    -------
    ndarray float32, shape (prefixes, dim)
        Unit rows; zeros for a prefix without any title.

    Examples
    --------
    >>> import torch
    >>> both = Clicked.of(Sequences.of([[0, 1], [1]]))
    >>> (recency_mean(both, np.inf, torch.eye(2)) ** 2).round(3).tolist()
    [[0.5, 0.5], [0.0, 1.0]]
    """
    import torch  # the live half reads the half-lives above without it

    with torch.inference_mode():
        sums = torch.nn.functional.embedding_bag(
            torch.from_numpy(clicked.rows),
            titles,
            torch.from_numpy(clicked.offsets),
            mode="sum",
            per_sample_weights=torch.from_numpy(weights(clicked.ages, half_life)),
            include_last_offset=True,
        )
        sums /= torch.linalg.vector_norm(sums, dim=1, keepdim=True).clamp_(min=1e-12)
        return np.asarray(sums.numpy())
