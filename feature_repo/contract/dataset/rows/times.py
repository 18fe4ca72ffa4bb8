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

DAY_US, HOUR_US, QUARTER_US = (seconds * 1_000_000 for seconds in (86_400, 3_600, 900))
CLOCKS = 3  # two tell a midnight in summer and in winter, a third that times of day are times of day
LEAST_DAYS = 3  # rows, and days from first to last: fewer may stand at one time of day by chance
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
    clocks : frozenset of int
        Times of day of the taken rows, microseconds; at most ``CLOCKS`` of them.
    first, last : float
        Smallest and largest time of the taken rows, microseconds UTC.
    """

    rows: int = 0
    early: int = 0
    later: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    written: bool = False
    clocks: frozenset[int] = frozenset()
    first: float = float("inf")
    last: float = float("-inf")

    def __add__(self, other: TimeFacts) -> TimeFacts:
        """Join the facts of two parts of a file."""
        return TimeFacts(
            self.rows + other.rows,
            self.early + other.early,
            self.later + other.later,
            min(self.low, other.low),
            max(self.high, other.high),
            self.written or other.written,
            frozenset(sorted(self.clocks | other.clocks)[:CLOCKS]),
            min(self.first, other.first),
            max(self.last, other.last),
        )

    @property
    def days_only(self) -> bool:
        """Whether the times are days: all at midnight UTC, or for days on end at that of another zone, which
        moves by an hour in summer.
        """
        if self.clocks <= {0}:
            return self.rows > 1
        low, high = min(self.clocks), max(self.clocks)
        return (
            len(self.clocks) <= 2
            and low % QUARTER_US == 0
            and high - low in (0, HOUR_US, DAY_US - HOUR_US)
            and self.rows >= LEAST_DAYS
            and self.last - self.first >= LEAST_DAYS * DAY_US
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
        frozenset(np.unique(taken % DAY_US)[:CLOCKS].tolist()),
        float(taken.min()) if len(taken) else float("inf"),
        float(taken.max()) if len(taken) else float("-inf"),
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
    if facts.days_only:
        return (f"{file}: event_time holds days without a time of day; the order within a day is the file's",)
    return ()
