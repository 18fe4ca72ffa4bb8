"""Rules on attributes of items, such as a price or a language: equal, below, above, as one mask over a
catalogue. Pure; knows no topic and no request.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feature_repo.contract.items.messages import Attributes, Scalar, Value

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class AttributeRule:
    """What an attribute of an item must be; an item without it does not keep the rule. Of an attribute that
    is a list, one value must.

    Attributes
    ----------
    name : str
    equal : text, number, truth value, or a tuple of these, optional
        One of them; texts are compared letter by letter, and 5 equals 5.0.
    below, above : float, optional
        Bounds that are not reached themselves; only numbers keep them.
    """

    name: str
    equal: Value | None = None
    below: float | None = None
    above: float | None = None

    def problem(self) -> str:
        """Say why the rule makes no sense; empty = it does."""
        if self.equal is None and self.below is None and self.above is None:
            return f"attribute {self.name[:60]!r} has no rule; give equal, below or above"
        for word, bound in (("below", self.below), ("above", self.above)):
            if bound is not None and not math.isfinite(bound):
                return f"attribute {self.name[:60]!r}: {word} = {bound}; give a finite number"
        if self.equal == ():
            return f"attribute {self.name[:60]!r}: equal is an empty list; name a value"
        return ""

    @property
    def contradicts(self) -> bool:
        """Whether no value keeps it."""
        return self.below is not None and self.above is not None and self.below <= self.above


class Column:
    """One attribute of every item of a catalogue.

    Parameters
    ----------
    item_ids : sequence of str
        Of the catalogue.
    attributes : mapping of str to attributes
        By item.
    name : str
        Of the attribute.

    Examples
    --------
    >>> shop = {"a": {"price": 5}, "b": {"price": 20.0}, "c": {"language": "en"}}
    >>> column = Column(["a", "b", "c"], shop, "price")
    >>> column.mask(AttributeRule("price", below=20)).tolist()
    [True, False, False]
    """

    def __init__(self, item_ids: Sequence[str], attributes: Mapping[str, Attributes], name: str) -> None:
        self._items = len(item_ids)
        holding: dict[Hashable, list[int]] = {}
        places, numbers = [], []
        for place, item in enumerate(item_ids):
            value = attributes.get(item, {}).get(name)
            for part in _parts(value):
                holding.setdefault(_same(part), []).append(place)
                if isinstance(part, int | float) and not isinstance(part, bool):
                    places.append(place)
                    numbers.append(float(part))
        self._holding = holding
        self._places, self._numbers = np.array(places, dtype=np.int64), np.array(numbers, dtype=np.float64)

    @property
    def empty(self) -> bool:
        """Whether no item has it."""
        return not self._holding

    def mask(self, rule: AttributeRule) -> Mask:
        """Give the items that keep a rule, bool, shape (n_items,)."""
        mask = np.ones(self._items, dtype=bool)
        if rule.equal is not None:
            equal = np.zeros(self._items, dtype=bool)
            for part in _parts(rule.equal):
                equal[self._holding.get(_same(part), [])] = True
            mask &= equal
        if rule.below is not None or rule.above is not None:
            low, high = (-math.inf if rule.above is None else rule.above), rule.below
            inside = self._numbers > low
            inside &= self._numbers < (math.inf if high is None else high)
            within = np.zeros(self._items, dtype=bool)
            within[self._places[inside]] = True
            mask &= within
        return mask


def _parts(value: object) -> Sequence[Scalar]:
    if value is None:
        return ()
    return value if isinstance(value, tuple | list) else (value,)  # type: ignore[return-value]


def _same(part: Scalar) -> Hashable:
    """Give what equal values share: True is not 1, and 5 is 5.0."""
    return isinstance(part, bool), part
