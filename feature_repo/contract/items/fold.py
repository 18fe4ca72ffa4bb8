"""What the records of the items topic say together: of each item the record with the latest offset. Pure;
knows no Kafka client.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from feature_repo.contract.items.messages import ItemUpdate


class Placed(NamedTuple):
    """An accepted record and where it stands.

    Attributes
    ----------
    partition, offset : int
    time_us : int
        The broker's clock for it, microseconds UTC.
    update : ItemUpdate
    """

    partition: int
    offset: int
    time_us: int
    update: ItemUpdate


@dataclass(frozen=True)
class LiveItems:
    """What the topic says at one moment; never changed, always replaced.

    Attributes
    ----------
    items : mapping of str to ItemUpdate
        Withdrawn ones too.
    texts : int
        Another number whenever a title or a category may have changed.
    """

    items: Mapping[str, ItemUpdate] = field(default_factory=dict)
    texts: int = 0


NO_ITEMS = LiveItems()


class ItemFold:
    """Keeps of each item the record that counts.

    Within a partition the later offset wins, whatever time a record claims. An item has two partitions only
    after the topic was given more of them; then the broker's later time wins, and at the same time the higher
    partition. So the order in which partitions are read makes no difference.

    Examples
    --------
    >>> fold = ItemFold()
    >>> fold.apply(Placed(0, 5, 10, ItemUpdate("a", title="new")))
    True
    >>> fold.apply(Placed(0, 4, 99, ItemUpdate("a", title="old"))), fold.now().items["a"].title
    (False, 'new')
    """

    def __init__(self) -> None:
        self._kept: dict[int, dict[str, Placed]] = {}  # partition to item to its latest record
        self._current: dict[str, Placed] = {}
        self._texts = 0
        self._now: LiveItems | None = NO_ITEMS

    def apply(self, placed: Placed) -> bool:
        """Take a record; gives whether it changed what is said of its item."""
        item = placed.update.item_id
        kept = self._kept.setdefault(placed.partition, {})
        before = kept.get(item)
        if before is not None and before.offset >= placed.offset:
            return False
        kept[item] = placed
        return self._settle(item)

    def forget(self, partition: int) -> None:
        """Drop what a partition said, as it holds another log now."""
        for item in self._kept.pop(partition, {}):
            self._settle(item)

    def now(self) -> LiveItems:
        """Give what counts; the very same object while nothing changed."""
        if self._now is None:
            self._now = LiveItems({item: one.update for item, one in self._current.items()}, self._texts)
        return self._now

    def placed(self) -> list[Placed]:
        """Give every record that is kept, for storing."""
        return [one for kept in self._kept.values() for one in kept.values()]

    def restore(self, records: Iterable[Placed]) -> None:
        """Take stored records."""
        for one in records:
            self.apply(one)

    def _settle(self, item: str) -> bool:
        """Decide again what counts of an item; gives whether that is something else than before."""
        found = (kept[item] for kept in self._kept.values() if item in kept)
        best = max(found, key=lambda one: (one.time_us, one.partition), default=None)
        before = self._current.get(item)
        if best is before:
            return False
        if best is None:
            del self._current[item]
        else:
            self._current[item] = best
        if _said(before) != _said(best):
            self._texts += 1
        if before is not None and best is not None and before.update == best.update:
            return False
        self._now = None
        return True


def _said(placed: Placed | None) -> tuple[str | None, str | None]:
    return (None, None) if placed is None else placed.update.text
