"""Bodies that hold one record or a list of them. Knows no click and no item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import msgspec

from streaming.http.wire.errors import ApiError, ErrorDetail

MAX_RECORDS = 1_000  # in one request
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def raw_records(body: bytes, word: str) -> tuple[list[bytes], bool]:
    """Split a request body.

    Parameters
    ----------
    body : bytes
        JSON: one record, or a list of them; the records themselves are not looked at.
    word : str
        What a record is called in messages.

    Returns
    -------
    records : list of bytes
        In order.
    single : bool
        Whether the body was one record and no list.

    Raises
    ------
    ApiError
        400 when a list is no JSON, empty or too long.

    Examples
    --------
    >>> raw_records(b' [{"a": 1}, 2]', "click"), raw_records(b"{}", "click")
    (([b'{"a": 1}', b'2'], False), ([b'{}'], True))
    """
    body = body.strip()
    if not body.startswith(b"["):
        return [body], True
    try:
        raws = _LIST.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(
            400,
            "not_json",
            f"the body is no JSON list of {word}s ({error}); send one {word} object or a list of them",
        ) from None
    if not 1 <= len(raws) <= MAX_RECORDS:
        raise ApiError(
            400,
            "bad_count",
            f"the list holds {len(raws):,} {word}s; send 1 to {MAX_RECORDS:,} in one request",
        )
    return [bytes(raw) for raw in raws], False


def key_of(record: bytes, name: str) -> bytes:
    """Give the key that a record will be sent with: the text of one of its fields; empty where it has none,
    as the contract says better what is wrong.

    Examples
    --------
    >>> key_of(b'{"item_id": "7"}', "item_id"), key_of(b'{"item_id": 7}', "item_id"), key_of(b"[", "item_id")
    (b'7', b'', b'')
    """
    try:
        key = msgspec.json.decode(_FIELDS.decode(record).get(name, b"null"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return b""
    return key.encode("utf-8", "replace") if isinstance(key, str) else b""


class RecordResult(Protocol):
    """What became of one record: ``accepted``, ``refused`` or ``failed``, and why."""

    @property
    def status(self) -> str:
        """One of the three."""

    @property
    def error(self) -> ErrorDetail | None:
        """Why it was not accepted."""


def outcome(
    results: Sequence[RecordResult], counts: Counter[str], single: bool, word: str
) -> tuple[int, ErrorDetail | None]:
    """Give the status of a request with records, and its error where none was accepted."""
    if counts["accepted"]:
        return (202 if counts["accepted"] == len(results) else 207), None
    if counts["failed"]:
        return 503, next(result.error for result in results if result.status == "failed")
    if single:
        return 400, results[0].error
    text = f"all {len(results)} {word}s are refused; 'results' says why, one by one"
    return 400, ErrorDetail("all_refused", text)
