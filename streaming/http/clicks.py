"""Takes clicks by HTTP: checks them by the click contract and produces them to Kafka with the session id as
key.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec

from feature_repo.contract.messages import Click, ClickError, decode_click
from streaming.http.wire.errors import ApiError, ErrorDetail

log = logging.getLogger("intentstore.http")
MAX_CLICKS = 1_000  # in one request
# below the 15 s after which shops' clients commonly give up; the click is then reported as failed
SEND_SECONDS = 10.0
_SHAPE = msgspec.json.Decoder(list[msgspec.Raw])
_SESSION = msgspec.json.Decoder(dict[str, msgspec.Raw])


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
    body = body.strip()
    now = time.time_ns() // 1000 if now_us is None else now_us
    if not body.startswith(b"["):
        return [_check(body, now)], True
    try:
        raws = _SHAPE.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(
            400,
            "not_json",
            f"the body is no JSON list of clicks ({error}); send one click object or a list of them",
        ) from None
    if not 1 <= len(raws) <= MAX_CLICKS:
        raise ApiError(
            400, "bad_count", f"the list holds {len(raws):,} clicks; send 1 to {MAX_CLICKS:,} in one request"
        )
    return [_check(bytes(raw), now) for raw in raws], False


def _check(value: bytes, now_us: int) -> CheckedClick | ClickError:
    """Check one click as the consumer will, with the key that it will be sent with."""
    try:
        session = msgspec.json.decode(_SESSION.decode(value).get("session_id", b"null"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        session = None  # the contract says better what is wrong
    key = session.encode("utf-8", "replace") if isinstance(session, str) else b""
    try:
        return CheckedClick(decode_click(value, key, now_us), value)
    except ClickError as error:
        return error


class ClickSender:
    """Produces batches of clicks and waits for the broker's word on each. Used on one thread.

    Parameters
    ----------
    make_producer : callable
        Gives a new kafka-python producer; called at the first click and again after a failure to connect.
    topic : str
        The clicks topic.
    """

    def __init__(self, make_producer: Callable[[], Any], topic: str) -> None:
        self._make, self._topic = make_producer, topic
        self._producer: Any = None
        self.counts: Counter[str] = Counter()

    def __call__(self, batches: list[list[CheckedClick]]) -> Sequence[list[ClickResult] | Exception]:
        """Send all clicks of some requests in one burst; see ``Batcher``."""
        if self._producer is None:
            try:
                self._producer = self._make()
            except Exception as error:  # noqa: BLE001 - every click gets it as its result
                log.warning(
                    "the producer of '%s' cannot connect: %s: %s", self._topic, type(error).__name__, error
                )
                failed = partial(_failed, error=error)
                return [list(map(failed, batch)) for batch in batches]
        under_way = [list(map(self._send, batch)) for batch in batches]
        outcome = partial(self._outcome, deadline=time.monotonic() + SEND_SECONDS)
        return [list(map(outcome, batch, futures)) for batch, futures in zip(batches, under_way, strict=True)]

    def close(self) -> None:
        """Close the connection."""
        if self._producer is not None:
            self._producer.close(timeout=5)

    def _send(self, checked: CheckedClick) -> Any:
        try:
            return self._producer.send(
                self._topic, value=checked.value, key=checked.click.session_id.encode()
            )
        except Exception as error:  # noqa: BLE001 - full buffer, no metadata: the result of this click
            return error

    def _outcome(self, checked: CheckedClick, future: Any, deadline: float) -> ClickResult:
        if isinstance(future, Exception):
            return _failed(checked, future)
        try:
            placed = future.get(timeout=max(0.001, deadline - time.monotonic()))
        except Exception as error:  # noqa: BLE001
            # the broker's or the client's reason, reported for this click
            return _failed(checked, error)
        return ClickResult("accepted", checked.click.event_id, placed.partition, placed.offset)


def refused(error: ClickError) -> ClickResult:
    """Give the result of a click that breaks the contract."""
    return ClickResult("refused", error=ErrorDetail(error.reason, str(error)))


def _failed(checked: CheckedClick, error: Exception) -> ClickResult:
    text = (
        f"the broker did not take the click ({type(error).__name__}: {str(error)[:200]}); send it again "
        "with the same event_id, it counts once"
    )
    return ClickResult("failed", checked.click.event_id, error=ErrorDetail("broker_unavailable", text))
