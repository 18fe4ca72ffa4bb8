"""Columns of time stamps to microseconds UTC, by the rules of `events.parse_time`. Knows no clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.contract.messages import parse_time, written_out

# The limits of events.parse_time: seconds stay below 1e11 until the year 5138, milliseconds pass it since
# March 1973.
SECONDS_BELOW = 1e11
MILLISECONDS_BELOW = 1e14
MICROSECONDS_BELOW = 1e17  # the year 5138 again; a larger number is none of the three units
_NUMBER_RE2 = r"^\s*[+-]?\d+(\.\d+)?\s*$"
EXPECTED = "expected ISO 8601 or epoch seconds or milliseconds"
# What numbers before 2000, or too large for a time stamp, count when all of a column lie in these limits
# (most: of 2000 to 2050).
_UNITS = (
    (1e17, float("inf"), "nanoseconds since 1970; divide by 1000"),
    (1990, 2100, "years; write dates as ISO 8601"),
    (10_957, 29_220, "days since 1970; multiply by 86400"),
    (
        36_526,
        73_050,
        "days as spreadsheets count them (1 = 1900-01-01); subtract 25569 and multiply by 86400",
    ),
    (200_001, 209_912, "months such as 202403; write dates as ISO 8601"),
    (262_968, 701_280, "hours since 1970; multiply by 3600"),
    (15_778_080, 42_076_800, "minutes since 1970; multiply by 60"),
    (
        631_152_000,
        946_684_799,
        "seconds since 1970, of the years 1990 to 1999; write them as ISO 8601, which is taken as it stands",
    ),
    (
        631_152_000_000,
        946_684_799_999,
        (
            "milliseconds since 1970, of the years 1990 to 1999; write them as ISO 8601, which is taken as "
            "it stands"
        ),
    ),
)


@dataclass(frozen=True)
class Times:
    """A column of times.

    Attributes
    ----------
    us : ndarray int64, shape (rows,)
        Microseconds UTC; 0 where not valid.
    valid : ndarray bool, shape (rows,)
    counted : ndarray bool, shape (rows,)
        The value is a number in a unit that its size was taken to tell, so it may be none.
    """

    us: np.ndarray
    valid: np.ndarray
    counted: np.ndarray


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
    found = read_times(column)
    return found.us, found.valid


def holds_times(kind: pa.DataType) -> bool:
    """Tell whether values of a type can be points in time; durations and times of day are none."""
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    numbers = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_timestamp,
        pa.types.is_date,
    )
    return any(is_kind(kind) for is_kind in (*texts, *numbers))


def read_times(column: pa.Array) -> Times:
    """Read a column as :func:`parse_times` does, and say which values are numbers of a unit."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return _from_moments(column)
    if (
        pa.types.is_integer(column.type)
        or pa.types.is_floating(column.type)
        or pa.types.is_decimal(column.type)
    ):
        return _from_numbers(column)
    return _from_strings(column.cast(pa.string()))


def likely_unit(low: float, high: float) -> str:
    """Guess what numbers count that are no time stamps, and say the remedy.

    Parameters
    ----------
    low, high : float
        Smallest and largest number of the column.

    Returns
    -------
    str

    Examples
    --------
    >>> likely_unit(45352, 45380.5)
    'days as spreadsheets count them (1 = 1900-01-01); subtract 25569 and multiply by 86400'
    """
    for first, last, what in _UNITS:
        if first <= low and high <= last:
            return what
    return "time since the start of the session or of the data; add the moment of that start"


def _filled(numbers: pa.Array) -> np.ndarray:
    return np.asarray(pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False))


def _mask(flags: pa.Array) -> np.ndarray:
    return np.asarray(flags.to_numpy(zero_copy_only=False), dtype=bool)


