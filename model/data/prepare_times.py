"""Times of public click logs as time stamps, where numbers alone would not be taken for times. Knows nothing
of files.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from feature_repo.contract.dataset.folder import DatasetFolderError
from feature_repo.contract.dataset.rows.columns import one_array
from feature_repo.contract.messages import EARLIEST_US, format_time
from feature_repo.contract.times import Times, likely_unit, read_times

UNITS = {  # microseconds in one; days as spreadsheets count them begin at 1899-12-30
    "seconds": 1_000_000,
    "milliseconds": 1_000,
    "microseconds": 1,
    "nanoseconds": 0.001,
    "minutes": 60_000_000,
    "hours": 3_600_000_000,
    "days": 86_400_000_000,
    "spreadsheet-days": 86_400_000_000,
}
_SPREADSHEET_START_DAYS = 25_569
_FIRST_LOG_US = 31_536_000 * 1_000_000  # 1971: the seconds of a log of the nineties are seconds all the same
_TIME = pa.timestamp("us", tz="UTC")


def with_times(clicks: pa.Table, file: str, unit: str | None, say: Callable[[str], None]) -> pa.Table:
    """Write ``event_time`` as time stamps where the file's own numbers would be refused or lose their order.

    Parameters
    ----------
    clicks : pa.Table
        Text columns of ours; ``_offset_ms``, milliseconds to add, goes.
    file : str
        For messages.
    unit : str or None
        What the numbers count, of ``UNITS``.
    say : callable
        Gets one line for the choice made.

    Returns
    -------
    pa.Table
        ``event_time`` as it came (most often), or as time stamps.

    Raises
    ------
    DatasetFolderError
        If a time is no number of the unit, or all are none since 1971; names the likely unit.
    """
    texts = one_array(clicks, "event_time")
    if unit is not None:
        return _replaced(
            clicks,
            _counted(texts, unit, file),
            f"{file}: event_time counts {unit}, written as time stamps",
            say,
        )
    found = read_times(texts)
    if "_offset_ms" in clicks.column_names:
        offset = read_offsets(clicks.column("_offset_ms"), file)
        clicks = clicks.drop_columns(["_offset_ms"])
        if found.valid.all():
            return _replaced(
                clicks, found.us + offset, f"{file}: event_time = eventdate + timeframe (milliseconds)", say
            )
    no_unit = found.counted & ~found.valid & ~np.asarray(texts.is_null(nan_is_null=True))
    early = (found.valid & found.counted & (found.us < EARLIEST_US)) | no_unit
    if not early.any():
        return clicks
    if found.valid.all() and (found.us[found.counted] >= _FIRST_LOG_US).all():
        first = format_time(int(found.us.min()))[:10]
        return _replaced(
            clicks,
            found.us,
            f"{file}: event_time begins in {first}, before 2000, so it is written as time stamps",
            say,
        )
    _refuse_all_early(texts, found, early, file)
    return clicks


def _refuse_all_early(texts: pa.Array, found: Times, early: np.ndarray, file: str) -> None:
    if (found.valid & ~early).any():
        return  # single rows: refused with their line when the folder is read
    numbers = [float(text) for text in texts.filter(pa.array(early)).to_pylist()]
    what = likely_unit(min(numbers), max(numbers))
    raise DatasetFolderError(
        f"{file}: no event_time is the time of a click ({min(numbers):.15g} to {max(numbers):.15g}, most "
        f"likely {what}); see --time-unit"
    )


def read_offsets(column: pa.ChunkedArray, file: str) -> np.ndarray:
    """Read milliseconds to add as microseconds; missing ones are 0."""
    return np.asarray(
        np.rint(_numbers(column.combine_chunks().fill_null("0"), "timeframe", file) * 1_000), dtype=np.int64
    )


def no_numbers(times: pa.Array, unit: str | None) -> dict[int, str]:
    """Say which rows of a column are no number of a unit, by place; none where no unit is named."""
    if unit is None:
        return {}
    return {
        row: f"event_time {str(value)[:64]!r} is no number of {unit}; repair the row, or leave the unit out"
        for row, value in enumerate(times.to_pylist())
        if not _is_number(value)
    }


def _counted(texts: pa.Array, unit: str, file: str) -> np.ndarray:
    numbers = _numbers(texts, "event_time", file)
    since = _SPREADSHEET_START_DAYS if unit == "spreadsheet-days" else 0
    return np.asarray(np.rint((numbers - since) * UNITS[unit]), dtype=np.int64)


def _numbers(texts: pa.Array, name: str, file: str) -> np.ndarray:
    values = texts.to_pylist()
    bad = next((value for value in values if not _is_number(value)), "")
    if bad != "":
        raise DatasetFolderError(
            f"{file}: {name} {bad!r} is no number; leave the unit out, or repair the row"
        )
    return np.array([float(value) for value in values])


def _is_number(value: object) -> bool:
    try:
        return math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _replaced(clicks: pa.Table, times: np.ndarray, note: str, say: Callable[[str], None]) -> pa.Table:
    say(note)
    place = clicks.column_names.index("event_time")
    return clicks.set_column(place, "event_time", pa.array(times, pa.int64()).cast(_TIME))
