"""What an intent is: a readable answer, the items it is grounded on, and a vector, for the long and the short
view.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ViewIntent:
    """One view's intent.

    Attributes
    ----------
    text : str
        The answer as it was given; for sources without an LLM the title nearest to the vector.
    items : tuple of str
        Ids of the catalogue items the answer is grounded on, nearest first.
    cosines : tuple of float
        Their cosines with the answer, in the localiser's space.
    vector : array, float32, shape (dim,)
        Unit vector in the localiser's space; all zeros when nothing is known.
    """

    text: str
    items: tuple[str, ...]
    cosines: tuple[float, ...]
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SessionIntent:
    """The long-term and the short-term intent of one prefix.

    Attributes
    ----------
    long, short : ViewIntent
        What the session wants on the whole, and what it wants next.
    source : str
        Where it comes from: ``llm``, ``endpoint``, ``student``, ``encoder`` or ``none``.
    cache_key : str
        Content key of the prefix under the LLM's settings; empty where no LLM is configured.
    """

    long: ViewIntent
    short: ViewIntent
    source: str
    cache_key: str = ""


def no_view(dim: int) -> ViewIntent:
    """Return the view of a prefix about which nothing is known: no text, no items, a zero vector of length
    ``dim``.
    """
    return ViewIntent("", (), (), np.zeros(dim, np.float32))


def no_intent(dim: int, cache_key: str = "") -> SessionIntent:
    """Return the intent of a prefix of unknown items: both views empty, source ``none``.

    Examples
    --------
    >>> no_intent(3).source
    'none'
    """
    return SessionIntent(no_view(dim), no_view(dim), "none", cache_key)
