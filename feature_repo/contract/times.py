"""Time stamps of the outside world to microseconds UTC, one value or a column at a time. Knows no clock."""

from __future__ import annotations

import datetime
import math
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Epoch numbers are told apart by size: seconds stay below 1e11 until the year 5138, milliseconds pass it since March 1973.
SECONDS_BELOW = 1e11
MILLISECONDS_BELOW = 1e14
MICROSECONDS_BELOW = 1e17
_NUMBER = re.compile(r"\s*[+-]?\d+(\.\d*)?\s*")
_NUMBER_RE2 = r"^\s*[+-]?\d+(\.\d*)?\s*$"
EXPECTED = "expected ISO 8601 or epoch seconds or milliseconds"


def parse_time(value: str | int | float | datetime.datetime) -> int:
    """Read one time stamp.

    Parameters
    ----------
    value : str, int, float or datetime
        ISO 8601 (without zone = UTC), or an epoch number in s, ms or microseconds, told apart by size.

    Returns
    -------
    int
        Microseconds since 1970-01-01 UTC.

    Raises
    ------
    ValueError
        If the value is no time stamp; the text names it and says what is expected.

    Examples
    --------
    >>> parse_time("1970-01-01T00:00:01Z"), parse_time(1_396_860_669.277), parse_time("1396860669277")
    (1000000, 1396860669277000, 1396860669277000)
    """
    if isinstance(value, datetime.datetime):
        return _datetime_us(value)
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            try:
                return _datetime_us(datetime.datetime.fromisoformat(value.strip()))
            except ValueError:
                raise ValueError(f"event_time {value[:64]!r} is no timestamp; {EXPECTED}") from None
        value = float(value) if "." in value else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) >= MICROSECONDS_BELOW:
        raise ValueError(f"event_time {value!r} is no timestamp; {EXPECTED}")
    return round(value * _microseconds_per_unit(abs(value)))


def _datetime_us(value: datetime.datetime) -> int:
    aware = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
    return (aware - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1)


def _microseconds_per_unit(size: float) -> int:
    return 1_000_000 if size < SECONDS_BELOW else 1_000 if size < MILLISECONDS_BELOW else 1


def parse_times(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Read a column of time stamps by the same rules as :func:`parse_time`, fast.

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
