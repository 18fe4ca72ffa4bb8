"""Columns of time stamps to microseconds UTC, by the rules of `events.parse_time`. Knows no clock."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.contract.events import parse_time

# The limits of events.parse_time: seconds stay below 1e11 until the year 5138, milliseconds pass it since March 1973.
SECONDS_BELOW = 1e11
MILLISECONDS_BELOW = 1e14
MICROSECONDS_BELOW = 1e17  # the year 5138 again; a larger number is none of the three units
_NUMBER_RE2 = r"^\s*[+-]?\d+(\.\d+)?\s*$"
EXPECTED = "expected ISO 8601 or epoch seconds or milliseconds"


def parse_times(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Read a column of time stamps by the rules of ``events.parse_time``, fast.

    Parameters
    ----------
    column : pa.Array
        Strings, numbers, dates or timestamps; nulls are allowed and come back as not valid.

    Returns
    -------
    times : ndarray int64, shape (rows,)
        Microseconds UTC; 0 where not valid.
    valid : ndarray bool, shape (rows,)

    Examples
    --------
    >>> parse_times(pa.array(["2020-01-01", "31-02-2020", "1577836800"]))[1].tolist()
    [True, False, True]
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        moments = column.cast(pa.timestamp("us"), safe=False) if column.type != pa.timestamp("us", tz="UTC") else column
        return _filled(moments.cast(pa.int64())), _mask(pc.is_valid(column))
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        return _from_numbers(column)
    return _from_strings(column.cast(pa.string()))


def _filled(numbers: pa.Array) -> np.ndarray:
    return np.asarray(pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False))


def _mask(flags: pa.Array) -> np.ndarray:
    return np.asarray(flags.to_numpy(zero_copy_only=False), dtype=bool)


def _from_numbers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    given = _mask(pc.is_valid(column))
    if pa.types.is_integer(column.type):
        whole = _filled(column).astype(np.int64)
        size = np.abs(whole.astype(np.float64))
        valid = given & (size < MICROSECONDS_BELOW)
        unit = np.where(size < SECONDS_BELOW, 1_000_000, np.where(size < MILLISECONDS_BELOW, 1_000, 1))
        return np.where(valid, whole, 0) * unit, valid
    numbers = _filled(column.cast(pa.float64()))
    size = np.abs(numbers)
    valid = given & np.isfinite(numbers) & (size < MICROSECONDS_BELOW)
    unit = np.where(size < SECONDS_BELOW, 1e6, np.where(size < MILLISECONDS_BELOW, 1e3, 1.0))
    return np.rint(np.where(valid, numbers, 0.0) * unit).astype(np.int64), valid


def _from_strings(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    times = np.zeros(len(texts), dtype=np.int64)
    valid = np.zeros(len(texts), dtype=bool)
    numeric = _mask(pc.fill_null(pc.match_substring_regex(texts, _NUMBER_RE2), False))
    if numeric.any():
        chosen = pc.utf8_trim_whitespace(texts.filter(pa.array(numeric)))
        whole = not _mask(pc.match_substring(chosen, ".")).any()
        times[numeric], valid[numeric] = _from_numbers(_to_numbers(chosen, whole))
    for row in np.flatnonzero(~numeric):
        text = texts[int(row)].as_py()
        if text is not None:
            try:
                times[row], valid[row] = parse_time(text), True
            except ValueError:
                continue
    return times, valid


def _to_numbers(texts: pa.Array, whole: bool) -> pa.Array:
    try:
        return pc.cast(pc.replace_substring_regex(texts, r"^\+", ""), pa.int64() if whole else pa.float64())
    except pa.ArrowInvalid:  # longer than 64 bits: no time stamp, but the other rows are
        return pa.array([float(text) for text in texts.to_pylist()], pa.float64())
