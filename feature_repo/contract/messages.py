"""Wire types: the click and the recommendation as JSON on Kafka, and the rules by which a click is
refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

SCHEMA_VERSION = 1
MAX_ID_LENGTH = 1024
MAX_VALUE_BYTES = 1_000_000  # a click is a few hundred bytes; more is an attack or a mistake
EARLIEST_US = 946_684_800_000_000  # 2000-01-01T00:00:00Z
MAX_AHEAD_US = 86_400_000_000  # one day
# Epoch numbers are told apart by size: below 1e11 seconds (year 5138), below 1e14 milliseconds, above
# microseconds.
_SECONDS_BELOW, _MILLISECONDS_BELOW = 10**11, 10**14
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
# Numbers that are dates written out: as seconds or milliseconds they would fall into 1970, 1976 or after
# 2600. to the day, minute, second
_WRITTEN_OUT = ((20000101, 20991231), (200001010000, 209912312359), (20000101000000, 20991231235959))
_ZONE_WORDS = (" UTC", " GMT")


class ClickError(ValueError):
    """A click that is refused.

    Attributes
    ----------
    reason : str
        Short code for headers and metrics, such as ``bad_time``; the text says more.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


# gc=False: none of these can be part of a cycle, and the collector need not walk twenty items an answer.
class Click(msgspec.Struct, frozen=True, gc=False):
    """One valid click; ``event_time`` in microseconds UTC, ``extra`` holds unknown fields as they came."""

    event_id: str
    session_id: str
    item_id: str
    event_time: int
    schema_version: int = SCHEMA_VERSION
    extra: dict[str, Any] = msgspec.field(default_factory=dict)


class RecommendedItem(msgspec.Struct, frozen=True, gc=False):
    """One recommended item and its score; higher is better, comparable within one answer only."""

    item_id: str
    score: float
    reason: str = ""


class IntentView(msgspec.Struct, frozen=True, gc=False):
    """One view's intent: what was guessed, and the catalogue items it was grounded on.

    ``name`` says what those have in common that the catalogue has not, and never a clicked title; ``shown``
    are the items to show for it, at least half of them outside the session.
    """

    text: str
    items: list[str]
    name: str = ""
    shown: list[str] = []


class Intents(msgspec.Struct, frozen=True, gc=False):
    """Both views and the source they came from (llm, student, encoder, none)."""

    long: IntentView
    short: IntentView
    source: str


class Source(msgspec.Struct, frozen=True, gc=False):
    """The record that an answer answers."""

    topic: str
    partition: int
    offset: int


class Recommendation(msgspec.Struct, frozen=True, gc=False):
    """The answer to one click; times are ISO 8601 UTC with microseconds."""

    event_id: str
    session_id: str
    items: list[RecommendedItem]
    intents: Intents
    model_version: str
    source: Source
    click_time: str
    scored_at: str


_RECOMMENDATION_ENCODER = msgspec.json.Encoder()
_RECOMMENDATION_DECODER = msgspec.json.Decoder(Recommendation)
_CLICK_FIELDS = frozenset({"event_id", "session_id", "item_id", "event_time", "schema_version"})


def written_out(number: float) -> int | None:
    """Read a number such as 20240301 or 20240301235959 as the date that its digits write, in microseconds
    UTC; None = it writes none.

    Examples
    --------
    >>> format_time(written_out(20240229)), written_out(20240230)
    ('2024-02-29T00:00:00.000000Z', None)
    """
    for first, last in _WRITTEN_OUT:
        if first <= number <= last and number == int(number):
            text = str(int(number))
            hour, minute, second = (int(text[place : place + 2] or 0) for place in (8, 10, 12))
            try:
                moment = datetime(int(text[:4]), int(text[4:6]), int(text[6:8]), hour, minute, second)
            except ValueError:
                return None
            delta = moment - datetime(1970, 1, 1)
            return (delta.days * 86_400 + delta.seconds) * 1_000_000
    return None


def parse_time(value: object) -> int:
    """Read a time as microseconds since 1970 UTC.

    Parameters
    ----------
    value : object
        ISO 8601 text (no zone, ``Z``, `` UTC`` = UTC), a date written as one number (see ``written_out``), or
        epoch seconds, milliseconds or microseconds as number or text, told apart by size: below 1e11 seconds,
        below 1e14 milliseconds, else microseconds.

    Returns
    -------
    int
        Microseconds UTC.

    Raises
    ------
    ValueError
        If it is neither; the text shows the value and the accepted forms.

    Examples
    --------
    >>> parse_time("2020-02-29T12:00:00Z") == parse_time(1582977600) == parse_time("1582977600000")
    True
    """
    try:
        if isinstance(value, str):
            text = value.strip()
            if not _NUMBER.fullmatch(text):
                moment = datetime.fromisoformat(text[:-4] if text.endswith(_ZONE_WORDS) else text)
                moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
                delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
                return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
            value = float(text) if "." in text else int(text)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError
        if (date := written_out(value)) is not None:
            return date
        unit = 1_000_000 if abs(value) < _SECONDS_BELOW else 1_000 if abs(value) < _MILLISECONDS_BELOW else 1
        microseconds = round(value * unit)
        if abs(microseconds) >= 2**63:
            raise OverflowError
        return microseconds
    except (ValueError, TypeError, OverflowError):
        raise ValueError(
            f"event_time {str(value)[:60]!r} is no timestamp; expected ISO 8601 or epoch milliseconds"
        ) from None


def format_time(microseconds: int) -> str:
    """Write microseconds UTC as ISO 8601.

    Examples
    --------
    >>> format_time(1582977600000001)
    '2020-02-29T12:00:00.000001Z'
    """
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"


