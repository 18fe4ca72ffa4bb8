"""Delimited text of a dataset folder as blocks of text columns: lines, header, separator, refused rows. Knows
no column's meaning.

Every line of a file is the begin of a row, a further line of a quoted value, refused, or blank; `_parsed`
proves it block by block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from feature_repo.contract.dataset.files.blocks import MAX_RAW_CHARACTERS, Block, DatasetFolderError, Refused
from feature_repo.contract.dataset.files.header import Header, read_header
from feature_repo.contract.dataset.files.lines import Lines, open_bytes, plain_suffix
from feature_repo.contract.dataset.files.quotes import Fault, clean_lines, quoted, read_row, wrong_width

_NEWLINE = 10


def read_delimited(
    path: Path, name: str, *, separator: str | None = None, names: Sequence[str] | None = None
) -> Iterator[Block]:
    """Read delimited text block by block, every value a text.

    Parameters
    ----------
    path : Path
        ``.csv``, ``.tsv`` or another text; packed by gzip, Zstandard or bzip2 where its name says so.
    name : str
        For messages.
    separator : str, optional
        One character; None = that of the extension, or the one that splits the first line into more columns.
    names : sequence of str, optional
        Columns of a file without a header; None = the first line names them.

    Yields
    ------
    Block
        Rows of another width, with a quote that does not close, or not in UTF-8 are refused with the line
        where they begin.

    Raises
    ------
    DatasetFolderError
        If the file is empty, is no UTF-8 text, or names a column twice.
    """
    with open_bytes(path) as stream:
        lines = Lines(stream, name)
        lines.more()
        header = read_header(lines, name, plain_suffix(path), separator, names)
        following, yielded = header.lines + 1, False
        while True:
            text = lines.whole()
            block, used, count = _block(text, header, following, name, last=lines.ended)
            lines.text, following = lines.text[used:], following + count
            if count or (lines.ended and not yielded):
                yielded = True
                yield block
            if lines.ended:
                return
            lines.more()


@dataclass
class _Text:
    """Lines that any CSV reader takes alike, the number of each, and what was refused on the way to them."""

    text: bytes
    first: int  # number of the given text's first line
    numbers: np.ndarray
    refused: list[Refused]
    used: int  # bytes of the given text
    lines: int  # of the given text


def _block(text: bytes, header: Header, following: int, name: str, *, last: bool) -> tuple[Block, int, int]:
    found = _plain(text, following) if b'"' not in text else _mended(text, header, following, name, last=last)
    table, numbers, refused = _parsed(found, header, name)
    rows, kept, undecodable = _decode(table, numbers, name)
    every = sorted(found.refused + refused + undecodable, key=lambda row: row.line)
    return Block(rows, kept, every, name, header.notes), found.used, found.lines


def _plain(text: bytes, following: int) -> _Text:
    """Number the lines of a text without any quote; blank ones are passed over."""
    count = text.count(b"\n")
    numbers = np.arange(following, following + count)
    if text.startswith(b"\n") or b"\n\n" in text:
        ends = np.flatnonzero(np.frombuffer(text, np.uint8) == _NEWLINE)
        numbers = numbers[np.diff(ends, prepend=-1) > 1]
    return _Text(text, following, numbers, [], len(text), count)


def _mended(text: bytes, header: Header, following: int, name: str, *, last: bool) -> _Text:
    """Number the lines of a text with quotes; rows that a CSV reader would take otherwise are written anew,
    or refused.
    """
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == _NEWLINE)
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)
    kept = ends > starts
    separator = header.separator.encode()
    clean = clean_lines(separator)
    pieces: list[bytes] = []
    refused: list[Refused] = []
    used = 0
    while True:
        fine = clean.match(text, used)
        start, used = used, used if fine is None else fine.end()
        pieces.append(text[start:used])
        place = int(np.searchsorted(starts, used))
        if place == len(starts):
            numbers = following + np.flatnonzero(kept)
            return _Text(b"".join(pieces), following, numbers, refused, used, place)
        found = read_row(_lines_from(text, starts, ends, place), separator, len(header.names), last=last)
        if found is None:
            numbers = following + np.flatnonzero(kept[:place])
            return _Text(b"".join(pieces), following, numbers, refused, used, place)
        if isinstance(found, Fault):
            kept[place] = False
            refused.append(_refused(following + place, found.text, text[used : ends[place]], name))
            used = int(ends[place]) + 1
        else:
            kept[place + 1 : place + found.span] = False
            pieces.append(quoted(found.values, separator) + b"\n")
            used = int(ends[place + found.span - 1]) + 1


def _lines_from(
    text: bytes, starts: np.ndarray, ends: np.ndarray, place: int
) -> Callable[[int], bytes | None]:
    return lambda step: text[starts[place + step] : ends[place + step]] if place + step < len(ends) else None


def _refused(line: int, text: str, raw: bytes, name: str) -> Refused:
    return Refused(line, f"{name} line {line}: {text}", raw[:MAX_RAW_CHARACTERS].decode("utf-8", "replace"))


def _parsed(found: _Text, header: Header, name: str) -> tuple[pa.Table, np.ndarray, list[Refused]]:
    refused: list[Refused] = []
    odd: list[int] = []

    def note(row: Any) -> str:
        place = row.number - 1
        odd.append(place)
        text = str(row.text)
        if text.strip():
            line = int(found.numbers[place])
            refused.append(
                _refused(line, wrong_width(row.actual_columns, row.expected_columns), text.encode(), name)
            )
        return "skip"

    if not len(found.numbers):
        return (
            pa.table({column: pa.array([], pa.binary()) for column in header.names}),
            found.numbers,
            refused,
        )
    try:
        table = _read(found.text, header, note)
    except pa.ArrowInvalid:
        raise _broken(found, header, name) from None
    numbers = np.delete(found.numbers, odd) if odd else found.numbers
    if table.num_rows != len(numbers):  # rows + refused + blank = lines, or the file is not taken
        raise _broken(found, header, name)
    return table, numbers, refused


def _read(text: bytes, header: Header, odd_row: Callable[[Any], str]) -> pa.Table:
    return pyarrow.csv.read_csv(
        pa.BufferReader(text),
        read_options=pyarrow.csv.ReadOptions(
            use_threads=False, block_size=len(text) + 1, column_names=header.names
        ),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=header.separator, newlines_in_values=b'"' in text, invalid_row_handler=odd_row
        ),
        convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(header.names, pa.binary())),
    )


def _broken(found: _Text, header: Header, name: str) -> DatasetFolderError:
    """Name the line where the rows that are read stop being those that begin, by halving the text."""
    # refused lines are not part of the text, every other line is
    taken_out = np.array([row.line for row in found.refused], dtype=np.int64)
    places = found.numbers - found.first - np.searchsorted(taken_out, found.numbers)
    ends = np.flatnonzero(np.frombuffer(found.text, np.uint8) == _NEWLINE)
    starts = np.append(np.concatenate([[0], ends + 1])[places], len(found.text))

    def read(rows: int) -> int:
        odd: list[Any] = []

        def skip(row: Any) -> str:
            odd.append(row)
            return "skip"

        try:
            return int(_read(found.text[: starts[rows]], header, skip).num_rows) + len(odd)
        except pa.ArrowInvalid:
            return -1

    right, wrong = 0, len(found.numbers)
    while wrong - right > 1:
        half = (right + wrong) // 2
        right, wrong = (half, wrong) if read(half) == half else (right, half)
    rows = read(wrong)  # fewer: the last of them goes on over others
    line = found.numbers[rows - 1 if 0 < rows < wrong else wrong - 1]
    return DatasetFolderError(
        f"{name} line {line}: {max(rows, 0):,} rows were read up to here where {wrong:,} begin; check the "
        "quotes of this line"
    )


def _decode(table: pa.Table, lines: np.ndarray, name: str) -> tuple[pa.Table, np.ndarray, list[Refused]]:
    try:
        return table.cast(_texts(table)), lines, []
    except pa.ArrowInvalid:
        keep, refused = np.ones(len(lines), dtype=bool), []
        for column in table.column_names:
            for row, value in enumerate(table.column(column).to_pylist()):
                if keep[row] and value is not None and not _is_utf8(value):
                    keep[row] = False
                    text = f"{column} {value[:32]!r} is not UTF-8; save the file as UTF-8"
                    refused.append(
                        Refused(
                            int(lines[row]),
                            f"{name} line {lines[row]}: {text}",
                            repr(value[:MAX_RAW_CHARACTERS]),
                        )
                    )
        clean = table.filter(pa.array(keep))
        return clean.cast(_texts(clean)), lines[keep], refused


def _texts(table: pa.Table) -> pa.Schema:
    return pa.schema([(column, pa.string()) for column in table.column_names])


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
