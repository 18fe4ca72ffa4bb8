"""Parts that count clicks: transitions (with stand-ins for what was never clicked), neighbouring sessions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from model.data.catalogue import Catalogue
from model.data.sequences import Sequences
from model.data.splits import Dataset
from model.evaluate.choose import choose
from model.mix.part import Arrays, Part
from model.rankers.markov import DecayedMarkov
from model.rankers.session_knn import SessionKnn, Settings
from model.rankers.tables import Table
from model.rankers.tuning import neighbours as tuned
from model.text.stand_ins import stand_ins

# of the mean count: smaller lent transitions are left out; with all of them the matrix is five times as large
# and ranks no better
SMALLEST_SHARE = 0.3


@dataclass(frozen=True)
class Transitions(Part):
    """See the module. An item without a click has the transitions of the clicked items with the likest
    titles, from it and to it.

    Attributes
    ----------
    ranker : DecayedMarkov
        Stand-ins' transitions included.
    settings : dict
        How the transitions were counted.
    cold : ndarray int64, shape (n,)
        Items whose transitions are those of stand-ins.
    """

    ranker: DecayedMarkov
    settings: dict[str, Any] = field(default_factory=dict)
    cold: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    CANDIDATES: ClassVar[tuple[dict[str, Any], ...]] = (
        {"decay": 1.0, "query_decay": 0.6, "damping": 0.3},
        {"decay": 0.9, "query_decay": 0.8, "damping": 0.5},
        {"decay": 0.8, "query_decay": 0.6, "damping": 0.5, "backward": 0.3},
        {"decay": 0.9, "query_decay": 0.6, "damping": 0.7, "backward": 0.5},
    )

    @classmethod
    def fit(cls, dataset: Dataset) -> Transitions:
        """Count, with the decays that rank best on validation."""
        ranker, place = choose(dataset, [partial(_transitions, settings) for settings in cls.CANDIDATES])
        return cls(ranker, cls.CANDIDATES[place])

    def refit(self, dataset: Dataset) -> Transitions:
        """Count again with the same decays."""
        return Transitions(_transitions(self.settings, dataset), self.settings).lent(dataset)

    def lent(self, dataset: Dataset) -> Transitions:
        """Give items without a click the transitions of their stand-ins."""
        cold = np.flatnonzero(dataset.item_counts == 0)
        return replace(
            self,
            ranker=replace(
                self.ranker,
                transitions=with_stand_ins(self.ranker.transitions, cold, cold, dataset.catalogue),
            ),
            cold=cold,
        )

    @cached_property
    def table(self) -> Table:
        """See Part.table; reasons name no click by what was lent."""
        return self.ranker.table(self.counted)

    @property
    def size(self) -> int:
        """See Part.size."""
        return int(self.ranker.transitions.shape[0])

    @cached_property
    def counted(self) -> np.ndarray:
        """Whether an item's transitions were counted and not lent, bool, shape (items,)."""
        found = np.ones(self.ranker.transitions.shape[0], dtype=bool)
        found[self.cold] = False
        return found

    def arrays(self) -> Arrays:
        """Return the transition matrix, the decay and the items with stand-ins."""
        matrix = self.ranker.transitions
        decay = np.array([self.ranker.query_decay])
        return {
            "data": matrix.data,
            "indices": matrix.indices,
            "indptr": matrix.indptr,
            "decay": decay,
            "cold": self.cold,
        }

    @classmethod
    def of(cls, arrays: Arrays, catalogue: Catalogue) -> Transitions:
        """Rebuild; items that joined the catalogue later have the transitions of their stand-ins. Older
        folders know no stand-ins for the others.
        """
        known, items = len(arrays["indptr"]) - 1, len(catalogue)
        matrix = sparse.csr_matrix(
            (arrays["data"], arrays["indices"], arrays["indptr"]), shape=(known, known)
        )
        matrix.resize((items, items))
        joined = np.arange(known, items, dtype=np.int64)
        cold = np.concatenate([np.asarray(arrays.get("cold", joined[:0]), dtype=np.int64), joined])
        return cls(
            DecayedMarkov(with_stand_ins(matrix, joined, cold, catalogue), float(arrays["decay"][0])),
            cold=cold,
        )


