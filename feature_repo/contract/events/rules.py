"""What counts: which types of events extend a session, how much they speak for an item, which end interest.
The one rule of fold, lake, model and `prepare`. Knows no column and no topic.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feature_repo.contract.settings import EventSettings
from feature_repo.contract.spellings.event_types import CLICK, canonical

EVERY = "*"  # in session.event_types.fold: all events alike
OTHER = "other"  # types that no rule names, counted together: their names are without bound


class EventRule(NamedTuple):
    """What an event of one type does.

    Attributes
    ----------
    name : str
        Under which it is counted.
    folded : bool
        Whether it extends the session and is learned from.
    weight : float
        How much it speaks for its item; a plain click is 1.
    ends : bool
        Whether its item is not recommended again in this session.
    named : bool
        Whether a rule names the type.
    """

    name: str
    folded: bool
    weight: float
    ends: bool
    named: bool


class EventRules(msgspec.Struct, frozen=True):
    """The rules by name of the type; compare and keep them as a value.

    Attributes
    ----------
    fold, aside, ends : tuple of str
        Canonical names, sorted; ``*`` in `fold` takes every type.
    weights : tuple of (str, float)
        Canonical name and weight, sorted.
    """

    fold: tuple[str, ...] = (CLICK, "detail", "view")
    aside: tuple[str, ...] = ("cart", "impression", "purchase", "remove_from_cart", "wishlist")
    ends: tuple[str, ...] = ("purchase",)
    weights: tuple[tuple[str, float], ...] = ()

    @classmethod
    def from_settings(cls, settings: EventSettings) -> EventRules:
        """Take the rules from the settings; names may be in any of the known spellings.

        Examples
        --------
        >>> EventRules.from_settings(EventSettings(ends=("transaction",))).ends
        ('purchase',)
        """
        fold, aside, ends = map(_canonicals, (settings.fold, settings.aside, settings.ends))
        weights = sorted((canonical(name), weight) for name, weight in settings.weights.items())
        return cls(fold, aside, ends, tuple(weights))

    def of(self, event_type: str | None) -> EventRule:
        """Give the rule of a type.

        Examples
        --------
        >>> rules = EventRules()
        >>> rules.of(None).folded, rules.of("transaction")[1:4], rules.of("zap")
        (True, (False, 0.0, True), EventRule(name='other', folded=False, weight=0.0, ends=False, named=False))
        """
        return _rule_of(self, event_type)

    def as_json(self) -> dict[str, object]:
        """Give the rules as plain JSON, for what a table was made by."""
        return {
            "fold": list(self.fold),
            "aside": list(self.aside),
            "ends": list(self.ends),
            "weights": [list(pair) for pair in self.weights],
        }


def _canonicals(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({canonical(name) for name in names}))


# remembered, as a log has few types; bounded, as nothing bounds those of a broken sender
@lru_cache(maxsize=4096)
def _rule_of(rules: EventRules, event_type: str | None) -> EventRule:
    name = canonical(event_type)
    folded = EVERY in rules.fold or name in rules.fold or event_type is None
    named = name in rules.fold or name in rules.aside or name in rules.ends or name == CLICK
    weight = dict(rules.weights).get(name, 1.0 if folded else 0.0)
    return EventRule(name if named else OTHER, folded, weight, name in rules.ends, named)


def event_type_of(extra: Mapping[str, object]) -> str | None:
    """Return the type of a click on the wire, out of the fields that `Click` keeps; one that is no text is
    none, as it is for the table `clicks`.
    """
    event_type = extra.get("event_type")
    return event_type if isinstance(event_type, str) else None


class RuledColumn(NamedTuple):
    """The rules of a column of types, row by row.

    Attributes
    ----------
    folded, ends : ndarray bool, shape (rows,)
    weight : ndarray float32, shape (rows,)
    """

    folded: NDArray[np.bool_]
    ends: NDArray[np.bool_]
    weight: NDArray[np.float32]


def ruled(types: pa.Array | pa.ChunkedArray, rules: EventRules) -> RuledColumn:
    """Apply the rules to a column of types.

    Parameters
    ----------
    types : pa.Array or ChunkedArray of string
        Null = no type.
    rules : EventRules

    Returns
    -------
    RuledColumn

    Examples
    --------
    >>> ruled(pa.array(["view", None, "buy"]), EventRules()).folded.tolist()
    [True, True, False]
    """
    column = types.combine_chunks() if isinstance(types, pa.ChunkedArray) else types
    if isinstance(column, pa.DictionaryArray):
        encoded = column
    else:
        encoded = column.cast(pa.string()).dictionary_encode()
    found = [rules.of(name) for name in [*encoded.dictionary.to_pylist(), None]]
    places = encoded.indices.cast(pa.int64()).fill_null(len(found) - 1).to_numpy(zero_copy_only=False)
    return RuledColumn(
        np.array([rule.folded for rule in found], dtype=bool)[places],
        np.array([rule.ends for rule in found], dtype=bool)[places],
        np.array([rule.weight for rule in found], dtype=np.float32)[places],
    )


class CountedClicks(NamedTuple):
    """Which events are clicks of a session, and how much their items are spoken for.

    Attributes
    ----------
    places : ndarray int64, shape (clicks,)
        Rows of the events that extend sessions, in their order.
    weights : ndarray float32, shape (clicks,)
        The largest weight among the click's own and those of later events about its item, up to the next
        click on it.
    """

    places: NDArray[np.int64]
    weights: NDArray[np.float32]


def counted_clicks(
    session: NDArray[np.int64],
    item: NDArray[np.int64],
    time: NDArray[np.int64],
    types: RuledColumn,
    gap_us: float | None,
) -> CountedClicks:
    """Take the clicks out of events, and let the others speak for them.

    Parameters
    ----------
    session, item : ndarray int64, shape (events,)
        A number an id.
    time : ndarray int64, shape (events,)
        Microseconds UTC; events are sorted by session, then time.
    types : RuledColumn
        Of the events.
    gap_us : float or None
        An event longer than this after the click it would speak for says nothing about it.

    Returns
    -------
    CountedClicks

    Examples
    --------
    >>> types = ruled(pa.array(["view", "view", "cart"]), EventRules(weights=(("cart", 3.0),)))
    >>> counted_clicks(np.zeros(3, int), np.array([7, 8, 7]), np.arange(3), types, None)
    CountedClicks(places=array([0, 1]), weights=array([3., 1.], dtype=float32))
    """
    places = np.flatnonzero(types.folded)
    weights = types.weight.copy()
    speaks = ~types.folded & (types.weight > 0)
    if speaks.any():
        rows = np.arange(len(time))
        order = np.lexsort((rows, item, session))
        begins = np.ones(len(order), dtype=bool)
        begins[1:] = (np.diff(session[order]) != 0) | (np.diff(item[order]) != 0)
        # the place of the latest click at or before each event of the same session and item; -1 = none
        latest = np.maximum.accumulate(np.where(types.folded[order], np.arange(len(order)), -1))
        first = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
        about = np.where(latest >= first, order[np.maximum(latest, 0)], -1)
        speaking = speaks[order] & (about >= 0)
        if gap_us is not None:
            speaking &= time[order] - time[np.maximum(about, 0)] <= gap_us
        np.maximum.at(weights, about[speaking], types.weight[order][speaking])
    return CountedClicks(places, weights[places])
