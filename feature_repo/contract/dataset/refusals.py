"""Counts refused rows by the kind of their reason, and tells when they are too many. Knows nothing of files
or tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

SHOWN = 3  # kinds of reason in a message
EXAMPLE_CHARACTERS = 240
_PLACE = re.compile(r"^.{1,255}? line \d+: ")
_VALUE = re.compile(
    r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|(?<![\w.])[+-]?(?:\d[\d.,:]*(?:e[+-]?\d+)?|inf\b)|\bNone\b|\bnan\b"
)


def reason_kind(reason: str) -> str:
    """Return a reason without what differs from row to row: place, values, numbers and remedy.

    Examples
    --------
    >>> reason_kind("clicks.csv line 7: event_time '31-02-2020' is no timestamp; expected ISO 8601")
    'event_time ... is no timestamp'
    >>> reason_kind("clicks.parquet line 5: item_id 1.23e+16 is no whole number below 9,007")
    'item_id ... is no whole number below ...'
    >>> reason_kind("clicks.parquet line 5: item_id None is blank; give every click an item id")
    'item_id ... is blank'
    """
    return _VALUE.sub("...", _PLACE.sub("", reason).split("; ", 1)[0])


@dataclass
class Tally:
    """Refused rows by kind of reason.

    Attributes
    ----------
    counts : dict
        Kind to number of rows.
    examples : dict
        Kind to the first whole reason.
    """

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reasons: Iterable[str]) -> None:
        """Count reasons."""
        for reason in reasons:
            kind = reason_kind(reason)
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self.examples.setdefault(kind, reason)

    @property
    def total(self) -> int:
        """Rows in all."""
        return sum(self.counts.values())

    def ranked(self) -> dict[str, int]:
        """Return kinds and counts, the most frequent first."""
        return dict(sorted(self.counts.items(), key=lambda pair: (-pair[1], pair[0])))

    def summary(self) -> str:
        """Return the most frequent kinds with an example each, in one line; empty when nothing was refused.

        Examples
        --------
        >>> tally = Tally()
        >>> tally.add(
        ...     ["c.csv line 2: item_id '' is blank; give one", "c.csv line 3: item_id '' is blank; give one"]
        ... )
        >>> tally.summary()
        "2 x item_id ... is blank (c.csv line 2: item_id '' is blank; give one)"
        """
        chosen = list(self.ranked().items())[:SHOWN]
        parts = [f"{count:,} x {kind} ({_short(self.examples[kind])})" for kind, count in chosen]
        more = len(self.counts) - len(chosen)
        return ", ".join(parts) + (f", and {more} more kinds of reason" if more else "")


def _short(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= EXAMPLE_CHARACTERS else line[:EXAMPLE_CHARACTERS] + "..."


def too_many(name: str, tally: Tally, taken: int, limit: float) -> str:
    """Return the one line that stops a run whose refused rows are more than a share of all; empty where they
    are not.

    Parameters
    ----------
    name : str
        Of the dataset.
    tally : Tally
    taken : int
        Clicks that were taken.
    limit : float
        ``dataset.max_refused_share``, 0 to 1.

    Examples
    --------
    >>> too_many(
    ...     "shop",
    ...     Tally({"event_time ... is no timestamp": 2}, {"event_time ... is no timestamp": "line 2: x"}),
    ...     98,
    ...     0.1,
    ... )
    ''
    """
    share = tally.total / max(1, tally.total + taken)
    if share <= limit:
        return ""
    return (
        f"'{name}': {tally.total:,} of {tally.total + taken:,} rows refused ({share:.1%}), more than "
        f"dataset.max_refused_share = {limit:g}; most frequent: {tally.summary()}; correct the files, or "
        "raise the setting (INTENTSTORE_DATASET__MAX_REFUSED_SHARE)"
    )
