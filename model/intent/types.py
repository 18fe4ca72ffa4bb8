"""What an intent is: a readable answer, the items it is grounded on, and a vector, for the long and the short
view.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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
    name : str
        What is common to the shown items and rare in the catalogue: categories and title words. Never a
        clicked title. Empty until `model.intent.ground.names` gave it, or where nothing can be said.
    shown : tuple of str
        Ids of the items that stand for the intent, nearest first; at least half were not clicked in the
        session.
    further : tuple of str
        Ids of the items next to ``items``, as far as the look-up gave them; not stored.
    """

    text: str
    items: tuple[str, ...]
    cosines: tuple[float, ...]
    vector: NDArray[np.float32]
    name: str = ""
    shown: tuple[str, ...] = ()
    further: tuple[str, ...] = ()


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

    def to_row(self) -> dict[str, Any]:
        """Return the columns that tables, live files and the online store hold of an intent: ``source``,
        ``cache_key``, and ``text``, ``items``, ``cosines``, ``vector``, ``name`` and ``shown`` of both views
        with the view's name before them; a vector is the array itself, which each place brings to its own
        form.
        """
        row: dict[str, Any] = {"source": self.source, "cache_key": self.cache_key}
        for name, view in (("long", self.long), ("short", self.short)):
            row |= {
                f"{name}_text": view.text,
                f"{name}_items": list(view.items),
                f"{name}_cosines": list(view.cosines),
                f"{name}_vector": view.vector,
                f"{name}_name": view.name,
                f"{name}_shown": list(view.shown),
            }
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, Any], vector: Callable[[Any], NDArray[np.float32]]) -> SessionIntent:
        """Read what `to_row` gave.

        Parameters
        ----------
        row : mapping
            With these columns, and others maybe; names and shown items may be missing or null.
        vector : callable
            Reads the form that vectors have in this place.

        Examples
        --------
        >>> row = no_intent(2, "k").to_row()
        >>> SessionIntent.from_row(row, np.asarray).cache_key, sorted(row)[:3]
        ('k', ['cache_key', 'long_cosines', 'long_items'])
        """
        return cls(_view(row, "long", vector), _view(row, "short", vector), row["source"], row["cache_key"])


def _view(row: Mapping[str, Any], name: str, vector: Callable[[Any], NDArray[np.float32]]) -> ViewIntent:
    return ViewIntent(
        row[f"{name}_text"],
        tuple(row[f"{name}_items"]),
        tuple(row[f"{name}_cosines"]),
        vector(row[f"{name}_vector"]),
        row.get(f"{name}_name") or "",
        tuple(row.get(f"{name}_shown") or ()),
    )


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