@dataclass(frozen=True)
class Neighbours(Part):
    """See the module."""

    ranker: SessionKnn

    @classmethod
    def fit(cls, dataset: Dataset) -> Neighbours:
        """Index the sessions, with the settings of the family of V-SKNN and STAN that rank best on
        validation.
        """
        return cls(tuned(dataset))

    def refit(self, dataset: Dataset) -> Neighbours:
        """Index other sessions with the same settings."""
        return Neighbours(SessionKnn.stan(dataset, self.ranker.settings))

    @property
    def table(self) -> Table:
        """See Part.table."""
        return self.ranker.table

    @property
    def size(self) -> int:
        """See Part.size."""
        return len(self.ranker.rarity)

    def arrays(self) -> Arrays:
        """Return the sessions and the settings."""
        sessions, chosen = self.ranker.sessions, self.ranker.settings
        # A model folder holds finite numbers only, so that a broken one is told by NaN or infinity: here 0
        # stands for "does not matter".
        days, distance = (0.0 if np.isinf(value) else value for value in (chosen.days, chosen.distance))
        numbers = [
            chosen.neighbours,
            chosen.linear,
            chosen.recency,
            days,
            distance,
            chosen.backward,
            chosen.rare_items,
        ]
        return {
            "items": sessions.items,
            "offsets": sessions.offsets,
            "times": sessions.times,
            "settings": np.array(numbers, dtype=np.float64),
        }

    @classmethod
    def of(cls, arrays: Arrays, catalogue: Catalogue) -> Neighbours:
        """Rebuild the index; the sessions' names are not kept."""
        count, linear, recency, days, distance, backward, rare = arrays["settings"].tolist()
        settings = Settings(
            int(count), bool(linear), recency, days or np.inf, distance or np.inf, backward, bool(rare)
        )
        total = len(arrays["offsets"]) - 1
        sessions = Sequences(
            [""] * total, arrays["items"], arrays["offsets"], arrays["times"], np.zeros(total, dtype=np.int64)
        )
        return cls(SessionKnn.index(sessions, len(catalogue), settings, "STAN"))


def with_stand_ins(
    transitions: sparse.csr_matrix, places: np.ndarray, cold: np.ndarray, catalogue: Catalogue
) -> sparse.csr_matrix:
    """Lend the transitions of like titles to items without a click.

    Parameters
    ----------
    transitions : csr_matrix float32, shape (items, items)
    places : ndarray int64, shape (n,)
        Items that get transitions.
    cold : ndarray int64
        Items that do not lend any: all without a click.
    catalogue : Catalogue

    Returns
    -------
    csr_matrix float32, shape (items, items)
        With the mean of the stand-ins' rows as an item's row, and of their columns as its column.
    """
    if not len(places) or not catalogue.has_text or not transitions.nnz:
        return transitions
    clicked = np.ones(len(catalogue), dtype=bool)
    clicked[cold] = False
    shares = stand_ins(catalogue.texts, places, clicked)
    least = SMALLEST_SHARE * float(transitions.data.mean())
    rows = transitions + _large(shares @ transitions, least)
    return (rows + _large(rows @ shares.T, least)).tocsr().astype(np.float32)


def _large(matrix: sparse.csr_matrix, least: float) -> sparse.csr_matrix:
    found = matrix.tocsr()
    found.data[found.data < least] = 0.0
    found.eliminate_zeros()
    return found


def _transitions(settings: dict[str, Any], dataset: Dataset) -> DecayedMarkov:
    return DecayedMarkov.fit(dataset, **settings)
