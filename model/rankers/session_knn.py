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

from model.data.decay import binary
from model.data.sequences import Cases, Sequences
from model.data.splits import Dataset
from model.kernels.compiled import flat
from model.rankers.plan import Asked, Plan
from model.rankers.tables import NeighbourTable

DAY_US = 86_400 * 1_000_000
LONGEST = 2_048  # clicks; older ones weigh nothing


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

    @cached_property
    def table(self) -> NeighbourTable:
        """The index as kernels read it."""
        settings, reach = self.settings, int(self.sessions.lengths.max(initial=1))
        away = np.arange(-reach, reach + 1)
        decay = np.exp(-np.abs(away) / settings.distance) * np.where(away < 0, settings.backward, 1.0)
        by_item = self.incidence
        return NeighbourTable(
            (
                flat(by_item.indptr, np.int64),
                flat(by_item.indices, np.int32),
                flat(by_item.data, np.float64),
                flat(self.clicks, np.int64),
            ),
            (
                flat(self._age(np.arange(LONGEST)), np.float64),
                flat(self.ended, np.int64),
                flat(self.sessions.items, np.int32),
                flat(self.sessions.offsets, np.int64),
                flat(self.rarity, np.float64),
                flat(decay, np.float64),
            ),
            settings.linear,
            np.array([settings.days * DAY_US, settings.neighbours]),
            int(self.sessions.times.max(initial=0)),
        )

    def scores(self, cases: Cases) -> np.ndarray:
        """Return one row a case, float32, shape (cases, items)."""
        plan = Plan([self.table], [1.0], len(self.rarity))
        votes: np.ndarray = plan.votes(Asked.of(cases))[0][0]
        return votes

    def _age(self, steps: np.ndarray) -> np.ndarray:
        if self.settings.linear:
            return np.maximum(0.0, 1.0 - steps / 10.0)
        return np.asarray(np.exp(-steps / self.settings.recency))
