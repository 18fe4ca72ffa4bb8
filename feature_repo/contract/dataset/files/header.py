"""The first line of a text file: its separator and its columns, or what the file is instead. Knows no
rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from feature_repo.contract.dataset.files.blocks import DatasetFolderError
from feature_repo.contract.dataset.files.lines import BYTE_ORDER_MARK, Lines
from feature_repo.contract.dataset.files.quotes import Unclosed, split_line

SEPARATORS = {".csv": ",", ".tsv": "\t"}
_SEPARATORS_SEEN = (",", "\t", ";", "|")
_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}
# First bytes of what is often renamed to .csv.
_FOREIGN = {
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"\x1f\x8b": "a gzip file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"BZh": "a bzip2 file",
    b"SQLite format 3": "an SQLite database",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b"%PDF": "a PDF",
    b"ARROW1": "an Arrow file",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
}


@dataclass(frozen=True)
class Header:
    """What the first line of a file says, or the user instead of it."""

    names: list[str]
    separator: str
    lines: int  # of the file, up to and with it
    notes: tuple[str, ...] = ()


def read_header(
    lines: Lines, name: str, suffix: str, separator: str | None, names: Sequence[str] | None
) -> Header:
    """Take the first line that is not blank off the text and read it.

    Parameters
    ----------
    lines : Lines
        At the file's start.
    name : str
        For messages.
    suffix : str
        Extension, which names the usual separator.
    separator : str or None
        None = the usual one, or the one that gives more columns.
    names : sequence of str or None
        Columns of a file without a header; its first line then stays.

    Returns
    -------
    Header

    Raises
    ------
    DatasetFolderError
        If the file is empty, is no UTF-8 text, or names a column twice.
    """
    for magic, what in _FOREIGN.items():
        if lines.text.startswith(magic):
            raise DatasetFolderError(
                f"{name} is {what} by its first bytes, not text; give it the extension of what it is, or "
                "export it as CSV"
            )
    lines.text = lines.text.removeprefix(BYTE_ORDER_MARK)
    text = lines.whole()
    while not text.strip() and not lines.ended:
        lines.more()
        text = lines.whole()
    if not text.strip():
        raise DatasetFolderError(
            f"{name} is empty; write a first line that names the columns and a row a line, or remove the file"
        )
    blank = len(text) - len(text.lstrip(b"\n"))
    line = text[blank : text.index(b"\n", blank)]
    if names is not None:
        return Header(list(names), separator or SEPARATORS.get(suffix, "\t"), 0)
    lines.text = lines.text[blank + len(line) + 1 :]
    chosen = separator or _seen_separator(line, SEPARATORS.get(suffix, "\t"))
    found = _column_names(line, chosen, blank + 1, name)
    usual = SEPARATORS.get(suffix, chosen)
    notes = (
        ()
        if chosen == usual
        else (f"{name}: values are separated by {_NAMES.get(chosen, repr(chosen))}, as its first line shows",)
    )
    return Header(found, chosen, blank + 1, notes)


def _seen_separator(line: bytes, usual: str) -> str:
    """Choose the separator that gives the most columns; the extension's own wins a tie."""
    candidates = [usual, *(separator for separator in _SEPARATORS_SEEN if separator != usual)]
    return max(candidates, key=lambda separator: len(_values(line, separator)))


def _values(line: bytes, separator: str) -> list[bytes]:
    try:
        return split_line(line, separator.encode()) or [line]
    except Unclosed:
        return line.split(separator.encode())


def _column_names(line: bytes, separator: str, number: int, name: str) -> list[str]:
    try:
        text = [value.decode("utf-8") for value in _values(line, separator)]
    except UnicodeDecodeError:
        raise DatasetFolderError(
            f"{name} line {number}: bytes {line[:12]!r} are not UTF-8; save the file as UTF-8"
        ) from None
    if b"\0" in line:
        raise DatasetFolderError(
            f"{name} line {number}: zero bytes, so the file is no UTF-8 text; save the file as UTF-8"
        )
    names = [value.strip('"') for value in text]
    if sum(not value.strip() for value in names) > 1:  # a spreadsheet's empty columns
        names = [value if value.strip() else f"unnamed {place}" for place, value in enumerate(names, start=1)]
    check_columns_once(names, name)
    return names


def check_columns_once(names: Sequence[str], file: str) -> None:
    """Raise a ``DatasetFolderError`` that names the first column of a file that stands there twice."""
    plain = [name.strip() for name in names]  # ` item_id` behind a comma is the column item_id
    for place, name in enumerate(plain, start=1):
        first = plain.index(name) + 1
        if first != place:
            remedy = "rename or remove one of them"
            if name[:1].isdigit():
                remedy = "if this line is a row, write one with the columns' names before it"
            raise DatasetFolderError(
                f"{file}: column '{name}' stands twice (columns {first} and {place}); {remedy}"
            )
