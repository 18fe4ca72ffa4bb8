"""Columns of any type as ids and texts: what has one plain spelling is taken, all else refused. Knows nothing
of files.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.contract.dataset.files.blocks import DatasetFolderError

# Above these a float does not tell whole numbers apart any more.
_WHOLE_BELOW = {pa.float16(): 2**11, pa.float32(): 2**24, pa.float64(): 2**53}
_S = pa.string()
_TEXT_REMEDY = "write it as text or whole numbers"
_LIST_SEPARATOR = ", "


@dataclass(frozen=True)
class TextColumn:
    """A column as texts, nulls where there is no value, and the rows whose value has no spelling."""

    texts: pa.Array
    faults: dict[int, str] = field(default_factory=dict)


def one_array(table: pa.Table, name: str) -> pa.Array:
    """Take a column as one array without dictionary or run-length encoding."""
    column = table.column(name)
    if column.type == pa.uuid():
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], _S)
    if pa.types.is_dictionary(column.type) or pa.types.is_run_end_encoded(column.type):
        column = column.cast(column.type.value_type)
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def text_column(table: pa.Table, name: str, file: str, *, joined: bool = False) -> TextColumn:
    """Take a column as texts.

    Parameters
    ----------
    table : pa.Table
    name : str
    file : str
        For messages.
    joined : bool
        Whether a list of texts is one text, its values joined by ``", "``.

    Returns
    -------
    TextColumn
        Whole numbers of any type are their digits (a float below 2^53, a float32 below 2^24), NaN is no
        value.

    Raises
    ------
    DatasetFolderError
        If the type has no plain spelling: lists, maps, structs, bytes, durations, truth values.

    Examples
    --------
    >>> text_column(pa.table({"id": [40050025016.0, None, 0.5]}), "id", "clicks").texts.to_pylist()
    ['40050025016', None, None]
    """
    column = one_array(table, name)
    kind = column.type
    if pa.types.is_string(kind):
        return TextColumn(column)
    if (
        pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_null(kind)
        or pa.types.is_integer(kind)
    ):
        return TextColumn(column.cast(_S))
    if pa.types.is_floating(kind):
        return _of_floats(column, name)
    if pa.types.is_decimal(kind):
        return _of_decimals(column, name)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return TextColumn(column.cast(_S))
    if joined and is_text_list(kind):
        return TextColumn(_join(column))
    raise DatasetFolderError(f"{file}: column '{name}' has the type {kind}, which is no text; {_TEXT_REMEDY}")


def is_text_list(kind: pa.DataType) -> bool:
    """Tell whether a type is a list of texts."""
    lists = (
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_fixed_size_list,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    )
    if not any(is_kind(kind) for is_kind in lists):
        return False
    value = kind.value_type.value_type if pa.types.is_dictionary(kind.value_type) else kind.value_type
    return bool(
        pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_string_view(value)
    )


def _join(column: pa.Array) -> pa.Array:
    rows = column.to_pylist()
    return pa.array([None if row is None else _LIST_SEPARATOR.join(filter(None, row)) for row in rows], _S)


def _of_floats(column: pa.Array, name: str) -> TextColumn:
    numbers = pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
    given = ~np.isnan(numbers)
    limit = _WHOLE_BELOW[column.type]
    with np.errstate(invalid="ignore"):
        good = given & (np.abs(numbers) < limit) & (numbers == np.trunc(numbers))
    whole = pa.array(np.where(good, numbers, 0).astype(np.int64), mask=~good)
    faults = {
        int(row): (
            f"{name} {float(numbers[row])!r} is no whole number below {limit:,}, above which a "
            f"{column.type} changes ids; {_TEXT_REMEDY}"
        )
        for row in np.flatnonzero(given & ~good)
    }
    return TextColumn(whole.cast(_S), faults)


def _of_decimals(column: pa.Array, name: str) -> TextColumn:
    values = column.to_pylist()
    whole = [value is not None and value == value.to_integral_value() for value in values]
    texts = [f"{int(value)}" if good else None for value, good in zip(values, whole, strict=True)]
    faults = {
        row: f"{name} {value} is no whole number; {_TEXT_REMEDY}"
        for row, (value, good) in enumerate(zip(values, whole, strict=True))
        if value is not None and not good
    }
    return TextColumn(pa.array(texts, _S), faults)
