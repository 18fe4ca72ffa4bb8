"""Which sessions are worth a call to the LLM. Pure arithmetic on counts; knows nothing of tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# a session of two weeks ago is worth half of one of today: its user is less likely to come back to it
RECENCY_DAYS = 14.0
CHARACTERS_PER_TOKEN = 3.0  # low on purpose: the cost of a call must not be estimated below what it becomes


def unsureness(following: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Return how unsure the clicks leave the next item after each of some items.

    Parameters
    ----------
    following : sequence of int arrays
        For each item, how often each other item came next.

    Returns
    -------
    array, float64, shape (len(following),)
        Entropy of the counts with one unseen item added, over its highest value for that many clicks; 1 for
        an item never followed.

    Examples
    --------
    >>> unsureness([np.array([], int), np.array([50]), np.array([1] * 50)]).round(1).tolist()
    [1.0, 0.0, 1.0]
    """
    values = np.ones(len(following))
    for place, counts in enumerate(following):
        total = int(counts.sum())
        if total:
            shares = np.append(counts, 1) / (total + 1)
            values[place] = float(-(shares * np.log(shares)).sum() / np.log(total + 1))
    return values


def recency(age_days: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 for a session of now, half of it every ``RECENCY_DAYS``."""
    return np.asarray(0.5 ** (np.maximum(age_days, 0.0) / RECENCY_DAYS), np.float64)


def affordable(
    characters: Sequence[int],
    max_calls: int,
    max_cost: float | None,
    input_price: float,
    output_price: float,
    max_new_tokens: int,
) -> int:
    """Return how many of the sessions, best first, the budget allows.

    Parameters
    ----------
    characters : sequence of int
        Characters of both prompts of a session.
    max_calls : int
        Most sessions.
    max_cost : float or None
        Most money, in the currency of the prices.
    input_price, output_price : float
        Of a million tokens.
    max_new_tokens : int
        Of one answer; each session has two.

    Returns
    -------
    int
        The cost is estimated from above, so that the money spent never exceeds ``max_cost``.

    Examples
    --------
    >>> affordable([3000] * 10, 5, None, 0.0, 0.0, 16), affordable([3000] * 10, 5, 0.003, 1.0, 1.0, 16)
    (5, 2)
    """
    allowed = min(max_calls, len(characters))
    if max_cost is None:
        return allowed
    costs = np.array(
        [
            (count / CHARACTERS_PER_TOKEN * input_price + 2 * max_new_tokens * output_price) / 1e6
            for count in characters[:allowed]
        ]
    )
    return int(np.searchsorted(np.cumsum(costs), max_cost, side="right"))
