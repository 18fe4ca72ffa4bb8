r"""Splits lines of delimited text into values: which quotes open a value, and where it ends. Knows nothing of
files or columns.

A value is quoted when it begins with ``"`` and its closing quote stands before a separator or the line's end.
Inside, ``""`` is a quote, and where only that makes a whole row, ``\"`` too (Spark writes it so). A quote
anywhere else is a character like any other.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

MAX_QUOTED_BYTES = 1_000_000  # of a value over several lines: the length that a description may have
_DOUBLED = re.compile(rb'"((?:[^"]++|"")*+)"')
_ESCAPED = re.compile(rb'"((?:[^"\\]++|\\.|"")*+)"', re.DOTALL)
_UNESCAPED = re.compile(rb'\\(["\\])|""')


class Unclosed(Exception):  # noqa: N818 - a state of the text read so far, not yet a fault
    """A quoted value that does not end in the text at hand; `place` is the value's number from 1."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.place = place


@dataclass(frozen=True)
class Row:
    """The values of one row, and how many lines it takes."""

    values: list[bytes]
    span: int


@dataclass(frozen=True)
class Fault:
    """Why a line is no row, without its file and number."""

    text: str


def _double(text: bytes) -> bytes:
    return text.replace(b'""', b'"')


def _spark(text: bytes) -> bytes:
    return _UNESCAPED.sub(lambda match: match[1] or b'"', text)


@dataclass(frozen=True)
class _Rule:
    quoted: re.Pattern[bytes]
    plain: Callable[[bytes], bytes]
    loose: bool = False  # whether text may follow a closing quote: then the quotes belong to the value


_RULES = (_Rule(_DOUBLED, _double), _Rule(_ESCAPED, _spark), _Rule(_DOUBLED, _double, loose=True))


@functools.cache
def clean_lines(separator: bytes) -> re.Pattern[bytes]:
    r"""Return the pattern of lines, as many as there are, whose quotes are well formed and no ``\"``, so that
    any CSV reader takes them alike.
    """
    other = re.escape(separator)
    value = rb'(?:"(?:[^"\n\\]++|\\(?!")|"")*+"|(?:[^"\n%b][^\n%b]*+)?)' % (other, other)
    return re.compile(rb"(?:%b(?:%b%b)*+\n)*+" % (value, other, value))


def _split(text: bytes, separator: bytes, rule: _Rule) -> list[bytes] | None:
    """Split by one rule; None when a closing quote stands where no value ends; raises ``Unclosed``."""
    values: list[bytes] = []
    place = 0
    while True:
        end = -1
        if text.startswith(b'"', place):
            match = rule.quoted.match(text, place)
            if match is None:
                raise Unclosed(len(values) + 1)
            closed = match.end()
            if closed == len(text) or text.startswith(separator, closed):
                values.append(rule.plain(match[1]))
                end = closed
            elif not rule.loose:
                return None
            else:
                end = text.find(separator, closed)
                end = len(text) if end < 0 else end
                values.append(text[place:end])
        else:
            end = text.find(separator, place)
            end = len(text) if end < 0 else end
            values.append(text[place:end])
        if end >= len(text):
            return values
        place = end + len(separator)


def split_line(text: bytes, separator: bytes, width: int | None = None) -> list[bytes] | None:
    r"""Split one line by the first rule that makes a whole row of it.

    Parameters
    ----------
    text : bytes
        Without its line end.
    separator : bytes
    width : int, optional
        Values that a row has; None = any number.

    Returns
    -------
    list of bytes or None
        None when no rule gives a row of that width.

    Raises
    ------
    Unclosed
        If a quoted value does not end on the line.

    Examples
    --------
    >>> split_line(rb'1,"a \"b\", c",2', b",", 3)
    [b'1', b'a "b", c', b'2']
    """
    unclosed: Unclosed | None = None
    for rule in _RULES:
        if rule.loose and unclosed is not None:
            raise unclosed
        try:
            values = _split(text, separator, rule)
        except Unclosed as state:
            unclosed = unclosed or state
            continue
        if values is not None and (width is None or len(values) == width):
            return values
    if unclosed is not None:
        raise unclosed
    return None


