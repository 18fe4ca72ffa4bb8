"""Files of a dataset folder as blocks of rows with line numbers: one file, or a folder of parts, text or
Parquet. Knows no column's meaning.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from feature_repo.contract.dataset.files.blocks import ROWS_PER_BLOCK, Block, DatasetFolderError
from feature_repo.contract.dataset.files.delimited import read_delimited
from feature_repo.contract.dataset.files.header import SEPARATORS, check_columns_once
from feature_repo.contract.dataset.files.lines import COMPRESSIONS, plain_suffix

PARQUET = ".parquet"
ENDINGS = (*map("".join, product(SEPARATORS, ("", *COMPRESSIONS))), PARQUET)
_NAMES_SHOWN = 5  # of files, in a message
_PARQUET_MAGIC = b"PAR1"
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # how Hive and Spark name the folder of rows without a value


def find_table(folder: Path, stem: str) -> Path | None:
    """Find the table of a name: ``stem.csv``, ``.tsv`` (also packed: ``.gz``, ``.zst``, ``.bz2``) or
    ``.parquet``; a file, or a folder of parts.

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
    found = [path for ending in ENDINGS if os.path.lexists(path := folder / f"{stem}{ending}")]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise DatasetFolderError(f"dataset folder '{folder}' holds {names}; keep one of them")
    return found[0] if found else None