def _from_moments(column: pa.Array) -> Times:
    """Read timestamps and dates; those after the last year of a number (5138) are none, before microseconds
    of them could overflow.
    """
    whole = column.cast(pa.int32()) if pa.types.is_date32(column.type) else column.cast(pa.int64())
    counts = _filled(whole)
    size = np.abs(counts.astype(np.float64)) * _microseconds(column.type)
    valid = _mask(pc.is_valid(column)) & (size < MICROSECONDS_BELOW)
    safe = pa.array(counts, mask=~valid).cast(whole.type).cast(column.type)
    moments = safe.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)), safe=False)
    return Times(_filled(moments.cast(pa.int64())), valid, np.zeros(len(column), dtype=bool))


def _microseconds(kind: pa.DataType) -> float:
    if pa.types.is_date32(kind):
        return 86_400e6
    return {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}[getattr(kind, "unit", "ms")]


def _from_numbers(column: pa.Array) -> Times:
    given = _mask(pc.is_valid(column))
    if pa.types.is_integer(column.type):
        whole = _filled(column)
        size = np.abs(whole.astype(np.float64))
        valid = given & (size < MICROSECONDS_BELOW)
        unit = np.where(size < SECONDS_BELOW, 1_000_000, np.where(size < MILLISECONDS_BELOW, 1_000, 1))
        return _with_dates(
            np.where(valid, whole, 0).astype(np.int64) * unit, valid, np.where(whole > 0, size, 0)
        )
    numbers = _filled(column.cast(pa.float64()))
    size = np.abs(numbers)
    valid = given & np.isfinite(numbers) & (size < MICROSECONDS_BELOW)
    unit = np.where(size < SECONDS_BELOW, 1e6, np.where(size < MILLISECONDS_BELOW, 1e3, 1.0))
    return _with_dates(
        np.rint(np.where(valid, numbers, 0.0) * unit).astype(np.int64),
        valid,
        np.where(numbers > 0, numbers, 0.0),
    )


def _with_dates(times: np.ndarray, valid: np.ndarray, numbers: np.ndarray) -> Times:
    """Put dates that are written as one number in the place of what they would be as seconds or
    milliseconds.
    """
    counted = np.ones(len(times), dtype=bool)
    may_be = valid & np.isin(np.floor(np.log10(np.maximum(numbers, 1))), (7, 11, 13))
    if may_be.any():
        values, places = np.unique(numbers[may_be], return_inverse=True)
        dates = [written_out(value) for value in values.tolist()]
        known = np.array([date is not None for date in dates])[places]
        rows = np.flatnonzero(may_be)[known]
        times[rows] = np.array([date or 0 for date in dates], dtype=np.int64)[places][known]
        counted[rows] = False
    return Times(times, valid, counted)


def _from_strings(texts: pa.Array) -> Times:
    times = np.zeros(len(texts), dtype=np.int64)
    valid = np.zeros(len(texts), dtype=bool)
    counted = np.zeros(len(texts), dtype=bool)
    numeric = _mask(pc.fill_null(pc.match_substring_regex(texts, _NUMBER_RE2), False))
    dotted = _mask(pc.fill_null(pc.match_substring(texts, "."), False))
    # apart, so that a fraction in one row costs a whole number in another none of its digits
    for rows, whole in ((numeric & ~dotted, True), (numeric & dotted, False)):
        if rows.any():
            found = _from_numbers(_to_numbers(pc.utf8_trim_whitespace(texts.filter(pa.array(rows))), whole))
            times[rows], valid[rows], counted[rows] = found.us, found.valid, found.counted
    for row in np.flatnonzero(~numeric):
        text = texts[int(row)].as_py()
        if text is not None:
            try:
                times[row], valid[row] = parse_time(text), True
            except ValueError:
                continue
    return Times(times, valid, counted)


def _to_numbers(texts: pa.Array, whole: bool) -> pa.Array:
    try:
        return pc.cast(pc.replace_substring_regex(texts, r"^\+", ""), pa.int64() if whole else pa.float64())
    except pa.ArrowInvalid:  # longer than 64 bits: no time stamp, but the other rows are
        return pa.array([float(text) for text in texts.to_pylist()], pa.float64())