def read_row(
    lines: Callable[[int], bytes | None], separator: bytes, width: int, *, last: bool
) -> Row | Fault | None:
    """Read the row that begins at a line.

    Parameters
    ----------
    lines : callable
        Line by offset from the first, without line end; None past the text at hand.
    separator : bytes
    width : int
        Values that a row has.
    last : bool
        Whether the file ends where the text at hand does.

    Returns
    -------
    Row, Fault or None
        None when a quoted value may go on past the text at hand.
    """
    first = lines(0)
    assert first is not None
    try:
        values = split_line(first, separator, width)
    except Unclosed as state:
        found = _over_lines(first, lines, separator, width)
        return _unclosed(state.place) if found is False or (last and found is None) else found
    if values is None:
        return Fault(wrong_width(len(_split(first, separator, _RULES[-1]) or []), width))
    return Row(values, 1)


def wrong_width(values: int, width: int) -> str:
    """Say how many values a row has too many or too few."""
    return f"{values} values instead of {width}; quote values that hold the separator"


def _unclosed(place: int) -> Fault:
    return Fault(
        f"the quote that begins value {place} does not close; close it, or double the quotes inside a "
        'quoted value ("")'
    )


def _over_lines(
    first: bytes, lines: Callable[[int], bytes | None], separator: bytes, width: int
) -> Row | Literal[False] | None:
    """Look for the line that ends the row; False = there is none, None = not in the text at hand."""
    pieces, size = [first], len(first)
    while size <= MAX_QUOTED_BYTES:
        line = lines(len(pieces))
        if line is None:
            return None
        pieces.append(line)
        size += len(line) + 1
        if b'"' in line:
            text = b"\n".join(pieces)
            values, going_on = _strictly(text, separator, width)
            if values is not None:
                return False if _swallows_rows(text, separator, width) else Row(values, len(pieces))
            if not going_on:
                return False
    return False


def _strictly(text: bytes, separator: bytes, width: int) -> tuple[list[bytes] | None, bool]:
    going_on = False
    for rule in _RULES[:2]:
        try:
            values = _split(text, separator, rule)
        except Unclosed:
            going_on = True
            continue
        if values is not None and len(values) == width:
            return values, False
    return None, going_on


def _swallows_rows(text: bytes, separator: bytes, width: int) -> bool:
    """Tell whether the lines after the first are rows themselves, so that the quote closes by chance (an inch
    mark, another query).

    Most of them have to look like the first: as many values, an id of the same kind, and no blank after a
    separator as prose has it.
    """
    first, *rest = [line for line in text.split(b"\n") if line.strip()]
    name = first.split(separator)[0]
    # an id that the quote opens, or one of several words, tells no kind
    known = None if first.startswith(b'"') or b" " in name.strip() else _kind(name)
    alike = sum(
        _is_row(line, separator, width) and known in (None, _kind(line.split(separator)[0])) for line in rest
    )
    return 2 * alike >= len(rest) > 0


def _is_row(line: bytes, separator: bytes, width: int) -> bool:
    try:
        values = _split(line, separator, _RULES[0]) or []
    except Unclosed:
        values = line.split(separator)
    return (
        len(values) == width
        and bool(values[0].strip(b' "'))
        and not any(value.startswith(b" ") for value in values[1:])
    )


def _kind(value: bytes) -> tuple[bool, bool]:
    value = value.strip(b'"')
    return value.isdigit(), b" " in value.strip()


def quoted(values: list[bytes], separator: bytes) -> bytes:
    """Write a row so that any CSV reader gives the same values back; the inverse of :func:`split_line`."""
    return separator.join(b'"' + value.replace(b'"', b'""') + b'"' for value in values)
