"""Bearer tokens, known by their hashes: the one gate of both HTTP servers. Knows no route and no file."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

ALL = frozenset({"*"})


@dataclass(frozen=True)
class Grant:
    """What one token may do: read these services ("*" = all, and free feature lists), and write or not."""

    name: str
    sha256: str
    services: frozenset[str]
    write: bool = False

    @classmethod
    def of(cls, token: str, name: str) -> Grant:
        """Make the grant of a token that may read all."""
        return cls(name, digest(token), ALL)

    def reads(self, service: str) -> bool:
        """Say whether a service may be read."""
        return bool(self.services & {"*", service})


def digest(token: str) -> str:
    """Hash a token as access files hold it."""
    return hashlib.sha256(token.encode()).hexdigest()


class TokenGate:
    """Finds the grant of a request's bearer token.

    Parameters
    ----------
    grants : iterable of Grant
    where : str
        Names the tokens in the refusal, for people.
    """

    def __init__(self, grants: Iterable[Grant], where: str) -> None:
        self._grants, self._where = list(grants), where

    def grant_of(self, headers: Headers) -> Grant:
        """Give the grant of the token in ``Authorization: Bearer TOKEN``.

        Raises
        ------
        HTTPException
            401 with the challenge, when it is missing or unknown.
        """
        kind, _, token = headers.get("authorization", "").partition(" ")
        asked = hashlib.sha256(token.strip().encode("latin-1")).hexdigest().encode()  # the bytes as sent
        # compared with all of them, so that the time tells nothing
        matches = [grant for grant in self._grants if hmac.compare_digest(asked, grant.sha256.encode())]
        if kind.lower() == "bearer" and matches:
            return matches[0]
        text = (
            f"the bearer token is missing or unknown; send 'Authorization: Bearer TOKEN' with {self._where}"
        )
        raise HTTPException(401, text, {"www-authenticate": "Bearer"})
