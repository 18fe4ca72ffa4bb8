"""Spark's hash of a row's contents, which settles ties: xxhash64 of the columns, one after the other."""

from __future__ import annotations

import struct
from collections.abc import Callable
from decimal import Context
from typing import Any

import pyarrow as pa
import xxhash

from feature_repo.stores.offline.errors import OnlySparkError

SEED = 42  # Spark's
_LONGEST_LONG_DECIMAL = 18  # digits of a decimal that Spark keeps as a long
_EXACT = Context(prec=80)  # decimals have at most 38 digits
Hash = Callable[[Any, int], int]


def content_hashes(table: pa.Table) -> list[int]:
    """Hash each row as ``xxhash64(*columns)`` of Spark does.

    Parameters
    ----------
    table : pyarrow.Table
        Few rows: those that tie.

    Returns
    -------
    list of int
        Signed, 64 bits; 0 where there are no columns.

    Raises
    ------
    OnlySparkError
        A column of maps or structs, whose text only Spark makes.

    Examples
    --------
    Spark's own example, ``xxhash64('Spark', array(123), 2)``:

    >>> numbers = pa.array([[123]], pa.list_(pa.int32()))
    >>> content_hashes(pa.table({"a": ["Spark"], "b": numbers, "c": pa.array([2], pa.int32())}))
    [5602566077635097486]
    """
    if not table.num_columns:
        return [0] * table.num_rows
    hashes = [SEED] * table.num_rows
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = _in_numbers(column.type)
        into = _hash_of(column.type, name)
        values = column.cast(kind).to_pylist()
        hashes = [into(value, seed) for value, seed in zip(values, hashes, strict=True)]
    return [number - 2**64 if number >= 2**63 else number for number in hashes]


def _in_numbers(kind: pa.DataType) -> pa.DataType:
    """Return the type whose Python values hold the same: times as microseconds, dates as days."""
    if pa.types.is_timestamp(kind):
        return pa.int64()
    if pa.types.is_date32(kind):
        return pa.int32()
    return pa.list_(_in_numbers(kind.value_type)) if pa.types.is_list(kind) else kind


def _hash_of(kind: pa.DataType, name: str) -> Hash:
    if pa.types.is_list(kind):
        return _of_list(_hash_of(kind.value_type, name))
    if pa.types.is_decimal(kind):
        return _or_seed(_of_decimal(kind.precision, kind.scale))
    if pa.types.is_string(kind):
        return _or_seed(lambda value, seed: xxhash.xxh64_intdigest(value.encode(), seed))
    if pa.types.is_binary(kind):
        return _or_seed(xxhash.xxh64_intdigest)
    for kinds, form in _PACKED:
        if kind in kinds:
            return _or_seed(_of_number(form))
    raise OnlySparkError(f"rows tie and are told apart by '{name}', which holds {kind}")


_PACKED: tuple[tuple[tuple[pa.DataType, ...], str], ...] = (
    ((pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.date32()), "<i"),
    ((pa.int64(), pa.timestamp("us"), pa.timestamp("us", tz="UTC")), "<q"),
    ((pa.float32(),), "<f"),
    ((pa.float64(),), "<d"),
)


def _or_seed(into: Hash) -> Hash:
    return lambda value, seed: seed if value is None else into(value, seed)


def _of_number(form: str) -> Hash:
    real = form in ("<f", "<d")

    def into(value: Any, seed: int) -> int:
        if real and value != value:
            value = float("nan")  # one form of many, as in Java
        return xxhash.xxh64_intdigest(struct.pack(form, value + 0.0 if real else value), seed)

    return into


def _of_decimal(precision: int, scale: int) -> Hash:
    def into(value: Any, seed: int) -> int:
        number = int(value.scaleb(scale, _EXACT))
        if precision <= _LONGEST_LONG_DECIMAL:
            return xxhash.xxh64_intdigest(struct.pack("<q", number), seed)
        size = (number + (number < 0)).bit_length() // 8 + 1  # as java.math.BigInteger.toByteArray
        return xxhash.xxh64_intdigest(number.to_bytes(size, "big", signed=True), seed)

    return into


def _of_list(element: Hash) -> Hash:
    def into(values: Any, seed: int) -> int:
        for value in values or ():
            seed = element(value, seed)
        return seed

    return into
