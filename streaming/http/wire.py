"""HTTP primitives on bare ASGI: request, response, error bodies, tokens and limits. Knows no route."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from feature_repo.contract.messages import ClickError, check_id

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON_TYPE = b"application/json"
MAX_QUERY_FIELDS = 50  # no route reads more than a handful; parsing thousands is work for nobody
NO_STORE = (b"cache-control", b"no-store")  # answers are about one session at one instant
_ENCODER = msgspec.json.Encoder()


class ApiError(Exception):
    """A request that gets an error body instead of an answer.

    Attributes
    ----------
    status : int
        HTTP status.
    code : str
        Short stable word for programs; the text of the exception is for people.
    headers : list of (bytes, bytes)
        Further response headers.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.headers = status, code, list(headers)

    def body(self) -> dict[str, Any]:
        """Give the error body: ``{"error": {"code", "message"}}``."""
        return {"error": {"code": self.code, "message": str(self)}}


class Response:
    """A complete answer: status, body bytes and headers."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        body: bytes,
        status: int = 200,
        content_type: bytes = JSON_TYPE,
        headers: Iterable[tuple[bytes, bytes]] = (NO_STORE,),
    ) -> None:
        self.status, self.body = status, body
        self.headers: Headers = [
            (b"content-type", content_type),
            (b"content-length", b"%d" % len(body)),
            *headers,
        ]

    async def send(self, send: Send) -> None:
        """Write it to the connection."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


