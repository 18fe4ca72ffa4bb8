"""The HTTP connection: limits, time-outs, and JSON errors for what never becomes a request. Knows no
route.
"""

from __future__ import annotations

import asyncio
import http
import logging
import re
import sys
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from streaming.http.wire.errors import ApiError, Json

log = logging.getLogger("intentstore.http")
MAX_HEAD_BYTES = (
    65_536  # request line and headers; an id has at most 1,024 characters, 12 kB when percent-encoded
)
HEAD_SECONDS = 30.0  # from the connection, or the first byte of a later request, to the end of its head
SILENT_SECONDS = 30.0  # within a body
BODY_SECONDS = 120.0  # a whole body: a megabyte at 9 kB/s
STALLED_SECONDS = 30.0  # a client that takes nothing for so long while 64 kB wait for it is gone
# What is still coming is read and dropped for so long: closing at once would reset the connection and lose
# our answer.
LINGER_SECONDS = 2.0
END_STREAMS = "end_streams"  # in the application's state: what ends its event streams
_LINE_BYTES = len("  HTTP/1.1\r\n")
_HEADER_BYTES = len(": \r\n")
_REQUEST_LINE = re.compile(rb"([!-~]{1,64}) ")
_IDLE, _HEAD, _BODY = range(3)


class LimitedProtocol(HttpToolsProtocol):
    """One connection.

    A request moves it from idle over head to body and back. What the parser refuses, and what is too large or
    too slow, gets the error body of the API and the end of the connection; answers under way to earlier
    requests still go out.
    """

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self._state, self._head_bytes, self._raw_bytes = _IDLE, 0, 0
        self._body_until = 0.0
        self._late: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._problem: ApiError | None = None  # why a callback broke the parsing off
        self._refused = False
        self._latest = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._wait(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._wait(None)
        self._resumed()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, then see that what is still to come has a time-out."""
        if self._refused:
            return
        self._latest = data
        self._raw_bytes += len(data)
        super().data_received(data)
        self._latest = b""
        if self._refused or self.transport.is_closing():
            return
        if (
            self._state == _HEAD and self._raw_bytes > MAX_HEAD_BYTES
        ):  # one header without an end is in no callback yet
            self._refuse(_head_too_large())
        elif self._state == _BODY:
            self._wait(min(SILENT_SECONDS, max(self._body_until - self.loop.time(), 0.0)))
        elif self._late is None and (
            self._state == _HEAD or (self._answered() and self.timeout_keep_alive_task is None)
        ):
            self._wait(HEAD_SECONDS)

    def on_message_begin(self) -> None:
        """Start counting a head."""
        self._state, self._raw_bytes, self._head_bytes = _HEAD, 0, _LINE_BYTES + len("\r\n")
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header, or a trailer."""
        self._count(len(name) + len(value) + _HEADER_BYTES)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request; its body has a limit of its own."""
        self._count(len(self.parser.get_method()))
        super().on_headers_complete()
        self._state, self._body_until = _BODY, self.loop.time() + BODY_SECONDS
        self._wait(None)

    def on_message_complete(self) -> None:
        """The next request of this connection may begin."""
        self._state = _IDLE
        self._wait(None)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Say in the API's words what the parser refused; called while the parser's error is handled."""
        self._refuse(self._problem or _unreadable(sys.exception(), self._latest))

    def timeout_keep_alive_handler(self) -> None:
        """End an idle connection; one that did not even take its answer is cut off."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def pause_writing(self) -> None:
        """Give a client that takes nothing some time."""
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client takes its answer again."""
        self._resumed()
        super().resume_writing()

    def shutdown(self) -> None:
        """End at the server's stop: event streams first, as they would outlast its patience."""
        self.app_state.get(END_STREAMS, lambda: None)()
        super().shutdown()

    def _resumed(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._problem = _head_too_large()
            raise self._problem

    def _answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait(self, seconds: float | None) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = None if seconds is None else self.loop.call_later(seconds, self._too_late)

    def _too_late(self) -> None:
        self._late = None
        if self.transport.is_closing():
            return
        if self._state == _IDLE:
            self.transport.close()
            return
        part = "head" if self._state == _HEAD else "body"
        self._refuse(
            ApiError(
                408,
                "request_timeout",
                f"the rest of the request's {part} did not come in time; send it again, in one go",
            )
        )

    def _refuse(self, error: ApiError) -> None:
        """Answer with an error and end the connection, without cutting into answers to earlier requests."""
        log.warning("a request was refused: %d %s", error.status_code, error)
        self._refused = True
        self._wait(None)
        self._unset_keepalive_if_required()
        cycle = self.cycle
        if self._state != _BODY and not self._answered():
            cycle.keep_alive = False  # it is the last one that is answered; then uvicorn closes
            return
        if self._state == _BODY and (cycle.response_started or self.pipeline):
            self.transport.close()  # half an answer is out already
            return
        if self._state == _BODY:
            cycle.disconnected = True  # the handler waits for a body that does not come
            cycle.message_event.set()
        self.transport.write(_response(error))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)


def _head_too_large() -> ApiError:
    return ApiError(
        431,
        "head_too_large",
        f"the request line and headers take more than {MAX_HEAD_BYTES:,} bytes; send fewer or shorter ones",
    )


def _unreadable(error: BaseException | None, data: bytes) -> ApiError:
    """Say what the parser could not read."""
    line = _REQUEST_LINE.match(data.lstrip(b"\r\n"))
    name = line[1].decode("ascii") if line else ""
    if (
        isinstance(error, httptools.HttpParserInvalidMethodError)
        and name
        and name not in http.HTTPMethod.__members__
    ):
        text = f"method {name[:60]!r} is not known; use GET, HEAD or POST, in capitals"
        return ApiError(405, "method_not_allowed", text, {"allow": "GET, HEAD, POST"})
    reason = (
        error.__context__
        if isinstance(error, httptools.HttpParserCallbackError) and error.__context__
        else error
    )
    return ApiError(
        400,
        "bad_request",
        f"this is no valid HTTP/1.1 request ({str(reason)[:200]}); "
        "check request line, headers and the body's length",
    )


def _response(error: ApiError) -> bytes:
    headers = {**(error.headers or {}), "connection": "close"}
    response = Json(error.body(), error.status_code, headers)
    head = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
    phrase = http.HTTPStatus(error.status_code).phrase.encode()
    return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (error.status_code, phrase, head, response.body)
