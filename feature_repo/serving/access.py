"""Who may read which feature service over HTTP: tokens by hash in a file, and the gate in front of Feast's
server.
"""

from __future__ import annotations

import json
import secrets
import tomllib
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from feature_repo.serving.nearest import PLACES
from feature_repo.serving.tokens import Grant, TokenGate, digest

READS = {"/get-online-features", "/nearest"}
WRITES = {"/push", "/write-to-online-store"}
OPEN = {"/health"}
DRAINED_BYTES = 256_000_000  # beyond, the connection is cut while the client sends


class AccessError(ValueError):
    """An access file that cannot be used; names the file and the remedy."""


def read_grants(file: Path) -> list[Grant]:
    """Read an access file (TOML, ``[[token]]`` tables with name, sha256, services, write).

    Raises
    ------
    AccessError
        Missing, unreadable, empty or with unknown keys.
    """
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))["token"]
        grants = [
            Grant(
                table.pop("name"),
                table.pop("sha256"),
                frozenset(table.pop("services")),
                bool(table.pop("write", False)),
            )
            for table in tables
        ]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise AccessError(
            f"access file {file} grants nothing ({error}); make a token: python -m feature_repo token NAME "
            "--services SERVICE,..."
        ) from None
    if any(tables) or not grants:
        raise AccessError(
            f"access file {file} has unknown keys {[list(table) for table in tables if table]}; a token has "
            "name, sha256, services, write"
        )
    return grants


def add_token(file: Path, name: str, services: list[str], write: bool = False) -> str:
    """Make a token, note its hash and rights, and return it; it is shown this once only."""
    token = secrets.token_urlsafe(32)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600, exist_ok=True)
    listed = ", ".join(json.dumps(service) for service in services)
    entry = (
        f'[[token]]\nname = {json.dumps(name)}\nsha256 = "{digest(token)}"\nservices = [{listed}]\nwrite = '
        f"{str(write).lower()}\n\n"
    )
    with file.open("a", encoding="utf-8") as stream:
        stream.write(entry)
    return token


class Gate:
    """ASGI middleware: lets known tokens through to the services they may read, in measure; everything else
    never reaches Feast.

    Parameters
    ----------
    app : ASGI application
    tokens : TokenGate
    max_body_bytes : int
        Larger requests are refused while they arrive.
    max_entities : int
        Most entities of one read.
    allow_writes : bool
        Whether write tokens may write at all.
    """

    def __init__(
        self,
        app: ASGIApp,
        tokens: TokenGate,
        *,
        max_body_bytes: int,
        max_entities: int,
        allow_writes: bool = False,
    ) -> None:
        self._app, self._tokens = app, tokens
        self._max_body, self._max_entities, self._allow_writes = max_body_bytes, max_entities, allow_writes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; see the class."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._check(scope, receive)
        except HTTPException as refusal:
            answer = JSONResponse({"detail": refusal.detail}, refusal.status_code, refusal.headers)
            await answer(scope, receive, send)
            return
        await self._app(scope, replay(body, receive), send)

    async def _check(self, scope: Scope, receive: Receive) -> bytes:
        path = scope.get("path", "")
        if scope["type"] != "http" or path not in READS | WRITES | OPEN:
            raise HTTPException(404, f"no such path {path}; there are {', '.join(sorted(READS | OPEN))}")
        if path in OPEN:
            return b""
        request = Request(scope, receive)
        grant = self._tokens.grant_of(request.headers)
        if path in WRITES and not (self._allow_writes and grant.write):
            raise HTTPException(
                403, f"token '{grant.name}' may not write here; features are written by their jobs"
            )
        body = await self._body(request)
        if path == "/get-online-features":
            self._check_read(grant, body)
        elif path == "/nearest":
            self._check_nearest(grant, body)
        return body

    async def _body(self, request: Request) -> bytes:
        body, arrived = bytearray(), 0
        async for part in request.stream():
            arrived += len(part)
            if arrived <= self._max_body:
                body += part
            # The rest of a body that is too large is read and dropped: a client that is still sending would
            # not see the answer.
            if arrived > DRAINED_BYTES:
                break
        if arrived > self._max_body:
            raise HTTPException(
                413, f"the request is larger than {self._max_body} bytes; ask for fewer entities at once"
            )
        return bytes(body)

    def _check_read(self, grant: Grant, body: bytes) -> None:
        try:
            asked = json.loads(body)
            service, entities = asked.get("feature_service"), asked["entities"]
            counts = [len(values) for values in entities.values()]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise HTTPException(
                422, 'the request is not {"feature_service": NAME, "entities": {KEY: [VALUES]}}'
            ) from None
        if service is None and "*" not in grant.services:
            raise HTTPException(
                403, f"token '{grant.name}' reads whole services only; name a feature_service"
            )
        if service is not None and not grant.reads(service):
            raise HTTPException(
                403,
                (
                    f"token '{grant.name}' may not read service '{service}'; it may read "
                    f"{sorted(grant.services)}"
                ),
            )
        if not counts or min(counts) == 0 or len(set(counts)) != 1:
            raise HTTPException(
                422, f"the entity keys have {counts} values; give every key the same number, at least one"
            )
        if counts[0] > self._max_entities:
            raise HTTPException(
                413,
                (
                    f"{counts[0]} entities asked for, {self._max_entities} allowed at once; split the "
                    "request, or read history through Spark"
                ),
            )

    def _check_nearest(self, grant: Grant, body: bytes) -> None:
        try:
            kind = json.loads(body).get("of", "items")
        except (ValueError, AttributeError):
            raise HTTPException(
                422,
                (
                    'the request is not {"text": TEXT or "vector": [NUMBERS], "k": N, "of": "items" or '
                    '"sessions"}'
                ),
            ) from None
        if not isinstance(kind, str) or kind not in PLACES:
            raise HTTPException(422, f"there are no vectors of {kind!r}; ask for one of {', '.join(PLACES)}")
        if not grant.reads(PLACES[kind].service):
            raise HTTPException(
                403, f"token '{grant.name}' may not read {PLACES[kind].service}, which /nearest answers from"
            )


def replay(body: bytes, receive: Receive) -> Receive:
    """Make the `receive` that gives a body which was already read, once more."""
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
