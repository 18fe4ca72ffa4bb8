"""Session neighbours: V-SKNN (Ludewig & Jannach, 2018, session weighting by position) and STAN (Garg et al.,
2019).

Both find the k training sessions closest to a prefix and let their items vote. V-SKNN decays linearly with
the age of a click; STAN decays exponentially with age (l1), with the time between sessions (l2) and with the
distance of a voted item from the match (l3).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import sparse

from model.data.decay import binary, expanded
from model.data.sequences import Cases, Sequences
from model.data.splits import Dataset

DAY_US = 86_400 * 1_000_000
# cases x sessions (or items) of one block, 32 MB of places: beyond it the blocks fall out of the caches
PAIRS_AT_ONCE = 4_194_304


@dataclass(frozen=True)
class Settings:
    """How neighbours are found and how they vote.

    Attributes
    ----------
    neighbours : int
        Sessions that vote.
    linear : bool
        V-SKNN's decay: a click n steps back weighs ``max(0, 1 - n / 10)``; otherwise STAN's ``exp(-n /
        recency)``.
    recency : float
        STAN's l1, in clicks.
    days : float
        STAN's l2, in days; infinity = the time between sessions does not matter.
    distance : float
        STAN's l3, in clicks; infinity = every item of a neighbour votes alike.
    backward : float
        Factor for items that stand before the match in the neighbour.
    rare_items : bool
        Votes are weighed by the item's inverse session frequency.
    """

    neighbours: int = 100
    linear: bool = True
    recency: float = 1.0
    days: float = np.inf
    distance: float = np.inf
    backward: float = 1.0
    rare_items: bool = False


VSKNN = Settings()
STAN = Settings(
    neighbours=500, linear=False, recency=0.6, days=7.0, distance=2.0, backward=0.6, rare_items=True
)


@dataclass(frozen=True)
class Found:
    """Neighbours of a block of prefixes, one entry a (prefix, session) pair.

    Attributes
    ----------
    rows, sessions : ndarray int64, shape (neighbours,)
        Prefix of the block, training session; rows do not fall.
    closeness : ndarray float64, shape (neighbours,)
    match : ndarray int64, shape (neighbours,)
        Place, in the flat clicks of training, of the session's last click on the prefix's most recent shared
        item.
    age : ndarray int64, shape (neighbours,)
        Clicks of the prefix after that shared item.
    """

    rows: np.ndarray
    sessions: np.ndarray
    closeness: np.ndarray
    match: np.ndarray
    age: np.ndarray

    def kept(self, places: np.ndarray) -> Found:
        """Return the neighbours named by places or by a mask."""
        return Found(
            self.rows[places],
            self.sessions[places],
            self.closeness[places],
            self.match[places],
            self.age[places],
        )


@dataclass(frozen=True)
class SessionKnn:
    """Votes of the closest training sessions.

    Attributes
    ----------
    sessions : Sequences
        Training sessions.
    incidence : csr_matrix float32, shape (items, sessions)
        Columns divided by the root of their length.
    clicks : ndarray int64, shape (entries of the incidence,)
        For each entry the place of the session's last click on the item in the flat clicks.
    rarity : ndarray float32, shape (items,)
    """

    sessions: Sequences
    incidence: sparse.csr_matrix
    clicks: np.ndarray
    rarity: np.ndarray
    settings: Settings
    name: str
    ended: np.ndarray = field(repr=False)

    @classmethod
    def fit(cls, dataset: Dataset, settings: Settings = VSKNN, name: str = "V-SKNN") -> SessionKnn:
        """Index the training sessions; nothing is learned."""
        return cls.index(
            dataset.train.select(dataset.train.lengths > 0), len(dataset.catalogue), settings, name
        )

    @classmethod
    def index(cls, sessions: Sequences, items: int, settings: Settings, name: str) -> SessionKnn:
        """Index sessions, none of them empty, over a catalogue of ``items``."""
        incidence = binary(sessions, items)
        frequency = np.maximum(np.asarray(incidence.sum(axis=0)).ravel(), 1.0)
        rarity = np.log(max(len(sessions), 2) / frequency) if settings.rare_items else np.ones(items)
        lengths = np.sqrt(np.maximum(np.asarray(incidence.sum(axis=1)).ravel(), 1.0))
        by_item = (sparse.diags(1.0 / lengths) @ incidence).T.tocsr().astype(np.float32)
        by_item.sort_indices()
        # Last click of every (item, session) pair, in the order of the incidence's entries.
        order = np.lexsort((sessions.rows, sessions.items))  # stable, so clicks of a pair stay in order
        item, session = sessions.items[order], sessions.rows[order]
        last = (
            np.append((item[1:] != item[:-1]) | (session[1:] != session[:-1]), True)
            if len(order)
            else np.zeros(0, bool)
        )
        return cls(
            sessions, by_item, order[last], rarity.astype(np.float32), settings, name, sessions.last_times
        )

    @classmethod
    def stan(cls, dataset: Dataset, settings: Settings = STAN) -> SessionKnn:
        """Index the training sessions for STAN."""
        return cls.fit(dataset, settings, "STAN")

    def scores(self, cases: Cases) -> np.ndarray:
        """Return one row a case, float32, shape (cases, items)."""
        items, width = len(self.rarity), max(len(self.rarity), len(self.sessions), 1)
        step = max(1, PAIRS_AT_ONCE // width)
        if len(cases) > step:
            parts = [
                self.scores(cases.select(np.arange(start, min(start + step, len(cases)))))
                for start in range(0, len(cases), step)
            ]
            return np.concatenate(parts)
        places, votes = self._votes(self._neighbours(cases))
        return (
            np.bincount(places, votes, minlength=len(cases) * items)
            .astype(np.float32)
            .reshape(len(cases), items)
        )

    def because(self, cases: Cases, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Name the click of the prefix by which the sessions were found that gave an item most of its votes.

        Parameters
        ----------
        cases : Cases
        rows, items : ndarray int64, shape (n,)
            Item ``items[i]`` of case ``rows[i]``; rows do not fall, no pair twice.

        Returns
        -------
        ndarray int64, shape (n,)
            Place in the prefix, -1 where the item got no vote.
        """
        asked, at = np.unique(rows, return_inverse=True)
        few = cases.select(asked)
        found = self._neighbours(few)
        places, votes = self._votes(found)
        wanted = at * len(self.rarity) + items
        order = np.argsort(wanted, kind="stable")
        pair = np.minimum(np.searchsorted(wanted[order], places), len(wanted) - 1)
        chosen = wanted[order][pair] == places
        ages = np.repeat(found.age, self.sessions.lengths[found.sessions])[chosen]
        width = int(few.prefixes.lengths.max(initial=1))
        table = np.bincount(
            order[pair[chosen]] * width + ages, votes[chosen], minlength=len(wanted) * width
        ).reshape(len(wanted), width)
        best = table.argmax(axis=1)
        return np.where(table[np.arange(len(wanted)), best] > 0, few.prefixes.lengths[at] - 1 - best, -1)

    def _neighbours(self, cases: Cases) -> Found:
        """Closest sessions of every prefix, by the decayed cosine and the time between them."""
        prefixes = cases.prefixes
        # one entry a (click of a prefix, session with its item)
        click, entry = expanded(self.incidence.indptr, prefixes.items)
        session, row = self.incidence.indices[entry].astype(np.int64), prefixes.rows[click]
        ages = prefixes.steps_back
        weights = self._age(ages)[click] * self.incidence.data[entry]
        # A pair's last entry stands for it: the prefix's most recent shared item. No pass over all sessions:
        # only pairs that were met are read.
        pair = row * len(self.sessions) + session
        latest = np.empty(len(cases) * len(self.sessions), dtype=np.int64)
        latest[pair] = np.arange(len(pair))
        whole = latest[pair]
        kept = np.flatnonzero(whole == np.arange(len(pair)))
        number = np.empty(len(pair), dtype=np.int64)
        number[kept] = np.arange(len(kept))
        closeness = np.bincount(number[whole], weights, minlength=len(kept)).astype(np.float64, copy=False)
        found = Found(row[kept], session[kept], closeness, self.clicks[entry[kept]], ages[click[kept]])
        if np.isfinite(self.settings.days):
            # A live prefix without times is one of now: the time of the newest session.
            moments = np.where(prefixes.last_times > 0, prefixes.last_times, self._newest)
            gap = np.abs(moments[found.rows] - self.ended[found.sessions])
            closeness *= np.exp(gap * (-1.0 / (self.settings.days * DAY_US)))
        return self._closest(found, len(cases))

    def _closest(self, found: Found, rows: int) -> Found:
        """Keep the neighbours that may vote; which of equally close ones stay does not depend on the other
        prefixes of the block.
        """
        most = self.settings.neighbours
        counts = np.bincount(found.rows, minlength=rows)
        if counts.max(initial=0) <= most:
            return found
        ends = np.cumsum(counts)
        keep = np.ones(len(found.rows), dtype=bool)
        for end, count in zip(ends[counts > most].tolist(), counts[counts > most].tolist(), strict=True):
            keep[
                end
                - count
                + np.argpartition(found.closeness[end - count : end], count - most)[: count - most]
            ] = False
        return found.kept(keep)

    def _votes(self, found: Found) -> tuple[np.ndarray, np.ndarray]:
        """Places in the flat scores and votes, one a click of a neighbour."""
        settings = self.settings
        owner, click = expanded(self.sessions.offsets, found.sessions)
        item = self.sessions.items[click]
        weight = found.closeness if not settings.linear else found.closeness * self._age(found.age)
        votes = weight[owner]
        if settings.rare_items:
            votes *= self.rarity[item]
        if np.isfinite(settings.distance) or settings.backward != 1.0:
            # The distance from the match decides; every distance that occurs is weighed once.
            reach = int(self.sessions.lengths.max(initial=1))
            away = np.arange(-reach, reach + 1)
            decay = np.exp(-np.abs(away) / settings.distance) * np.where(away < 0, settings.backward, 1.0)
            votes *= decay[click - (found.match - reach)[owner]]
        return found.rows[owner] * len(self.rarity) + item, votes

    def _age(self, steps: np.ndarray) -> np.ndarray:
        if self.settings.linear:
            return np.maximum(0.0, 1.0 - steps / 10.0)
        return np.asarray(np.exp(-steps / self.settings.recency))

    @cached_property
    def _newest(self) -> int:
        return int(self.sessions.times.max(initial=0))
