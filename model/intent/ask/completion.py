"""The body of a chat completion in the forms of many servers: what was said, why it ended, how many
tokens.
"""

from __future__ import annotations

import email.utils
import html
import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

LONGEST_ERROR_BYTES: Final = 20_000  # of a body that is no answer; its message stands before
LONGEST_SAID: Final = 300  # characters of a server's own words in an error
_INPUT: Final = ("prompt_tokens", "input_tokens", "prompt_eval_count", "promptTokenCount")
_OUTPUT: Final = (
    "completion_tokens",
    "output_tokens",
    "eval_count",
    "generated_tokens",
    "candidatesTokenCount",
)
_REASONING: Final = ("reasoning_content", "reasoning", "thinking")
_ENDED_BY_BOUND: Final = frozenset({"length", "max_tokens", "max_output_tokens"})
_REFUSED: Final = frozenset(
    {"content_filter", "refusal", "safety", "recitation", "blocklist", "prohibited_content"}
)


@dataclass(frozen=True, slots=True)
class Completion:
    """What a server answered.

    Attributes
    ----------
    text : str
        The content, empty where there is none.
    cut : bool
        Whether the token bound ended it.
    reasoned : bool
        Whether the server gave reasoning beside the content.
    refused : bool
        Whether the server says itself that this is no answer.
    input_tokens, output_tokens : int or None
        As the server counts; None where it does not.
    """

    text: str
    cut: bool
    reasoned: bool
    refused: bool
    input_tokens: int | None
    output_tokens: int | None


class NoCompletionError(ValueError):
    """A body that is no chat completion; the text says what it is instead."""


def completion_of(raw: bytes) -> Completion:
    """Read a body.

    Raises
    ------
    NoCompletionError
        It is no JSON of a known form, or holds an error instead of an answer.
    """
    content = _loaded(raw)
    if isinstance(content, list) and content:
        content = content[0]
    if not isinstance(content, dict):
        raise NoCompletionError(f"no chat completion: {said(raw) or 'an empty body'}")
    if content.get("error"):
        raise NoCompletionError(f"an error: {said(raw)}")
    choice, message = _choice(content)
    if message is None:
        raise NoCompletionError(f"no chat completion: {said(raw)}")
    ended = str(
        choice.get("finish_reason") or choice.get("stop_reason") or content.get("done_reason") or ""
    ).lower()
    text = _text(message.get("content"))
    refusal = message.get("refusal")
    usage = content.get("usage")
    counts = usage if isinstance(usage, Mapping) else content
    return Completion(
        text or _called(message),
        ended in _ENDED_BY_BOUND,
        any(message.get(name) for name in _REASONING),
        ended in _REFUSED or bool(refusal and not text),
        _count(counts, _INPUT),
        _count(counts, _OUTPUT),
    )


def said(raw: bytes) -> str:
    """Return a server's own words out of a body: its error's message, else the text without markup."""
    text = raw[:LONGEST_ERROR_BYTES].decode("utf-8", "replace")
    try:
        message = _message(json.loads(text))
    except (ValueError, RecursionError):
        message = ""
    if not message:
        message = html.unescape(
            re.sub(r"<(script|style)\b.*?</\1>|<[^<>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
        )
    return shortened(message)


def shortened(text: str, most: int = LONGEST_SAID) -> str:
    """Return a text as one line, cut between two words where it is longer.

    Examples
    --------
    >>> shortened("model 'llama-3' does not exist", 22)
    "model 'llama-3' does ..."
    """
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    if len(line) <= most:
        return line
    head, blank, _ = line[: most + 1].rpartition(" ")
    return f"{head if blank else line[:most]} ..."


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float:
    """Return the seconds a server asks to wait, by ``Retry-After`` as seconds or date; 0 where it does not
    say.

    A date is taken against the server's own clock where it sends one.

    Examples
    --------
    >>> retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"})
    30.0
    >>> retry_after({"retry-after": "Wed Oct 21 07:28:30 2015", "date": "Wed, 21 Oct 2015 07:28:00 GMT"})
    30.0
    >>> retry_after({"retry-after": "2"}), retry_after({"retry-after": "soon"})
    (2.0, 0.0)
    """
    asked = headers.get("retry-after", "").strip()
    try:
        seconds = float(asked)
    except ValueError:
        moment = _moment(asked)
        if moment is None:
            return 0.0
        seconds = moment - (_moment(headers.get("date", "")) or now or time.time())
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _moment(text: str) -> float | None:
    """Read a date in any of HTTP's three forms, or in ISO 8601; without a zone it is UTC, as HTTP says."""
    for read in (email.utils.parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = read(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _loaded(raw: bytes) -> Any:
    text = raw.decode("utf-8", "replace").lstrip("\ufeff")
    try:
        return json.loads(text, strict=False)
    except RecursionError:
        return None
    except ValueError:
        return _streamed(text)


def _streamed(text: str) -> dict[str, Any] | None:
    """Join the pieces of a server that streams although it is asked not to."""
    pieces: list[str] = []
    last: dict[str, Any] = {}
    usage: Any = None
    for piece in _events(text):
        usage = piece.get("usage") or usage
        choice, delta = _choice(piece)
        if delta is not None:
            pieces.append(_text(delta.get("content")))
            last = {name: value for name, value in choice.items() if value} or last
    if not pieces:
        return None
    return {"choices": [{**last, "message": {"content": "".join(pieces)}}], "usage": usage}


def _events(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        try:
            piece = json.loads(line.removeprefix("data:"))
        except ValueError:
            continue  # blank lines, comments and [DONE] of the stream
        if isinstance(piece, dict):
            yield piece


def _choice(content: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    """Return the first choice and its message, in the forms of chat, completion, Ollama and TGI."""
    choices = content.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else content
    if not isinstance(choice, Mapping):
        return {}, None
    for name in ("message", "delta"):
        if isinstance(choice.get(name), Mapping):
            return choice, choice[name]
    for name in ("text", "generated_text", "response"):
        if isinstance(choice.get(name), str):
            return choice, {"content": choice[name]}
    return choice, None


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        return _text(content.get("text"))
    if isinstance(content, list):
        parts = [
            part
            for part in content
            if not (isinstance(part, Mapping) and str(part.get("type")) in ("thinking", "reasoning"))
        ]
        return "".join(map(_text, parts))
    return ""


def _called(message: Mapping[str, Any]) -> str:
    """Return the arguments of a tool that the model called instead of answering; they are JSON."""
    calls = message.get("tool_calls") or [{"function": message.get("function_call")}]
    function = (
        calls[0].get("function")
        if isinstance(calls, list) and calls and isinstance(calls[0], Mapping)
        else None
    )
    arguments = function.get("arguments") if isinstance(function, Mapping) else None
    return arguments if isinstance(arguments, str) else json.dumps(arguments) if arguments else ""


def _count(counts: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = counts.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        try:
            number = float(value)
        except ValueError:
            continue
        if math.isfinite(number) and 0 <= number < 2**53:
            return int(number)
    return None


def _message(content: Any) -> str:
    """Return the words of an error body: `message`, `detail` or `error`, however deep."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "; ".join(filter(None, map(_message, content[:3])))
    if isinstance(content, dict):
        for name in ("error", "message", "detail", "msg", "error_description", "errors", "title"):
            if content.get(name) and (found := _message(content[name])):
                return found
    return ""