def names_in(folder: Path) -> list[str]:
    """Return the names of a folder's entries, sorted, without those that begin with ``.`` or ``_``."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith((".", "_")))


def not_read(folder: Path, stems: Sequence[str], other: str) -> str | None:
    """Name the files that look like tables of these stems, or are tables, and that :func:`find_table` does
    not find.

    Parameters
    ----------
    folder : Path
    stems : sequence of str
    other : str
        Name of a file that is read too.

    Returns
    -------
    str or None
        One line; None when there is none.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     (Path(name) / "clicks.csv").touch()
    ...     (Path(name) / "clicks_test.csv.xz").touch()
    ...     not_read(Path(name), ("clicks", "clicks_test"), "sequences.txt").split(";")[0]
    'not read: clicks_test.csv.xz'
    """
    read = {other, *map("".join, product(stems, ENDINGS))}
    names = [name for name in names_in(folder) if name not in read and _like_a_table(name, (*stems, other))]
    if not names:
        return None
    more = f" and {len(names) - _NAMES_SHOWN:,} more" if len(names) > _NAMES_SHOWN else ""
    return (
        f"not read: {', '.join(names[:_NAMES_SHOWN])}{more}; read are {', '.join(stems)} as .csv or .tsv "
        "(also .gz, .zst, .bz2) or .parquet, named exactly so"
    )


def _like_a_table(name: str, known: Sequence[str]) -> bool:
    plain = name.casefold()
    return plain.endswith(ENDINGS) or plain.startswith(tuple(one.split(".")[0] for one in known))


@dataclass(frozen=True)
class _Part:
    """One file of a table, its name for messages, and the columns that its folders spell
    (``day=2024-03-01``).
    """

    path: Path
    name: str
    columns: dict[str, str | None]


def read_blocks(
    path: Path, *, separator: str | None = None, names: Sequence[str] | None = None
) -> Iterator[Block]:
    """Read a table block by block, so that memory does not grow with it.

    Parameters
    ----------
    path : Path
        As :func:`find_table` gives it; any other text file too. A folder holds parts, also in folders of
        Hive's form ``column=value``, which become columns; hidden files and those that begin with ``_`` are
        no parts.
    separator : str, optional
        Of text; None = by the extension and the first line.
    names : sequence of str, optional
        Columns of text without a header.

    Yields
    ------
    Block
        Lines count from 1 in each part, as an editor does; rows of Parquet likewise.

    Raises
    ------
    DatasetFolderError
        If the file is empty, damaged or no table, names a column twice, or a folder holds what is no part.
    """
    for part in _parts(path):
        try:
            if _is_parquet(part.path):
                blocks = _read_parquet(part)
            else:
                blocks = read_delimited(part.path, part.name, separator=separator, names=names)
            for block in blocks:
                yield _with_columns(block, part)
        except (pa.ArrowException, OSError, EOFError) as error:
            raise DatasetFolderError(_unreadable(part, error)) from None


def _unreadable(part: _Part, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return f"{part.name} cannot be read: {os.strerror(error.errno)}; check the file and its rights"
    hint = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return _damaged(part, hint[:120])


def _damaged(part: _Part, hint: str) -> str:
    packed = (
        f"packed {plain_suffix(part.path)[1:]}" if part.path.suffix in COMPRESSIONS else part.path.suffix[1:]
    )
    return (
        f"{part.name} cannot be read as a {packed} table: it is damaged, cut short or something else "
        f"({hint}); write it anew"
    )


def _is_parquet(path: Path) -> bool:
    return path.suffix == PARQUET


def _parts(path: Path) -> list[_Part]:
    if not path.is_dir():
        return [_Part(path, path.name, {})]
    parts: list[_Part] = []
    for root, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(("_", "."))]
        columns = _folder_columns(Path(root).relative_to(path), path.name)
        for file in files:
            if not file.startswith(("_", ".")):
                found = Path(root) / file
                parts.append(_Part(found, f"{path.name}/{found.relative_to(path).as_posix()}", columns))
    if not parts:
        raise DatasetFolderError(
            f"{path.name} is a folder without parts; put {path.suffix} files there, or remove it"
        )
    for part in parts:
        _check_part(part, path)
    return sorted(parts, key=lambda part: part.name)


def _check_part(part: _Part, table: Path) -> None:
    wanted = table.suffix if table.suffix not in COMPRESSIONS else plain_suffix(table)
    if plain_suffix(part.path) != wanted:
        raise DatasetFolderError(
            f"{part.name} is no {wanted} part; move it out of the folder, or give it that extension"
        )


def _folder_columns(inside: Path, table: str) -> dict[str, str | None]:
    """Read the columns off a part's folders; a folder of another form is part of no column, its files are
    read all the same.
    """
    columns: dict[str, str | None] = {}
    for folder in inside.parts:
        name, sign, value = folder.partition("=")
        if sign:
            if name in columns:
                raise DatasetFolderError(
                    f"{table}/{inside.as_posix()}: column '{name}' stands twice in the path; rename one of "
                    "the folders"
                )
            columns[unquote(name)] = None if value == _NO_VALUE else unquote(value)
    return columns


def _with_columns(block: Block, part: _Part) -> Block:
    rows = block.rows
    for name, value in part.columns.items():
        if name in rows.column_names:
            raise DatasetFolderError(
                f"{part.name}: column '{name}' stands in the file and in its folder's name "
                f"('{name}={value}'); remove one of them"
            )
        rows = rows.append_column(name, pa.repeat(pa.scalar(value, pa.string()), rows.num_rows))
    return replace(block, rows=rows)


def _read_parquet(part: _Part) -> Iterator[Block]:
    with part.path.open("rb") as file:
        if file.read(len(_PARQUET_MAGIC)) != _PARQUET_MAGIC:
            raise DatasetFolderError(
                _damaged(
                    part, "its first bytes are not Parquet's" if part.path.stat().st_size else "it is empty"
                )
            )
    with pyarrow.parquet.ParquetFile(part.path) as table:
        names = table.schema_arrow.names
        check_columns_once(names, part.name)
        first = 1
        for batch in table.iter_batches(batch_size=ROWS_PER_BLOCK):
            yield Block(
                pa.Table.from_batches([batch]), np.arange(first, first + batch.num_rows), [], part.name
            )
            first += batch.num_rows
        if first == 1:  # a table without a row is one all the same, as a text of a header alone
            yield Block(table.schema_arrow.empty_table(), np.arange(0), [], part.name)
