"""What rows of clicks and of items are checked for alike, and how a refused row is written down. Knows
nothing of files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.contract.dataset.files.blocks import DatasetFolderError, Refused
from feature_repo.contract.spellings.missing import are_words

MAX_ID_CHARACTERS = 1024  # as on Kafka
MAX_TITLE_CHARACTERS = 10_000  # a title is a line of text; more is a broken export


def require_columns(file: str, present: Sequence[str], required: Sequence[str]) -> None:
    """Raise a ``DatasetFolderError`` that names the first missing column of a file, and the columns it
    has.
    """
    for name in required:
        if name not in present:
            found = ", ".join(repr(column) for column in present[:20])
            raise DatasetFolderError(
                f"{file}: column '{name}' is missing (found {found}); rename a column, or see `python -m "
                "model.prepare --help`"
            )


def check_ids(ids: pa.Array, name: str, problems: dict[int, str], *, of: str = "click") -> None:
    """Refuse ids that are missing, blank, a word for no value, or too long; a row's first problem stands.
    `of` = what a row is.
    """
    what = name.removesuffix("_id").replace("_", " ")
    remedy = f"give every {of} {'an' if what == 'item' else 'a'} {what} id"
    trimmed = pc.utf8_length(pc.utf8_trim_whitespace(pc.fill_null(ids, "")))
    for row in np.flatnonzero(np.asarray(pc.equal(trimmed, 0))):
        problems.setdefault(int(row), f"{name} {ids[int(row)].as_py()!r} is blank; {remedy}")
    for row in np.flatnonzero(np.asarray(are_words(ids))):
        problems.setdefault(int(row), f"{name} {ids[int(row)].as_py()!r} is a word for no value; {remedy}")
    lengths = pc.fill_null(pc.utf8_length(ids), 0)
    for row in np.flatnonzero(np.asarray(pc.greater(lengths, MAX_ID_CHARACTERS))):
        start = str(ids[int(row)].as_py())[:32]
        problems.setdefault(
            int(row),
            f"{name} '{start}...' has {lengths[int(row)]} characters; at most {MAX_ID_CHARACTERS} are taken",
        )


def refusals(table: pa.Table, problems: dict[int, str], numbers: np.ndarray, file: str) -> list[Refused]:
    """Write down the rows with a problem, in their order."""
    return [
        Refused(int(numbers[row]), f"{file} line {numbers[row]}: {text}", _raw(table, row))
        for row, text in sorted(problems.items())
    ]


def plain_value(value: pa.Scalar) -> Any:
    """Return a value as Python's own, or its text where Python has none: a time after the year 9999."""
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return f"{value.type} {getattr(value, 'value', '(out of range)')}"


def records_of(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows of a table as dictionaries of plain values."""
    try:
        records: list[dict[str, Any]] = table.to_pylist()
        return records
    except (OverflowError, ValueError):
        columns = [map(plain_value, column) for column in table.columns]
        return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def shown(table: pa.Table, name: str, row: int) -> str:
    """Write a value for a message."""
    value = plain_value(table.column(name)[row])
    return repr(value if not isinstance(value, str) else value[:64])


def _raw(table: pa.Table, row: int) -> str:
    return as_json(records_of(table.slice(row, 1))[0])[:MAX_TITLE_CHARACTERS]


def as_json(record: dict[str, Any]) -> str:
    """Write a row as JSON: bytes as text, a number that JSON does not have (NaN) as null."""
    try:
        return json.dumps(record, ensure_ascii=False, default=_plain, allow_nan=False)
    except ValueError:
        return json.dumps(
            {name: _finite(value) for name, value in record.items()}, ensure_ascii=False, default=_plain
        )


def _plain(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return {name: _finite(part) for name, part in value.items()} if isinstance(value, dict) else value
