"""Judges answers that were really given by the next click of their session, by the rules of the offline
judge: every case counts, an unknown target is a miss, ties are pessimistic. Knows no table and no topic.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.evaluate.metrics import CUTOFFS

DEEPEST = max(CUTOFFS)
ASSUMED, SEEN = "assumed", "impressions"  # what was taken as shown: the whole list, or what the shop says
# divisible by every rank up to DEEPEST: sums of 1 / rank are then whole numbers, whatever their order
RANK_UNIT = 232_792_560
LEVEL_Z = 1.959963984540054  # of a 95 % interval


class Place(NamedTuple):
    """Where and when a record stands in the topic; offsets order one partition, times several."""

    partition: int
    offset: int
    arrival_us: int


class Given(NamedTuple):
    """An answer as it was given.

    Attributes
    ----------
    place : Place
        Of the click that was answered.
    newest_us : int
        Event time of the newest click that it knew.
    items, scores : sequence
        Best first.
    """

    place: Place
    newest_us: int
    items: Sequence[str]
    scores: Sequence[float]


class Event(NamedTuple):
    """A click, or the impression of an item."""

    place: Place
    item: str
    time_us: int


class Verdict(NamedTuple):
    """What an answer was worth.

    Attributes
    ----------
    target : str
        The item that was clicked next.
    rank : int
        Its place among the shown items, from 1, behind those it ties with; 0 = not among the first twenty.
    shown : tuple of int
        Places in the answer, from 0, of the items that were shown, in order; at most twenty.
    basis : str
        ``impressions`` where the shop says what was shown, else ``assumed``.
    """

    target: str
    rank: int
    shown: tuple[int, ...]
    basis: str

    @property
    def hit(self) -> int | None:
        """Place in the answer of the item that was clicked; None for a miss."""
        return self.shown[self.rank - 1] if self.rank else None


def rank_of(target: str, items: Sequence[str], scores: Sequence[float], shown: Sequence[int]) -> int:
    """Rank a target among shown items as the judge does: behind those with the same score; 0 beyond twenty.

    Examples
    --------
    >>> rank_of("b", ["a", "b", "c"], [3.0, 2.0, 2.0], [0, 1, 2]), rank_of("b", ["a", "b"], [3.0, 2.0], [0])
    (3, 0)
    """
    for at, place in enumerate(shown):
        if items[place] == target:
            ties = at + 1
            while ties < len(shown) and scores[shown[ties]] == scores[place]:
                ties += 1
            return ties if ties <= DEEPEST else 0
    return 0


def next_clicks(given: Sequence[Given], clicks: Sequence[Event], gap_us: int | None) -> list[Event | None]:
    """Find the next click of each answer of one session id.

    Parameters
    ----------
    given : sequence of Given
    clicks : sequence of Event
        Every click of the session id once, the answered ones too.
    gap_us : int, optional
        A longer pause ends the session.

    Returns
    -------
    list of Event or None
        The first click by event time of those that arrived behind the answered one and are not older than
        the newest one it knew: what the visitor clicked next, however late it came. A click that came late
        and is older judges no answer that knew of newer ones.

    Examples
    --------
    >>> at = lambda offset: Place(0, offset, offset)
    >>> clicks = [Event(at(0), "a", 0), Event(at(1), "c", 20), Event(at(2), "b", 10)]
    >>> answers = [Given(at(0), 0, [], []), Given(at(1), 20, [], []), Given(at(2), 20, [], [])]
    >>> [found and found.item for found in next_clicks(answers, clicks, None)]
    ['b', None, None]
    """
    places = {event.place.partition for event in clicks} | {one.place.partition for one in given}
    alone = len(places) <= 1

    def arrived(place: Place) -> tuple[int, int, int]:
        return (place.offset, 0, 0) if alone else (place.arrival_us, place.partition, place.offset)

    ordered = sorted(clicks, key=lambda event: (event.time_us, arrived(event.place)))
    keys = [(event.time_us, arrived(event.place)) for event in ordered]
    found = list[Event | None]()
    for one in given:
        mine = arrived(one.place)
        at = bisect_left(keys, (one.newest_us, (mine[0], mine[1], mine[2] + 1)))
        while at < len(ordered) and keys[at][1] <= mine:
            at += 1
        after = ordered[at] if at < len(ordered) else None
        over = after is None or (gap_us is not None and after.time_us - one.newest_us > gap_us)
        found.append(None if over else after)
    return found


def judge_session(
    given: Sequence[Given], clicks: Sequence[Event], impressions: Sequence[Event], gap_us: int | None
) -> list[Verdict | None]:
    """Judge all answers of one session id.

    Parameters
    ----------
    given, clicks, gap_us
        As `next_clicks`.
    impressions : sequence of Event
        Items that were really shown, as far as the shop says so. A session with any of them is judged by
        them alone: an item of the answer counts as shown when its impression lies between the newest click
        that the answer knew and the next one.

    Returns
    -------
    list of Verdict or None
        None where nothing was clicked next, or nothing of the answer was shown.
    """
    seen = sorted((event.time_us, event.item) for event in impressions)
    verdicts = list[Verdict | None]()
    for one, after in zip(given, next_clicks(given, clicks, gap_us), strict=True):
        if after is None:
            verdicts.append(None)
            continue
        shown = list(range(len(one.items)))
        if seen:
            first, last = bisect_left(seen, (one.newest_us, "")), bisect_left(seen, (after.time_us + 1, ""))
            items = {item for _, item in seen[first:last]}
            shown = [place for place in shown if one.items[place] in items]
        rank = rank_of(after.item, one.items, one.scores, shown)
        known = Verdict(after.item, rank, tuple(shown[:DEEPEST]), SEEN if seen else ASSUMED)
        verdicts.append(known if shown or not seen else None)
    return verdicts


def whole_gains(rank: int) -> tuple[int, ...]:
    """Give what a case adds: hits at the cutoffs, then 1 / rank at them in units of 1 / RANK_UNIT.

    Examples
    --------
    >>> whole_gains(6)
    (0, 1, 1, 0, 38798760, 38798760)
    """
    hits = tuple([int(0 < rank <= k) for k in CUTOFFS])
    return (*hits, *[RANK_UNIT // rank if hit else 0 for hit in hits])


class Sums(NamedTuple):
    """Sums over the session ids of groups of cases: arrays of shape (groups,), those of gains (groups, 6).

    Attributes
    ----------
    cases, squared_cases : arrays
        Number of cases, and the sum over sessions of its square.
    sessions : array
    gains, squared_gains, gains_by_cases : arrays
        Of each session's sum of gains (`whole_gains`): sum, sum of squares, sum of products with its cases.
    """

    cases: NDArray[np.float64]
    squared_cases: NDArray[np.float64]
    sessions: NDArray[np.float64]
    gains: NDArray[np.float64]
    squared_gains: NDArray[np.float64]
    gains_by_cases: NDArray[np.float64]


def intervals(sums: Sums) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Means and 95 % intervals over sessions, each of shape (groups, 6).

    Returns
    -------
    mean, low, high : arrays
        Hits at 5, 10, 20, then MRR at them. The interval is that of a ratio of sums over independent sessions
        (Taylor linearisation; Cochran, Sampling Techniques, 1977, section 6.4), which a bootstrap over
        sessions comes to with many of them. Where no case or every case is a hit, the exact one of as many
        trials as there are sessions (Clopper & Pearson, 1934); with one session nothing is known: 0 to 1.
    """
    units = np.array([1.0] * len(CUTOFFS) + [float(RANK_UNIT)] * len(CUTOFFS))
    cases, groups = sums.cases[:, None], sums.sessions[:, None]
    gains, squared, crossed = sums.gains / units, sums.squared_gains / units**2, sums.gains_by_cases / units
    mean = gains / cases
    spread = squared - 2 * mean * crossed + mean**2 * sums.squared_cases[:, None]
    variance = np.maximum(spread, 0) / cases**2 * groups / np.maximum(groups - 1, 1)
    half = LEVEL_Z * np.sqrt(variance)
    low, high = np.clip(mean - half, 0, 1), np.clip(mean + half, 0, 1)
    exact = 0.025 ** (1 / groups)
    low = np.where(mean == 0, 0.0, np.where(mean == 1, exact, low))
    high = np.where(mean == 1, 1.0, np.where(mean == 0, 1 - exact, high))
    alone = groups == 1
    return mean, np.where(alone, 0.0, low), np.where(alone, 1.0, high)


def measured(sums: Sums) -> list[dict[str, Any]]:
    """Name the figures of every group as the table does: ``hit_5``, ``hit_5_low`` ... ``mrr_20_high``."""
    names = [f"{metric}_{k}" for metric in ("hit", "mrr") for k in CUTOFFS]
    means, lows, highs = (np.round(part, 12).tolist() for part in intervals(sums))
    found = list[dict[str, Any]]()
    for mean, low, high in zip(means, lows, highs, strict=True):
        row = dict(zip(names, mean, strict=True))
        row |= {f"{name}_low": value for name, value in zip(names, low, strict=True)}
        row |= {f"{name}_high": value for name, value in zip(names, high, strict=True)}
        found.append(row)
    return found
