"""The part that says "again": the session's own items, by how often such items came back in training. Knows
nothing of other sessions' items.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from model.data.catalogue import Catalogue
from model.data.sequences import Sequences
from model.data.splits import Dataset
from model.kernels.compiled import flat
from model.mix.part import Arrays, Part
from model.rankers.tables import RepeatTable, Table

LAGS = 50  # clicks; an older click counts as one of 50 ago
COUNTS = 3  # clicks on the item in the session; more count as three
SHARES = np.array([0.0, 0.2, 0.5])  # borders of the share of a session's clicks that repeated an item
LENGTHS = np.array([1, 3, 6, 12])  # borders of a session's length, clicks
PRIOR = 20.0  # trials that a rate of the wider group counts for: rates of rare groups lean on it


@dataclass(frozen=True)
class Repeats(Part):
    """The items of a session, each with the rate at which items clicked so long ago and so often were clicked
    next.

    Rows sum to the rate at which sessions of such a length and with so many repeats so far repeat next (not
    to 1): where little comes back, this part says little. Rates of one group of clicks after another, each
    leaning on the wider group, in the manner of repeat consumption models (Anderson et al., 2014, "The
    dynamics of repeat consumption": recency first, then frequency).

    Attributes
    ----------
    items : int
        Size of the catalogue.
    rates : ndarray float32, shape (LAGS, COUNTS)
        Share of clicks, by clicks since the item's last one (from 1) and clicks on it so far (from 1), that
        came next.
    moods : ndarray float32, shape (len(LENGTHS) + 1, len(SHARES) + 1)
        Share of next clicks that repeat, by the session's length and its share of repeats so far.
    """

    items: int
    rates: np.ndarray
    moods: np.ndarray

    @classmethod
    def fit(cls, dataset: Dataset) -> Repeats:
        """Count what came back in the training sessions."""
        return cls(len(dataset.catalogue), recurrence(dataset.train), moods(dataset.train))

    def refit(self, dataset: Dataset) -> Repeats:
        """Count anew."""
        return Repeats.fit(dataset)

    @cached_property
    def table(self) -> Table:
        """See Part.table: the rates of the session's items, scaled so that a row sums to the session's rate
        of repeats.
        """
        return RepeatTable(
            flat(self.rates, np.float32),
            flat(self.moods, np.float32),
            LENGTHS.astype(np.float64),
            SHARES.astype(np.float64),
        )

    @property
    def size(self) -> int:
        """See Part.size."""
        return self.items

    def arrays(self) -> Arrays:
        """Return the rates."""
        return {"rates": self.rates, "moods": self.moods}

    @classmethod
    def of(cls, arrays: Arrays, catalogue: Catalogue) -> Repeats:
        """Rebuild; items that joined the catalogue later repeat like all others."""
        return cls(
            len(catalogue), np.asarray(arrays["rates"], np.float32), np.asarray(arrays["moods"], np.float32)
        )


def occurrences(sessions: Sequences) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Say of every click when its item is clicked next in the session, the how-manieth click on it this is,
    and whether it is the last.

    Returns
    -------
    following : ndarray int64, shape (clicks,)
        Place in the flat clicks; beyond the last place where the item does not come back.
    nth : ndarray int64, shape (clicks,)
        From 1.
    last : ndarray bool, shape (clicks,)

    Examples
    --------
    >>> [part.tolist() for part in occurrences(Sequences.of([[7, 8, 7]]))]
    [[2, 4, 4], [1, 1, 2], [False, True, True]]
    """
    clicks = sessions.clicks
    # stable: clicks on an item of a session stay in order
    order = np.lexsort((sessions.items, sessions.rows))
    same = np.zeros(clicks, dtype=bool)
    item, row = sessions.items[order], sessions.rows[order]
    same[1:] = (item[1:] == item[:-1]) & (row[1:] == row[:-1])
    starts = np.maximum.accumulate(np.where(same, 0, np.arange(clicks)))
    nth = np.empty(clicks, dtype=np.int64)
    nth[order] = np.arange(clicks) - starts + 1
    following = np.full(clicks, clicks + 1, dtype=np.int64)
    again = np.flatnonzero(same)
    following[order[again - 1]] = order[again]
    return following, nth, following > clicks


def recurrence(sessions: Sequences) -> np.ndarray:
    """Return the rates at which clicked items came next, float32, shape (LAGS, COUNTS); see `Repeats`."""
    following, nth, _ = occurrences(sessions)
    count = np.minimum(nth, COUNTS) - 1
    hits, trials = np.zeros((LAGS, COUNTS)), np.zeros((LAGS, COUNTS))
    for lag in range(1, min(LAGS, int(sessions.lengths.max(initial=1)) - 1) + 1):
        held = (sessions.rows[lag:] == sessions.rows[:-lag]) & (
            following[:-lag] >= np.arange(lag, sessions.clicks)
        )
        back = following[:-lag] == np.arange(lag, sessions.clicks)
        trials[lag - 1] = np.bincount(count[:-lag][held], minlength=COUNTS)
        hits[lag - 1] = np.bincount(count[:-lag][back], minlength=COUNTS)
    whole = hits.sum() / max(trials.sum(), 1.0)
    # A lag leans on all longer ones, so that the longest, seen rarely, do not jump.
    longer = _leaning(hits[::-1].cumsum(axis=0)[::-1].sum(1), trials[::-1].cumsum(axis=0)[::-1].sum(1), whole)
    by_lag = _leaning(hits.sum(1), trials.sum(1), longer)
    return _leaning(hits, trials, by_lag[:, None]).astype(np.float32)


def moods(sessions: Sequences) -> np.ndarray:
    """Return the rates at which sessions repeat next, float32; see `Repeats`."""
    _, nth, _ = occurrences(sessions)
    again = (nth > 1).astype(np.int64)
    position = np.arange(sessions.clicks) - sessions.offsets[:-1][sessions.rows]
    before = np.cumsum(again) - again
    repeated = before - before[np.minimum(sessions.offsets[:-1], max(sessions.clicks - 1, 0))][sessions.rows]
    chosen = position > 0
    group = _mood(position[chosen], repeated[chosen])
    shape = (len(LENGTHS) + 1, len(SHARES) + 1)
    hits, trials = np.zeros(shape), np.zeros(shape)
    np.add.at(hits, group, again[chosen])
    np.add.at(trials, group, 1)
    whole = hits.sum() / max(trials.sum(), 1.0)
    by_share = _leaning(hits.sum(0), trials.sum(0), whole)
    return _leaning(hits, trials, by_share[None, :]).astype(np.float32)


def _mood(lengths: np.ndarray, repeated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    share = repeated / np.maximum(lengths - 1, 1)
    return np.searchsorted(LENGTHS, lengths, side="left"), np.searchsorted(SHARES, share, side="left")


def _leaning(hits: np.ndarray, trials: np.ndarray, prior: np.ndarray | float) -> np.ndarray:
    return np.asarray((hits + PRIOR * prior) / (trials + PRIOR))
