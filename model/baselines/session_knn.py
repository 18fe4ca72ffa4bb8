"""Session neighbours: V-SKNN (Ludewig & Jannach, 2018, session weighting by position) and STAN (Garg et al., 2019).

Both find the k training sessions closest to a prefix and let their items vote. V-SKNN decays linearly with the age of
a click; STAN decays exponentially with age (l1), with the time between sessions (l2) and with the distance of a voted item from the match (l3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from model.baselines.query import binary, weighted
from model.sequences import Cases, Sequences
from model.splits import Dataset

DAY_US = 86_400 * 1_000_000


@dataclass(frozen=True)
class Settings:
    """How neighbours are found and how they vote.

    Attributes
    ----------
    neighbours : int
        Sessions that vote.
    linear : bool
        V-SKNN's decay: a click n steps back weighs ``max(0, 1 - n / 10)``; otherwise STAN's ``exp(-n / recency)``.
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
STAN = Settings(neighbours=500, linear=False, recency=0.6, days=7.0, distance=2.0, backward=0.6, rare_items=True)


@dataclass(frozen=True)
class SessionKnn:
    """Votes of the closest training sessions.

    Attributes
    ----------
    sessions : Sequences
        Training sessions.
    incidence : csr_matrix float32, shape (items, sessions)
        Columns divided by the root of their length.
    rarity : ndarray float32, shape (items,)
    """

    sessions: Sequences
    incidence: sparse.csr_matrix
    rarity: np.ndarray
    settings: Settings
    name: str

    @classmethod
    def fit(cls, dataset: Dataset, settings: Settings = VSKNN, name: str = "V-SKNN") -> SessionKnn:
        """Index the training sessions; nothing is learned."""
        return cls.index(dataset.train.select(dataset.train.lengths > 0), len(dataset.catalogue), settings, name)

    @classmethod
    def index(cls, sessions: Sequences, items: int, settings: Settings, name: str) -> SessionKnn:
        """Index sessions, none of them empty, over a catalogue of ``items``."""
        incidence = binary(sessions, items)
        frequency = np.maximum(np.asarray(incidence.sum(axis=0)).ravel(), 1.0)
        rarity = np.log(max(len(sessions), 2) / frequency) if settings.rare_items else np.ones(items)
        lengths = np.sqrt(np.maximum(np.asarray(incidence.sum(axis=1)).ravel(), 1.0))
        return cls(sessions, (sparse.diags(1.0 / lengths) @ incidence).T.tocsr().astype(np.float32), rarity.astype(np.float32), settings, name)

    @classmethod
    def stan(cls, dataset: Dataset, settings: Settings = STAN) -> SessionKnn:
        """Index the training sessions for STAN."""
        return cls.fit(dataset, settings, "STAN")

    def scores(self, cases: Cases) -> np.ndarray:
        """Return one row a case, float32, shape (cases, items)."""
        items = len(self.rarity)
        weights = self._age(cases.prefixes.steps_back)
        similarity = (weighted(cases.prefixes, weights, items) @ self.incidence).tocsr()
        result = np.zeros((len(cases), items), dtype=np.float32)
        # A live prefix without times is one of now: the time of the newest session.
        moments = np.where(cases.prefixes.last_times > 0, cases.prefixes.last_times, self.sessions.times.max(initial=0))
        ended = self.sessions.last_times
        last_used = np.full(items, -1, dtype=np.int64)
        for row in range(len(cases)):
            start, stop = similarity.indptr[row], similarity.indptr[row + 1]
            found, closeness = similarity.indices[start:stop], similarity.data[start:stop]
            if np.isfinite(self.settings.days):
                gap = np.abs(moments[row] - ended[found])
                closeness = closeness * np.exp(-gap / (self.settings.days * DAY_US))
            if len(found) > self.settings.neighbours:
                kept = np.argpartition(closeness, len(closeness) - self.settings.neighbours)[-self.settings.neighbours :]
                found, closeness = found[kept], closeness[kept]
            if len(found):
                self._vote(cases.prefixes[row], found, closeness, last_used, result[row])
        return result

    def _age(self, steps: np.ndarray) -> np.ndarray:
        if self.settings.linear:
            return np.maximum(0.0, 1.0 - steps / 10.0)
        return np.asarray(np.exp(-steps / self.settings.recency))

    def _vote(self, prefix: np.ndarray, found: np.ndarray, closeness: np.ndarray, place_in_prefix: np.ndarray, out: np.ndarray) -> None:
        """Add the votes of the neighbours ``found`` to one row of scores."""
        offsets, lengths = self.sessions.offsets[found], self.sessions.lengths[found]
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        flat = np.arange(bounds[-1]) + np.repeat(offsets - bounds[:-1], lengths)
        items, owner = self.sessions.items[flat], np.repeat(np.arange(len(found)), lengths)
        # The match is the neighbour's click on the prefix's most recent shared item; the later one of equals.
        place_in_prefix[prefix] = np.arange(len(prefix))
        shared = place_in_prefix[items]
        place_in_prefix[prefix] = -1
        width = int(lengths.max()) + 1
        step = np.arange(bounds[-1]) - bounds[owner]
        best = np.maximum.reduceat(np.where(shared >= 0, (shared + 1) * width + step, 0), bounds[:-1])
        match, recent = best % width, best // width - 1
        weight = closeness[owner] * self.rarity[items]
        if self.settings.linear:
            weight = weight * self._age(len(prefix) - 1 - recent)[owner]
        away = step - match[owner]
        if np.isfinite(self.settings.distance):
            weight = weight * np.exp(-np.abs(away) / self.settings.distance)
        if self.settings.backward != 1.0:
            weight = weight * np.where(away < 0, self.settings.backward, 1.0)
        np.add.at(out, items, weight.astype(np.float32))
