"""Parts that count clicks: transitions, neighbouring sessions, item-item weights."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import sparse

from model.baselines.choose import choose
from model.baselines.ease import Ease
from model.baselines.markov import DecayedMarkov
from model.baselines.session_knn import STAN, SessionKnn, Settings
from model.items import Catalogue
from model.parts.base import Arrays, Part, Votes, strongest_click
from model.sequences import Cases, Sequences
from model.splits import Dataset


@dataclass(frozen=True)
class Transitions(Part):
    """See the module."""

    ranker: DecayedMarkov
    settings: dict[str, Any] = field(default_factory=dict)

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
        return Transitions(_transitions(self.settings, dataset), self.settings)

    def votes(self, cases: Cases) -> Votes:
        """Return the decayed transitions."""
        return Votes.of(self.ranker.sums(cases))

    def because(self, cases: Cases, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Name the click with the most transitions to the item."""
        return strongest_click(cases, rows, items, self.ranker.query_decay, self.ranker.weights)

    def arrays(self) -> Arrays:
        """Return the transition matrix and the decay."""
        matrix = self.ranker.transitions
        return {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr, "decay": np.array([self.ranker.query_decay])}

    @classmethod
    def of(cls, arrays: Arrays, catalogue: Catalogue) -> Transitions:
        """Rebuild; items that joined the catalogue later have no transitions."""
        known, items = len(arrays["indptr"]) - 1, len(catalogue)
        matrix = sparse.csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape=(known, known))
        matrix.resize((items, items))
        return cls(DecayedMarkov(matrix, float(arrays["decay"][0])))


@dataclass(frozen=True)
class Neighbours(Part):
    """See the module."""

    ranker: SessionKnn

    CANDIDATES: ClassVar[tuple[Settings, ...]] = (
        STAN,
        replace(STAN, recency=2.0, distance=4.0, days=30.0),
        replace(STAN, recency=4.0, distance=np.inf, backward=1.0, rare_items=False),
    )

    @classmethod
    def fit(cls, dataset: Dataset) -> Neighbours:
        """Index the sessions, with the settings that rank best on validation."""
        return cls(choose(dataset, [partial(SessionKnn.stan, settings=settings) for settings in cls.CANDIDATES])[0])

    def refit(self, dataset: Dataset) -> Neighbours:
        """Index other sessions with the same settings."""
        return Neighbours(SessionKnn.stan(dataset, self.ranker.settings))

    def votes(self, cases: Cases) -> Votes:
        """Return the votes of the neighbours."""
        return Votes.of(torch.from_numpy(self.ranker.scores(cases)))

    def because(self, cases: Cases, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Name the click by which the sessions were met that gave the item most votes."""
        return self.ranker.because(cases, rows, items)

    def arrays(self) -> Arrays:
        """Return the sessions and the settings."""
        sessions, chosen = self.ranker.sessions, self.ranker.settings
        # A model folder holds finite numbers only, so that a broken one is told by NaN or infinity: here 0 stands for "does not matter".
        days, distance = (0.0 if np.isinf(value) else value for value in (chosen.days, chosen.distance))
        numbers = [chosen.neighbours, chosen.linear, chosen.recency, days, distance, chosen.backward, chosen.rare_items]
        return {"items": sessions.items, "offsets": sessions.offsets, "times": sessions.times, "settings": np.array(numbers, dtype=np.float64)}

    @classmethod
    def of(cls, arrays: Arrays, catalogue: Catalogue) -> Neighbours:
        """Rebuild the index; the sessions' names are not kept."""
        count, linear, recency, days, distance, backward, rare = arrays["settings"].tolist()
        settings = Settings(int(count), bool(linear), recency, days or np.inf, distance or np.inf, backward, bool(rare))
        total = len(arrays["offsets"]) - 1
        sessions = Sequences([""] * total, arrays["items"], arrays["offsets"], arrays["times"], np.zeros(total, dtype=np.int64))
        return cls(SessionKnn.index(sessions, len(catalogue), settings, "STAN"))


@dataclass(frozen=True)
class Items(Part):
    """See the module."""

    ranker: Ease

    @classmethod
    def fit(cls, dataset: Dataset) -> Items:
        """Solve, with the regulariser that ranks best on validation."""
        return cls(choose(dataset, [partial(_ease, regulariser) for regulariser in (100.0, 500.0)])[0])

    def refit(self, dataset: Dataset) -> Items:
        """Solve again with the same regulariser."""
        return Items(_ease(self.ranker.regulariser, dataset))

    def votes(self, cases: Cases) -> Votes:
        """Return the positive scores."""
        return Votes.of(self.ranker.sums(cases).clamp_(min=0.0))

    def because(self, cases: Cases, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Name the click with the largest weight for the item."""
        table = self.ranker.table.numpy()
        return strongest_click(cases, rows, items, self.ranker.query_decay, lambda clicked, given: table[clicked, given])

    def arrays(self) -> Arrays:
        """Return the weights and the settings."""
        return {"weights": self.ranker.weights, "settings": np.array([self.ranker.query_decay, self.ranker.regulariser])}

    @classmethod
    def of(cls, arrays: Arrays, catalogue: Catalogue) -> Items:
        """Rebuild; items that joined the catalogue later have no weights."""
        more = len(catalogue) - len(arrays["weights"])
        decay, regulariser = arrays["settings"].tolist()
        return cls(Ease(np.pad(arrays["weights"], ((0, more), (0, more))), decay, regulariser))


def _transitions(settings: dict[str, Any], dataset: Dataset) -> DecayedMarkov:
    return DecayedMarkov.fit(dataset, **settings)


def _ease(regulariser: float, dataset: Dataset) -> Ease:
    return Ease.fit(dataset, regulariser=regulariser)
