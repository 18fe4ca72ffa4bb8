"""Errors of the HTTP side: a status, a stable code and a sentence as one JSON body. Knows no route."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from feature_repo.contract.messages import ClickError, check_id

NO_STORE = {"cache-control": "no-store"}  # answers are about one session at one instant
_encode = msgspec.json.Encoder().encode


class ErrorDetail(msgspec.Struct, frozen=True):
    """A short stable code for programs, and a sentence for people."""

    code: str
    message: str


class Error(msgspec.Struct, frozen=True):
    """The body of every refusal."""

    error: ErrorDetail


class ApiError(HTTPException):
    """A request that gets an error body instead of an answer.

    Parameters
    ----------
    status : int
        HTTP status.
    code : str
        Short stable word for programs.
    message : str
        What is wrong, the value and the remedy.
    headers : mapping of str to str, optional
        Further response headers.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message, headers)
        self.code = code

    def __str__(self) -> str:
        return self.detail

    def body(self) -> Error:
        """Give the error body."""
        return Error(ErrorDetail(self.code, self.detail))


class Json(Response):
    """Any msgspec structs, lists and plain values as a JSON answer that nobody stores."""

    media_type = "application/json"

    def __init__(self, content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(content, status, NO_STORE if headers is None else {**NO_STORE, **headers})

    def render(self, content: Any) -> bytes:
        """Encode the body."""
        return _encode(content)


async def answer_error(request: Request, error: Exception) -> Response:
    """Turn the toolkit's refusals and ours into the error body; an exception handler of Starlette."""
    if isinstance(error, ApiError):
        return Json(error.body(), error.status_code, error.headers)
    assert isinstance(error, HTTPException)  # what this handler is registered for
    path, method = request.scope["path"], request.scope["method"]
    if error.status_code == 405:
        here = request.scope["route"].path
        routes = (route for route in request.app.routes if route.path == here)
        allow = ", ".join(sorted(word for route in routes for word in route.methods))
        text = f"{method} is not answered at {path[:60]!r}; use {allow}"
        error = ApiError(405, "method_not_allowed", text, {"allow": allow})
    elif error.status_code == 404:
        text = f"nothing is at {path[:60]!r}; /openapi.json lists the routes"
        error = ApiError(404, "no_such_route", text)
    else:
        code = "unauthorised" if error.status_code == 401 else "refused"
        error = ApiError(error.status_code, code, error.detail, error.headers)
    return Json(error.body(), error.status_code, error.headers)


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
    digits = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10
    number = int(value) if digits else value  # type: ignore[call-overload]
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= most:
        text = f"{name} = {str(value)[:60]!r} is not usable; expected a whole number from 1 to {most}"
        raise ApiError(400, "bad_parameter", text)
    return number