def json_response(value: object, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> Response:
    """Encode a value (msgspec structs, dicts, lists, plain values) as a JSON response."""
    return Response(_ENCODER.encode(value), status, headers=(NO_STORE, *headers))


def error_response(error: ApiError) -> Response:
    """Encode an error as its JSON body."""
    return json_response(error.body(), error.status, error.headers)


class Request:
    """One request: query fields, headers and a body that is read only up to a limit."""

    __slots__ = ("_headers", "_query", "path_value", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope, self.receive = scope, receive
        self.path_value = ""  # the variable part of the path, percent-decoded
        self._query: dict[str, str] | None = None
        self._headers: dict[bytes, bytes] | None = None

    @property
    def query(self) -> dict[str, str]:
        """Query fields; the last of a repeated one counts.

        Raises
        ------
        ApiError
            400 when it is not UTF-8 or holds too many fields.
        """
        if self._query is None:
            raw = self.scope["query_string"].decode("latin-1")
            try:
                self._query = (
                    dict(
                        parse_qsl(
                            raw, keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS
                        )
                    )
                    if raw
                    else {}
                )
            except ValueError:  # UnicodeDecodeError is one
                text = (
                    f"the query {raw[:60]!r} is not UTF-8 in percent encoding, or has more than "
                    f"{MAX_QUERY_FIELDS} fields"
                )
                raise ApiError(400, "bad_query", text) from None
        return self._query

    @property
    def headers(self) -> dict[bytes, bytes]:
        """Headers by lower-case name; the last of a repeated one counts."""
        if self._headers is None:
            self._headers = dict(self.scope["headers"])
        return self._headers

    def repeated(self, name: str) -> list[str]:
        """Every value of a query field that may stand more than once."""
        raw = self.scope["query_string"].decode("latin-1")
        return (
            [value for field, value in parse_qsl(raw, keep_blank_values=True) if field == name]
            if self.query
            else []
        )

    def identifier(self, name: str, *, required: bool = True) -> str | None:
        """Read an id from the query, checked by the click contract.

        Raises
        ------
        ApiError
            400 when it is missing, blank or too long.
        """
        value = self.query.get(name)
        if value is None:
            if required:
                raise ApiError(
                    400, "missing_parameter", f"query parameter '{name}' is missing; add ?{name}=..."
                )
            return None
        return checked_id(name, value)

    def count(self, name: str, default: int, most: int) -> int:
        """Read a whole number from 1 to ``most`` from the query.

        Raises
        ------
        ApiError
            400 when it is no such number.
        """
        text = self.query.get(name)
        return default if text is None else checked_count(name, text, most)

    async def body(self, limit: int) -> bytes:
        """Read the body, refusing one larger than ``limit`` bytes as soon as that shows.

        Raises
        ------
        ApiError
            413 when it is too large, 415 when it is compressed, 400 when the client left before its end.
        """
        encoding = self.headers.get(b"content-encoding", b"identity")
        if encoding.lower() != b"identity":
            raise ApiError(
                415,
                "unsupported_encoding",
                (
                    f"content-encoding {encoding.decode('latin-1')[:60]!r} is not read; send the JSON "
                    "uncompressed"
                ),
            )
        too_large = ApiError(
            413,
            "too_large",
            f"the body is larger than {limit:,} bytes; send less at once, or raise http.max_body_bytes",
        )
        declared = self.headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            raise too_large
        parts, size, more = [], 0, True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ApiError(
                    400, "incomplete_body", "the connection closed before the end of the body; send it again"
                )
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise too_large
            parts.append(part)
            more = message.get("more_body", False)
        return b"".join(parts)


def checked_id(name: str, value: object) -> str:
    """Check an id by the rules of the click contract.

    Raises
    ------
    ApiError
        400 with the contract's reason.
    """
    try:
        check_id(name, value)
    except ClickError as error:
        raise ApiError(400, error.reason, str(error)) from None
    return str(value)


def checked_count(name: str, value: object, most: int) -> int:
    """Check a whole number from 1 to ``most``; text of digits counts as one.

    Raises
    ------
    ApiError
        400 when it is no such number.

    Examples
    --------
    >>> checked_count("k", "10", 100)
    10
    """
    number = (
        int(value)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10
        else value
    )
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= most:
        raise ApiError(
            400,
            "bad_parameter",
            f"{name} = {str(value)[:60]!r} is not usable; expected a whole number from 1 to {most}",
        )
    return number


class Guard:
    """Who may ask: bearer tokens by constant-time comparison, and which host names a page may call us by.

    Parameters
    ----------
    tokens : iterable of str
        Accepted bearer tokens; none = no token is asked for.
    host : str
        The address the server is bound to.

    Notes
    -----
    Without tokens and bound to the machine itself, a web page elsewhere could still reach us through the
    user's browser. So a browser's ``Origin`` must be the ``Host`` it calls, and that host must be a name of
    this machine (DNS rebinding).
    """

    def __init__(self, tokens: Iterable[str], host: str) -> None:
        self._digests = [hashlib.sha256(token.encode()).digest() for token in tokens]
        local = host in {"127.0.0.1", "localhost", "::1"}
        self._hosts = frozenset({"127.0.0.1", "localhost", "[::1]"}) if local and not self._digests else None

    def check_origin(self, request: Request) -> None:
        """Refuse a browser's call from another site.

        Raises
        ------
        ApiError
            403, with the name that is refused.
        """
        host = request.headers.get(b"host", b"").decode("latin-1")
        origin = request.headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").partition("://")[2] != host:
            raise ApiError(
                403,
                "foreign_origin",
                f"origin {origin.decode('latin-1')[:60]!r} is another site; open the page from this server",
            )
        if host and self._hosts is not None and _host_name(host) not in self._hosts:
            raise ApiError(
                403,
                "foreign_host",
                (
                    f"host {host[:60]!r} is not this machine's name; call http://127.0.0.1, or set "
                    "http.tokens to allow any name"
                ),
            )

    def check_token(self, request: Request) -> None:
        """Refuse a call without one of the tokens, if there are any.

        Raises
        ------
        ApiError
            401.
        """
        if not self._digests:
            return
        kind, _, given = request.headers.get(b"authorization", b"").partition(b" ")
        digest = hashlib.sha256(given.strip()).digest()
        # all of them, so that the time tells nothing
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if kind.lower() != b"bearer" or not any(matches):
            challenge = [(b"www-authenticate", b"Bearer")]
            raise ApiError(
                401,
                "unauthorised",
                (
                    "the bearer token is missing or unknown; send 'Authorization: Bearer TOKEN' with one "
                    "of http.tokens"
                ),
                challenge,
            )


def _host_name(host: str) -> str:
    """Cut the port off a Host header."""
    return host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
