"""Days of UTC as ranges, and what the lake holds of them. Knows nothing of Dagster and Spark."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feature_repo.contract import tables as columns
from feature_repo.contract.settings import Settings
from spark_jobs.lake.log import DeltaLog

if TYPE_CHECKING:
    import pyarrow.compute as pc

ONE_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, order=True)
class Days:
    """All days from one to another, both included.

    Examples
    --------
    >>> str(Days(datetime.date(2026, 1, 1), datetime.date(2026, 1, 3)))
    '2026-01-01..2026-01-03'
    """

    first: datetime.date
    last: datetime.date

    def __str__(self) -> str:
        """Return one date, or two with dots between them."""
        return self.first.isoformat() if self.first == self.last else f"{self.first}..{self.last}"

    @classmethod
    def parse(cls, text: str) -> Days:
        """Read what `__str__` wrote.

        Examples
        --------
        >>> Days.parse("2026-01-01").last
        datetime.date(2026, 1, 1)
        """
        first, _, last = text.partition("..")
        return cls(datetime.date.fromisoformat(first), datetime.date.fromisoformat(last or first))

    def dates(self) -> list[datetime.date]:
        """List the days."""
        return [self.first + ONE_DAY * place for place in range((self.last - self.first).days + 1)]


def ranges(dates: Iterable[str]) -> list[Days]:
    """Join days that follow each other, so that a job does them in one go.

    Parameters
    ----------
    dates : iterable of str
        ISO dates in any order.

    Returns
    -------
    list of Days
        Oldest first.

    Examples
    --------
    >>> [str(part) for part in ranges(["2026-01-03", "2026-01-01", "2026-01-02", "2026-02-01"])]
    ['2026-01-01..2026-01-03', '2026-02-01']
    """
    found: list[Days] = []
    for day in sorted({datetime.date.fromisoformat(date) for date in dates}):
        if found and found[-1].last + ONE_DAY == day:
            found[-1] = Days(found[-1].first, day)
        else:
            found.append(Days(day, day))
    return found


def clicks_by_day(settings: Settings, days: Days) -> dict[datetime.date, int]:
    """Count the clicks of each day; days without any are 0."""
    import pyarrow.compute as pc

    found = dict.fromkeys(days.dates(), 0)
    if DeltaLog(settings.table(columns.CLICKS)).version() >= 0:
        clicks = DeltaLog(settings.table(columns.CLICKS)).read(["event_date"], filter=on_days(days))
        found |= {row["values"]: row["counts"] for row in pc.value_counts(clicks["event_date"]).to_pylist()}
    return found


def clicks_digest(settings: Settings, days: Days) -> str:
    """Hash which clicks the lake holds of some days: nothing else decides what the jobs of these days make.

    Parameters
    ----------
    settings : Settings
        Where the table is.
    days : Days
        Which days; clicks of other days, and commits that touch only these, change nothing.

    Returns
    -------
    str
        16 hexadecimal digits; empty before the first click.
    """
    import pyarrow.compute as pc

    path = settings.table(columns.CLICKS)
    if DeltaLog(path).version() < 0:
        return ""
    # Clicks are only ever added, each commit with an ingest time of its own.
    clicks = DeltaLog(path).read(["event_date", "ingest_time"], filter=on_days(days))
    counted = (
        clicks.group_by(["event_date", "ingest_time"])
        .aggregate([([], "count_all")])
        .sort_by([("event_date", "ascending"), ("ingest_time", "ascending")])
    )
    rows = zip(
        counted["event_date"].to_pylist(),
        pc.cast(counted["ingest_time"], "int64").to_pylist(),
        counted["count_all"].to_pylist(),
        strict=True,
    )
    return hashlib.sha256("\n".join(f"{day} {at} {number}" for day, at, number in rows).encode()).hexdigest()[
        :16
    ]


def on_days(days: Days) -> pc.Expression:
    """Return the filter that keeps the rows of some days, by the column `event_date`."""
    import pyarrow.compute as pc

    return (pc.field("event_date") >= days.first) & (pc.field("event_date") <= days.last)
