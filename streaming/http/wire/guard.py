"""Who may ask: bearer tokens, and which host names and pages may call us. Knows no route."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers

from feature_repo.serving.tokens import Grant, TokenGate
from streaming.http.wire.errors import ApiError

LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


class Guard:
    """Checks the headers of a request.

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
        grants = [Grant.of(token, "http.tokens") for token in tokens]
        self._tokens = TokenGate(grants, "one of http.tokens") if grants else None
        open_here = host in LOCAL and not grants
        self._hosts = frozenset({"127.0.0.1", "localhost", "[::1]"}) if open_here else None

    def check(self, headers: Headers, *, token: bool) -> None:
        """Refuse a browser's call from another site, and a call without one of the tokens.

        Parameters
        ----------
        headers : Headers
            Of the request.
        token : bool
            Whether this route asks for a token, if there are any.

        Raises
        ------
        ApiError
            403, with the name that is refused.
        HTTPException
            401.
        """
        host, origin = headers.get("host", ""), headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            text = f"origin {origin[:60]!r} is another site; open the page from this server"
            raise ApiError(403, "foreign_origin", text)
        if host and self._hosts is not None and _host_name(host) not in self._hosts:
            text = (
                f"host {host[:60]!r} is not this machine's name; call http://127.0.0.1, or set http.tokens "
                "to allow any name"
            )
            raise ApiError(403, "foreign_host", text)
        if token and self._tokens is not None:
            self._tokens.grant_of(headers)


def _host_name(host: str) -> str:
    """Cut the port off a Host header."""
    return host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
