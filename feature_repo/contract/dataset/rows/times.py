"""Whether the times of clicks are any: row by row, and what they say of a whole file. Knows nothing of files'
forms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from feature_repo.contract.dataset.files.blocks import DatasetFolderError
from feature_repo.contract.dataset.rows.checks import shown
from feature_repo.contract.dataset.rows.columns import one_array
from feature_repo.contract.messages import EARLIEST_US, format_time
from feature_repo.contract.times import EXPECTED, Times, holds_times, likely_unit, read_times

DAY_US = 86_400 * 1_000_000
EARLIEST_WRITTEN_US = (
    31_536_000 * 1_000_000
)  # 1971: a date or time stamp of 1970 is a number whose unit was lost on the way


@dataclass(frozen=True)
class TimeFacts:
    """What the times of some rows are, so that a whole file can be judged.

    Attributes
    ----------
    rows : int
        Rows that were taken.
    early, later : int
        Times that are refused as none because they fall before 2000 (or are too large), and all other
        readable ones.
    low, high : float
        Smallest and largest number among the early ones.
    written : bool
        Some early ones are time stamps or ISO texts.
    days_only : bool
        Each taken row's time is a midnight UTC.
    """

    rows: int = 0
    early: int = 0
    later: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    written: bool = False
    days_only: bool = True

    def __add__(self, other: TimeFacts) -> TimeFacts:
        """Join the facts of two parts of a file."""
        return TimeFacts(
            self.rows + other.rows,
            self.early + other.early,
            self.later + other.later,
            min(self.low, other.low),
            max(self.high, other.high),
            self.written or other.written,
            self.days_only and other.days_only,
        )


def click_times(table: pa.Table, file: str) -> Times:
    """Read the column ``event_time``; raises a ``DatasetFolderError`` where its type holds no points in
    time.
    """
    column = one_array(table, "event_time")
    if not holds_times(column.type):
        raise DatasetFolderError(
            f"{file}: column 'event_time' has the type {column.type}, which is no point in time; write ISO "
            "8601 or a timestamp"
        )
    return read_times(column)


def time_facts(table: pa.Table, times: Times, early: np.ndarray, keep: np.ndarray) -> TimeFacts:
    """Sum up the times of some rows, of which `early` are none of a click and `keep` were taken."""
    taken = times.us[keep]
    low, high = float("inf"), float("-inf")
    counted = early & times.counted
    if counted.any():
        values = [
            float(value) for value in one_array(table, "event_time").filter(pa.array(counted)).to_pylist()
        ]
        low, high = min(values), max(values)
    return TimeFacts(
        int(keep.sum()),
        int(early.sum()),
        int((times.valid & ~early).sum()),
        low,
        high,
        bool((early & ~times.counted).any()),
        not (taken % DAY_US).any(),
    )


def check_times(
    times: Times, now_us: int | None, earliest_us: int, table: pa.Table, problems: dict[int, str]
) -> np.ndarray:
    """Refuse what is no time of a click; return which rows are too early, or are numbers of no known unit."""
    early = times.valid & times.counted & (times.us < earliest_us)
    for row in np.flatnonzero(early):
        moment = int(times.us[row])
        day = format_time(moment)[:10] if abs(moment) < EARLIEST_US else "long before"
        problems.setdefault(
            int(row),
            (
                f"event_time {shown(table, 'event_time', int(row))} is before 2000 ({day} by its size); "
                f"{EXPECTED}"
            ),
        )
    written = times.valid & ~times.counted & (times.us < EARLIEST_WRITTEN_US)
    for row in np.flatnonzero(written):
        value = shown(table, "event_time", int(row))
        problems.setdefault(
            int(row), f"event_time {value} is before 1971, so a unit was lost on the way; {EXPECTED}"
        )
    if now_us is not None:
        for row in np.flatnonzero(times.valid & (times.us > now_us + DAY_US)):
            value = shown(table, "event_time", int(row))
            problems.setdefault(
                int(row), f"event_time {value} is more than a day in the future; check the unit and the zone"
            )
    return np.asarray(early | written | (times.counted & ~times.valid & _given(table)))


def _given(table: pa.Table) -> np.ndarray:
    return ~np.asarray(
        one_array(table, "event_time").is_null(nan_is_null=True).to_numpy(zero_copy_only=False), dtype=bool
    )


def judged(facts: TimeFacts, file: str) -> tuple[str, ...]:
    """Judge the times of a whole file.

    Parameters
    ----------
    facts : TimeFacts
        Of all its rows.
    file : str
        For messages.

    Returns
    -------
    tuple of str
        What the reader should know, one line each.

    Raises
    ------
    DatasetFolderError
        If no time is one of a click; names the likely unit.
    """
    if facts.early and not facts.later:
        counted = facts.high >= facts.low
        what = (
            f"{facts.low:.15g} to {facts.high:.15g}, most likely {likely_unit(facts.low, facts.high)}"
            if counted
            else (
                "time stamps of 1970, most likely numbers whose unit was lost; convert them anew with the "
                "right unit"
            )
        )
        raise DatasetFolderError(
            f"{file}: no event_time is the time of a click ({facts.early:,} rows: {what})"
        )
    if facts.rows > 1 and facts.days_only:
        return (f"{file}: event_time holds days without a time of day; the order within a day is the file's",)
    return ()
