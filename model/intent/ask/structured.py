"""JSON in a language model's answer: where it is, and which of its texts may be the item's name."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

LONGEST_LITERAL: Final = 20_000  # characters of JSON with Python's quotes
MOST_NAMES: Final = 200
DEEPEST: Final = 20  # levels that are looked into
_FENCE = re.compile(r"```[\w-]*[ \t]*\n?(.*?)(?:```|\Z)", re.DOTALL)
_TOOL = re.compile(r"</?(?:tool_call|function_call|json)>")
# Fields by which models call an item, the surest first; of others the one that is a title, or the only one.
_FIELDS: Final = (
    "item",
    "next_item",
    "item_name",
    "title",
    "item_title",
    "answer",
    "final_answer",
    "guess",
    "prediction",
    "recommendation",
    "recommended_item",
    "predicted_item",
    "product",
    "product_name",
    "movie",
    "movie_title",
    "film",
    "book",
    "song",
    "arguments",
    "parameters",
    "name",
    "result",
    "output",
    "response",
    "items",
    "recommendations",
    "guesses",
    "value",
    "text",
    "content",
    "intent",
    "long",
    "short",
)
_NO_ANSWER: Final = ("error", "refusal")
_OPEN_FIELD = re.compile(
    r"[{,\[]\s*[\"'](?:" + "|".join(_FIELDS) + r")[\"']\s*:\s*[\"']([^\"']*)(?P<end>[\"']?)", re.IGNORECASE
)
_OPENING = re.compile(r"[\[{]\s*(?:[\"'][\w ]*[\"']?\s*:?\s*)?[\"']?")


@dataclass(frozen=True, slots=True)
class Found:
    """What JSON holds.

    Attributes
    ----------
    names : tuple of str
        Texts that may be the name, the surest first.
    cut : bool
        Whether the JSON stops before the name does.
    error : bool
        Whether it says that there is no answer.
    """

    names: tuple[str, ...] = ()
    cut: bool = False
    error: bool = False


def unfenced(text: str) -> str:
    """Return what stands in the first code fence, or the text; without the marks of a tool call."""
    fenced = _FENCE.search(text)
    return _TOOL.sub("", fenced.group(1) if fenced else text).strip()


def names_in(text: str) -> Found | None:
    """Return the names in JSON that is the text, or stands behind its preamble; None where there is no JSON.

    Examples
    --------
    >>> names_in('{"why": "sharks", "item": "Jaws"}').names, names_in("[REC]"), names_in('{"item": "Ja').cut
    (('Jaws',), None, True)
    """
    start = min((place for place in (text.find("{"), text.find("[")) if place >= 0), default=-1)
    before = text[:start].strip()
    if start < 0 or (before and not before.endswith(":") and "\n" not in text[:start]):
        return None
    value = _value(text[start:])
    if isinstance(value, dict | list):
        names = tuple(name for name in _names(value, 0) if name.strip())[:MOST_NAMES]
        return Found(names, error=isinstance(value, dict) and any(key in value for key in _NO_ANSWER))
    field = _OPEN_FIELD.search(text)
    if field:
        return Found((field.group(1),)) if field.group("end") else Found(cut=True)
    return Found(cut=True) if _OPENING.fullmatch(text[start:]) else None


def _value(text: str) -> Any:
    try:
        return json.JSONDecoder(strict=False).raw_decode(text)[0]
    except ValueError:
        pass  # no error of the answer: models write Python's quotes too, or titles that begin with a bracket
    except RecursionError:
        return None
    try:
        return ast.literal_eval(text) if len(text) <= LONGEST_LITERAL else None
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def _names(value: Any, depth: int) -> Iterator[str]:
    """Yield the texts of a JSON value that may be the item's name, the surest first."""
    if isinstance(value, str):
        yield value
    if depth > DEEPEST or not isinstance(value, list | dict):
        return
    parts = value[:MOST_NAMES] if isinstance(value, list) else _fields(value)
    for part in parts:
        yield from _names(part, depth + 1)


def _fields(value: dict[Any, Any]) -> list[Any]:
    """Return the surest field of an object, or all fields that may hold a name."""
    lowered = {str(key).casefold().replace(" ", "_").replace("-", "_"): part for key, part in value.items()}
    for name in _FIELDS:
        if lowered.get(name) not in (None, "", [], {}):
            return [lowered[name]]
    return [part for key, part in lowered.items() if key not in _NO_ANSWER]