def decode_click(value: bytes | None, key: bytes | None, now_us: int) -> Click:
    """Read and check one record of the clicks topic.

    Parameters
    ----------
    value, key : bytes or None
        As Kafka holds them.
    now_us : int
        The broker's clock for this record (its timestamp), microseconds UTC; the same at every replay.

    Returns
    -------
    Click
        Checked; unknown fields are in ``extra``.

    Raises
    ------
    ClickError
        With one of the reasons null_value, too_large, not_utf8, not_json, wrong_shape,
        unknown_schema_version, bad_id, bad_time, wrong_key.

    Examples
    --------
    >>> raw = (
    ...     b'{"event_id":"e","session_id":"s","item_id":"i",'
    ...     b'"event_time":"2024-01-01T00:00:00Z","schema_version":1}'
    ... )
    >>> decode_click(raw, b"s", 1_800_000_000_000_000).item_id
    'i'
    """
    fields = decode_object(value, "event_id, session_id, item_id, event_time")
    check_version(fields, "this consumer")
    for name in ("event_id", "session_id", "item_id"):
        check_id(name, fields.get(name))
    try:
        time = parse_time(fields.get("event_time"))
    except ValueError as error:
        raise ClickError("bad_time", str(error)) from None
    check_time(time, now_us)
    if key is None or key != fields["session_id"].encode():
        raise ClickError(
            "wrong_key",
            (
                f"record key {str(key)[:60]} is not the session id {fields['session_id'][:60]!r}; send with "
                "key = session_id"
            ),
        )
    extra = {name: item for name, item in fields.items() if name not in _CLICK_FIELDS}
    return Click(fields["event_id"], fields["session_id"], fields["item_id"], time, SCHEMA_VERSION, extra)


def check_version(fields: Mapping[str, Any], reader: str) -> None:
    """Refuse another version of the wire format than ours; none given = ours. `reader` is for the message.

    Raises
    ------
    ClickError
        With reason ``unknown_schema_version``.
    """
    version = fields.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise ClickError(
            "unknown_schema_version",
            f"schema_version {str(version)[:60]!r} is unknown; {reader} reads {SCHEMA_VERSION}",
        )


def check_id(name: str, value: object) -> None:
    """Refuse an id that is missing, not text, blank or longer than 1,024 characters.

    Raises
    ------
    ClickError
        With reason ``wrong_shape`` or ``bad_id``.
    """
    if not isinstance(value, str):
        raise ClickError("wrong_shape", f"{name} is {str(value)[:60]!r}; expected a non-empty text")
    if not value.strip() or len(value) > MAX_ID_LENGTH:
        shown = f"{len(value):,} characters long" if value.strip() else "blank"
        raise ClickError("bad_id", f"{name} is {shown}; expected 1 to {MAX_ID_LENGTH:,} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ClickError(
            "bad_id", f"{name} {value[:60]!r} holds a lone surrogate; send valid Unicode"
        ) from None


def check_time(time_us: int, now_us: int) -> None:
    """Refuse an event time before the year 2000 or more than a day ahead of the broker's clock.

    Raises
    ------
    ClickError
        With reason ``bad_time``.
    """
    if time_us < EARLIEST_US:
        raise ClickError(
            "bad_time", f"event_time {time_us} us is before 2000-01-01; expected the time of the click"
        )
    if time_us > now_us + MAX_AHEAD_US:
        raise ClickError(
            "bad_time",
            (
                f"event_time {time_us} us is more than a day ahead of the broker's clock ({now_us} us); "
                "check the sender's clock"
            ),
        )


def decode_object(value: bytes | None, expected: str) -> dict[str, Any]:
    """Read a record's value as a JSON object.

    Parameters
    ----------
    value : bytes or None
        As Kafka holds it.
    expected : str
        Names of its fields, for the message.

    Raises
    ------
    ClickError
        With reason ``null_value``, ``too_large``, ``not_utf8``, ``not_json`` or ``wrong_shape``.
    """
    if value is None:
        raise ClickError("null_value", "the record has no value; expected a JSON object")
    if len(value) > MAX_VALUE_BYTES:
        raise ClickError(
            "too_large", f"the value has {len(value):,} bytes; at most {MAX_VALUE_BYTES:,} are read"
        )
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ClickError(
            "not_utf8", f"byte {error.start} of the value is not UTF-8; expected UTF-8 JSON"
        ) from None
    try:
        fields = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ClickError("not_json", f"the value is not JSON ({error}); expected a JSON object") from None
    if not isinstance(fields, dict):
        raise ClickError(
            "wrong_shape",
            f"the value is a JSON {type(fields).__name__}; expected an object with {expected}",
        )
    return fields


def encode_click(click: Click) -> bytes:
    """Write a click as JSON; the inverse of ``decode_click`` (key = ``session_id``)."""
    fields = {
        "event_id": click.event_id,
        "session_id": click.session_id,
        "item_id": click.item_id,
        "event_time": format_time(click.event_time),
        "schema_version": click.schema_version,
    }
    return json.dumps({**click.extra, **fields}, ensure_ascii=False, separators=(",", ":")).encode()


def encode_recommendation(answer: Recommendation) -> bytes:
    """Write an answer as JSON."""
    return _RECOMMENDATION_ENCODER.encode(answer)


def decode_recommendation(value: bytes) -> Recommendation:
    """Read an answer; unknown fields are ignored.

    Raises
    ------
    ValueError
        If the bytes are no recommendation.
    """
    try:
        return _RECOMMENDATION_DECODER.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a recommendation: {error}") from None
