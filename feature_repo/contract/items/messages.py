"""Wire type of the items topic: an item as JSON on Kafka, and the rules by which a record is refused. Knows
no Kafka client and no catalogue.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from feature_repo.contract.messages import SCHEMA_VERSION, ClickError, check_id, check_version, decode_object

MAX_ATTRIBUTES_BYTES = 65_536  # all scoring processes hold them; a shop's filters are a few hundred bytes
MAX_TEXT_CHARACTERS = 10_000  # of a title or a category, as in files; more is a broken export
_FIELDS = frozenset({"item_id", "title", "category", "available", "attributes", "schema_version"})
_BLANKS = re.compile(r"[\s\x00-\x1f\xa0]+")
Scalar = str | float | bool
Value = Scalar | tuple[Scalar, ...]
Attributes = Mapping[str, Value]


class ItemError(ClickError):
    """A record of the items topic that is refused; its `reason` is a short code for headers and metrics."""


class ItemUpdate(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one record says of an item. The record is the whole item: a field that it leaves out is not known
    from the topic, and is then as the catalogue of the model and the lake has it.

    Attributes
    ----------
    item_id : str
    title, category : str or None
        One line each; none = not said.
    available : bool
        Whether it may be recommended.
    attributes : dict or None
        Name to a text, number, truth value or a list of these; none = not said.
    extra : dict
        Unknown fields as they came.
    withdrawn : bool
        Whether it was a record without a value.
    """

    item_id: str
    title: str | None = None
    category: str | None = None
    available: bool = True
    attributes: dict[str, Value] | None = None
    extra: dict[str, Any] = msgspec.field(default_factory=dict)
    withdrawn: bool = False

    @property
    def text(self) -> tuple[str | None, str | None]:
        """Title and category: what vectors and intents are made of."""
        return self.title, self.category


def decode_item(value: bytes | None, key: bytes | None) -> ItemUpdate:
    """Read and check one record of the items topic.

    Parameters
    ----------
    value, key : bytes or None
        As Kafka holds them; no value = the item is withdrawn.

    Returns
    -------
    ItemUpdate

    Raises
    ------
    ItemError
        With one of the reasons too_large, not_utf8, not_json, wrong_shape, unknown_schema_version, bad_id,
        bad_available, bad_attributes, wrong_key.

    Examples
    --------
    >>> decode_item(b'{"item_id":"7","title":"Red  shoe","attributes":{"price":9.5}}', b"7").title
    'Red shoe'
    >>> decode_item(None, b"7").available
    False
    """
    try:
        return _withdrawn(key) if value is None else _decoded(value, key)
    except ItemError:
        raise
    except ClickError as error:
        raise ItemError(error.reason, str(error)) from None


def _withdrawn(key: bytes | None) -> ItemUpdate:
    try:
        item_id = (key or b"").decode()
    except UnicodeDecodeError:
        raise ItemError(
            "wrong_key", f"record key {str(key)[:60]} is not UTF-8; send with key = item_id"
        ) from None
    check_id("item_id, the key of a record without a value,", item_id)
    return ItemUpdate(item_id, available=False, withdrawn=True)


def _decoded(value: bytes, key: bytes | None) -> ItemUpdate:
    fields = decode_object(value, "item_id, title, category, available, attributes")
    check_version(fields, "this code")
    item_id = fields.get("item_id")
    check_id("item_id", item_id)
    if key is None or key != str(item_id).encode():
        raise ItemError(
            "wrong_key",
            f"record key {str(key)[:60]} is not the item id {str(item_id)[:60]!r}; send with key = item_id",
        )
    available = fields.get("available", True)
    if not isinstance(available, bool):
        raise ItemError(
            "bad_available",
            f"available of item {str(item_id)[:60]!r} is {json.dumps(available)[:60]}; write true or false",
        )
    return ItemUpdate(
        str(item_id),
        _text("title", fields),
        _text("category", fields),
        available,
        _attributes(fields.get("attributes")),
        {name: item for name, item in fields.items() if name not in _FIELDS},
    )


def read_attributes(text: str) -> dict[str, Value]:
    """Read attributes as a column of a file holds them.

    Raises
    ------
    ItemError
        It is no JSON object, or breaks the rules for attributes.

    Examples
    --------
    >>> read_attributes('{"price": 9.5, "languages": ["en", "de"]}')
    {'price': 9.5, 'languages': ('en', 'de')}
    """
    try:
        given = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        given = text
    return _attributes(given) or {}


def _text(name: str, fields: Mapping[str, Any]) -> str | None:
    text = fields.get(name)
    if text is None:
        return None
    if not isinstance(text, str):
        raise ItemError("wrong_shape", f"{name} is {json.dumps(text)[:60]}; expected a text")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise ItemError(
            "too_large", f"{name} has {len(text):,} characters; shorten it to {MAX_TEXT_CHARACTERS:,}"
        )
    return _BLANKS.sub(" ", text).strip() or None


def _attributes(given: Any) -> dict[str, Value] | None:
    if given is None:
        return None
    if not isinstance(given, dict):
        raise ItemError(
            "bad_attributes",
            f"attributes are {json.dumps(given)[:60]}; expected an object of names and values",
        )
    size = len(msgspec.json.encode(given))
    if size > MAX_ATTRIBUTES_BYTES:
        raise ItemError(
            "too_large",
            f"attributes have {size:,} bytes; at most {MAX_ATTRIBUTES_BYTES:,} are kept of one item",
        )
    return {name: _value(name, value) for name, value in given.items() if value is not None}


def _value(name: str, value: Any) -> Value:
    parts = value if isinstance(value, list) else [value]
    for part in parts:
        if not isinstance(part, str | int | float) or not math.isfinite(_number(part)):
            raise ItemError(
                "bad_attributes",
                f"attribute {name[:60]!r} is {json.dumps(value)[:60]}; expected a text, a number, true or "
                "false, or a list of these",
            )
    return tuple(parts) if isinstance(value, list) else value


def _number(part: str | float) -> float:
    try:
        return 0.0 if isinstance(part, str) else float(part)
    except OverflowError:
        return math.inf


def encode_item(item: ItemUpdate) -> bytes | None:
    """Write an item as JSON, or nothing for one that is withdrawn; the inverse of ``decode_item`` (key =
    ``item_id``).
    """
    if item.withdrawn:
        return None
    known = {"title": item.title, "category": item.category, "attributes": item.attributes}
    fields = {name: value for name, value in known.items() if value is not None}
    body = {
        **item.extra,
        "item_id": item.item_id,
        **fields,
        "available": item.available,
        "schema_version": SCHEMA_VERSION,
    }
    return msgspec.json.encode(body)
