"""Takes clicks by HTTP: checks them by the click contract and produces them to Kafka with the session id as
key.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from feature_repo.contract.messages import Click, ClickError, decode_click
from streaming.http.wire.bodies import key_of, raw_records
from streaming.http.wire.errors import ErrorDetail
from streaming.http.wire.sender import Outgoing, Place, Sender


class CheckedClick(NamedTuple):
    """A valid click: what it says, and the bytes to send."""

    click: Click
    value: bytes


class ClickResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one click: ``accepted`` with its place in the topic, ``refused`` or ``failed`` with the
    reason.
    """

    status: str
    event_id: str | None = None
    partition: int | None = None
    offset: int | None = None
    error: ErrorDetail | None = None


def check_clicks(body: bytes, now_us: int | None = None) -> tuple[list[CheckedClick | ClickError], bool]:
    """Read a request body: one click or a list of them.

    Parameters
    ----------
    body : bytes
        JSON.
    now_us : int, optional
        Clock for the rule on future times, microseconds UTC; none = now.

    Returns
    -------
    clicks : list
        One entry a click, in order: checked, or why it is refused.
    single : bool
        Whether the body was one click and no list.

    Raises
    ------
    ApiError
        400 when the body is no JSON object or list, or the list is empty or too long.

    Examples
    --------
    >>> clicks, single = check_clicks(
    ...     b'[{"event_id":"e","session_id":"s","item_id":"","event_time":1600000000}]'
    ... )
    >>> clicks[0].reason, single
    ('bad_id', False)
    """
    now = time.time_ns() // 1000 if now_us is None else now_us
    raws, single = raw_records(body, "click")
    return [_check(raw, now) for raw in raws], single


def _check(value: bytes, now_us: int) -> CheckedClick | ClickError:
    """Check one click as the consumer will, with the key that it will be sent with."""
    key = key_of(value, "session_id")
    try:
        return CheckedClick(decode_click(value, key, now_us), value)
    except ClickError as error:
        return error


class ClickSender(Sender[CheckedClick, ClickResult]):
    """Produces batches of clicks and waits for the broker's word on each; see ``Sender``."""

    def __init__(self, make_producer: Callable[[], Any], topic: str) -> None:
        super().__init__(make_producer, topic, _outgoing, _result)


def _outgoing(checked: CheckedClick) -> Outgoing:
    return Outgoing(checked.click.session_id.encode(), checked.value)


def _result(checked: CheckedClick, place: Place | Exception) -> ClickResult:
    if isinstance(place, Exception):
        return _failed(checked, place)
    return ClickResult("accepted", checked.click.event_id, place.partition, place.offset)


def refused(error: ClickError) -> ClickResult:
    """Give the result of a click that breaks the contract."""
    return ClickResult("refused", error=ErrorDetail(error.reason, str(error)))


def _failed(checked: CheckedClick, error: Exception) -> ClickResult:
    text = (
        f"the broker did not take the click ({type(error).__name__}: {str(error)[:200]}); send it again "
        "with the same event_id, it counts once"
    )
    return ClickResult("failed", checked.click.event_id, error=ErrorDetail("broker_unavailable", text))
