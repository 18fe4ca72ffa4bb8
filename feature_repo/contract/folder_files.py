"""Files of a dataset folder as blocks of rows with line numbers (CSV, TSV, Parquet). Knows nothing of what the columns mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

EXTENSIONS = ("csv", "tsv", "parquet")
BLOCK_BYTES = 32 << 20  # a row longer than this (a 32 MB title) cannot be read
ROWS_PER_BLOCK = 1 << 18


class DatasetFolderError(ValueError):
    """A dataset folder or file that cannot be used; one line that names it and says the remedy."""


@dataclass(frozen=True)
class Refused:
    """A row that was not taken: its line (row for Parquet), the whole reason in one line, and the row as it came."""

    line: int
    reason: str
    raw: str


@dataclass(frozen=True)
class Block:
    """Rows of one file with their line numbers, and the lines that could not be split into columns."""

    rows: pa.Table
    lines: np.ndarray
    refused: list[Refused]


def find_table(folder: Path, stem: str) -> Path | None:
    """Find ``stem.csv``, ``stem.tsv`` or ``stem.parquet`` (a file, or a folder of Parquet files).

    Parameters
    ----------
    folder : Path
    stem : str
        ``clicks``, ``clicks_valid``, ``clicks_test`` or ``items``.

    Returns
    -------
    Path or None

    Raises
    ------
    DatasetFolderError
        If there is more than one such file.
    """
    found = [path for extension in EXTENSIONS if (path := folder / f"{stem}.{extension}").exists()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise DatasetFolderError(f"dataset folder '{folder}' holds {names}; keep one of them")
    return found[0] if found else None


def text_column(table: pa.Table, name: str) -> pa.Array:
    """Take a column as one array of strings; integers become their decimal text, nulls stay."""
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not pa.types.is_string(column.type):
        column = column.cast(pa.string())
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def read_blocks(path: Path, *, multiline: bool) -> Iterator[Block]:
    """Read a file block by block, so that memory does not grow with it.

    Parameters
    ----------
    path : Path
        As :func:`find_table` gives it.
    multiline : bool
        Whether a quoted CSV value may hold line breaks (titles may).

    Yields
    ------
    Block

    Raises
    ------
    DatasetFolderError
        If the file is empty or is no table.
    """
    try:
        delimiter = "\t" if path.suffix == ".tsv" else ","
        yield from _read_parquet(path) if path.suffix == ".parquet" else open_delimited(path, delimiter, multiline=multiline)
    except pa.ArrowInvalid as error:
        hint = f"a row is longer than {BLOCK_BYTES >> 20} MB or a quote is not closed" if "straddling" in str(error) else str(error).splitlines()[0]
        raise DatasetFolderError(f"{path.name} cannot be read as a {path.suffix[1:]} table ({hint}); check the file") from None


def _read_parquet(path: Path) -> Iterator[Block]:
    first = 1
    for file in sorted(path.glob("*.parquet")) if path.is_dir() else [path]:
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=ROWS_PER_BLOCK):
            yield Block(pa.Table.from_batches([batch]), np.arange(first, first + batch.num_rows), [])
            first += batch.num_rows


def open_delimited(path: Path, delimiter: str, *, multiline: bool = False, quoted: bool = True) -> Iterator[Block]:
    """Read delimited text block by block, every value a string; rows of another width or not in UTF-8 are refused with their line."""
    names = _header(path, delimiter)
    odd: list[Refused] = []

    def note(row: Any) -> str:
        text = f"{row.actual_columns} values instead of {row.expected_columns}; quote values that hold the separator"
        odd.append(Refused(row.number, f"{path.name} line {row.number}: {text}", str(row.text)[:200]))
        return "skip"

    reader = pyarrow.csv.open_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=delimiter, newlines_in_values=multiline, invalid_row_handler=note, quote_char='"' if quoted else False
        ),
        convert_options=pyarrow.csv.ConvertOptions(column_types={name: pa.binary() for name in names}),
    )
    following, reported = 2, 0  # line 1 is the header
    for batch in reader:
        ahead = following + batch.num_rows + len(odd)
        skipped = {refused.line for refused in odd}
        lines = np.array([line for line in range(following, ahead) if line not in skipped] if skipped else np.arange(following, ahead))[: batch.num_rows]
        following = int(lines[-1]) + 1 if len(lines) else following
        rows, kept, refused = _decode(batch, lines, path.name)
        fresh, reported = odd[reported:], len(odd)
        yield Block(rows, kept, fresh + refused)
    if len(odd) > reported:
        yield Block(pa.table({name: pa.array([], pa.string()) for name in names}), np.array([], dtype=np.int64), odd[reported:])


def _header(path: Path, delimiter: str) -> list[str]:
    with path.open("rb") as file:
        line = file.readline(1 << 20)
    if not line.strip():
        raise DatasetFolderError(f"{path.name} is empty; its first line must name the columns, such as session_id, item_id, event_time")
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise DatasetFolderError(f"{path.name} line 1: bytes {line[:12]!r} are not UTF-8; save the file as UTF-8") from None
    if "\0" in text:
        raise DatasetFolderError(f"{path.name} line 1: zero bytes, so the file is no UTF-8 text; save the file as UTF-8")
    return [name.strip('"') for name in text.split(delimiter)]


def _decode(batch: pa.RecordBatch, lines: np.ndarray, name: str) -> tuple[pa.Table, np.ndarray, list[Refused]]:
    table = pa.Table.from_batches([batch])
    try:
        return table.cast(pa.schema([(column, pa.string()) for column in table.column_names])), lines, []
    except pa.ArrowInvalid:
        keep, refused = np.ones(len(lines), dtype=bool), []
        for column in table.column_names:
            for row, value in enumerate(table.column(column).to_pylist()):
                if keep[row] and value is not None and not _is_utf8(value):
                    keep[row] = False
                    text = f"{column} {value[:32]!r} is not UTF-8; save the file as UTF-8"
                    refused.append(Refused(int(lines[row]), f"{name} line {lines[row]}: {text}", repr(value[:200])))
        clean = table.filter(pa.array(keep))
        return clean.cast(pa.schema([(column, pa.string()) for column in clean.column_names])), lines[keep], refused


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
