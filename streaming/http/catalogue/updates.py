"""Takes items by HTTP: checks them by the contract of the items topic and produces them there with the item
id as key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from feature_repo.contract.items.messages import ItemError, ItemUpdate, decode_item
from streaming.http.wire.bodies import key_of, raw_records
from streaming.http.wire.errors import ErrorDetail
from streaming.http.wire.sender import Outgoing, Place, Sender


class CheckedItem(NamedTuple):
    """A valid record: what it says, and the bytes to send; none = the item is withdrawn."""

    update: ItemUpdate
    value: bytes | None


class ItemResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one item: ``accepted`` with its place in the topic, ``refused`` or ``failed`` with the
    reason.
    """

    status: str
    item_id: str | None = None
    partition: int | None = None
    offset: int | None = None
    error: ErrorDetail | None = None


def check_items(body: bytes) -> tuple[list[CheckedItem | ItemError], bool]:
    """Read a request body: one item or a list of them.

    Returns
    -------
    items : list
        One entry an item, in order: checked, or why it is refused.
    single : bool
        Whether the body was one item and no list.

    Raises
    ------
    ApiError
        400 when the body is no JSON object or list, or the list is empty or too long.

    Examples
    --------
    >>> items, single = check_items(b'[{"item_id": "a"}, {"item_id": "b", "available": "no"}]')
    >>> items[0].update.item_id, items[1].reason, single
    ('a', 'bad_available', False)
    """
    raws, single = raw_records(body, "item")
    return [_check(raw) for raw in raws], single


def withdrawal(item_id: str) -> CheckedItem:
    """Give the record that withdraws an item."""
    return CheckedItem(decode_item(None, item_id.encode()), None)


def _check(value: bytes) -> CheckedItem | ItemError:
    """Check one item as every follower of the topic will, with the key that it will be sent with."""
    key = key_of(value, "item_id")
    try:
        return CheckedItem(decode_item(value, key), value)
    except ItemError as error:
        return error


class ItemSender(Sender[CheckedItem, ItemResult]):
    """Produces batches of items and waits for the broker's word on each; see ``Sender``."""

    def __init__(self, make_producer: Callable[[], Any], topic: str) -> None:
        super().__init__(make_producer, topic, _outgoing, _result)


def refused(error: ItemError) -> ItemResult:
    """Give the result of an item that breaks the contract."""
    return ItemResult("refused", error=ErrorDetail(error.reason, str(error)))


def _outgoing(checked: CheckedItem) -> Outgoing:
    return Outgoing(checked.update.item_id.encode(), checked.value)


def _result(checked: CheckedItem, place: Place | Exception) -> ItemResult:
    item_id = checked.update.item_id
    if isinstance(place, Exception):
        text = (
            f"the broker did not take the item ({type(place).__name__}: {str(place)[:200]}); send it again, "
            "the latest record counts"
        )
        return ItemResult("failed", item_id, error=ErrorDetail("broker_unavailable", text))
    return ItemResult("accepted", item_id, place.partition, place.offset)
