"""Tells our messages on the output topics from records that others wrote there. Pure; knows no Kafka
client.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from feature_repo.contract.messages import Recommendation, decode_recommendation

RawHeaders = Iterable[tuple[str, bytes | None]]
_MOST_DIGITS = 19  # of an offset, which has 63 bits


def header_map(headers: RawHeaders | None) -> dict[str, bytes]:
    """Give headers by name; one without a value counts as missing, of a repeated one the last counts."""
    return {name: value for name, value in headers or () if value is not None}


def whole_number(text: bytes | None) -> int | None:
    """Read a partition or an offset; None when it is no plain number.

    Examples
    --------
    >>> [whole_number(text) for text in (b"17", b"-1", b"1_0", b"", None)]
    [17, None, None, None, None]
    """
    return int(text) if text is not None and text.isdigit() and len(text) <= _MOST_DIGITS else None


class Origin(NamedTuple):
    """The click that one of our messages came from: the group that answered it, and its offset."""

    group: bytes
    offset: int


def origin_of(headers: RawHeaders | None, name: str) -> Origin | None:
    """Give the click that a message came from.

    Parameters
    ----------
    headers : iterable of (str, bytes or None)
        Of the record.
    name : str
        Of the header that holds ``group/offset``.

    Returns
    -------
    Origin or None
        None for a record that no consumer of ours wrote.

    Examples
    --------
    >>> origin_of([("source", b"shop/17")], "source"), origin_of([("source", None)], "source")
    (Origin(group=b'shop', offset=17), None)
    """
    group, slash, text = header_map(headers).get(name, b"").rpartition(b"/")
    offset = whole_number(text)
    return Origin(group, offset) if slash and offset is not None else None


def answer_of(key: bytes | None, value: bytes | None) -> Recommendation | None:
    """Read a record of the recommendations topic; None when it is no answer, or its key is not its session
    id.
    """
    if key is None or value is None:
        return None
    try:
        answer = decode_recommendation(value)
        return answer if answer.session_id.encode() == key else None
    except ValueError:  # a lone surrogate in the session id is one, too
        return None
