"""The parts that stand beside the network in the hybrid score, each as rows of probabilities. Knows nothing of weights.

transitions  what followed the recent clicks in other sessions (decayed Markov)
neighbours   what like sessions clicked (STAN)
items        what goes with the clicked items (EASE)
titles       items with titles like those of the recent clicks (dense vectors)
words        the same by TF-IDF
intents      items close to the inferred long and short intents
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Protocol

import numpy as np
from scipy import sparse

from model.baselines.choose import choose
from model.baselines.ease import Ease
from model.baselines.markov import DecayedMarkov
from model.baselines.session_knn import STAN, SessionKnn, Settings
from model.baselines.title_knn import REDUCED, TitleKnn, WordKnn, reduced, tfidf, unit
from model.items import Catalogue
from model.sequences import Cases, Sequences
from model.splits import Dataset

SHARPNESS = 12.0  # cosine -> exp(12 * cosine): the best title then weighs about as much as 100 average ones
LONGEST_SESSIONS = 15.0  # clicks, on average; a vote reads every click of 500 neighbours, and whole user histories are no sessions
QUICK_EASE_ITEMS = 4_000  # 4 s of one core and 64 MB; at 12,000 items a minute and 600 MB in every model folder
MOST_TEXT_ITEMS = 200_000  # beyond, a pass over all title vectors costs more than the whole budget of a request
DECAYS = (0.6, 0.8, 0.95)
Arrays = dict[str, np.ndarray]


class Part(Protocol):
    """A ranker whose rows are probabilities, or all zero where it knows nothing."""

    def probabilities(self, cases: Cases) -> np.ndarray:
        """Return float32, shape (cases, items)."""
        ...

    def arrays(self) -> Arrays:
        """Return what must be saved to score again, beside the catalogue."""
        ...

    def refit(self, dataset: Dataset) -> Part:
        """Return the part with the same settings on other training data."""
        ...


def shares(scores: np.ndarray) -> np.ndarray:
    """Divide rows of non-negative scores by their sum; zero rows stay zero."""
    sums = scores.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(scores, sums, out=np.zeros_like(scores), where=sums > 0), dtype=np.float32)


def sharpened(cosines: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Turn cosines into probabilities; rows without any direction and items without text (``known`` False) get 0."""
    weights = np.exp(SHARPNESS * (cosines - 1.0))
    if known is not None:
        weights *= known
    weights[~cosines.any(axis=1)] = 0.0
    return shares(weights.astype(np.float32))


@dataclass(frozen=True)
class Transitions:
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

    def probabilities(self, cases: Cases) -> np.ndarray:
        """Return the shares of the decayed transitions."""
        return shares(self.ranker.scores(cases))

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
class Neighbours:
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

    def probabilities(self, cases: Cases) -> np.ndarray:
        """Return the shares of the votes."""
        return shares(self.ranker.scores(cases))

    def arrays(self) -> Arrays:
        """Return the sessions and the settings."""
        sessions, chosen = self.ranker.sessions, self.ranker.settings
        numbers = [chosen.neighbours, chosen.linear, chosen.recency, chosen.days, chosen.distance, chosen.backward, chosen.rare_items]
        return {"items": sessions.items, "offsets": sessions.offsets, "times": sessions.times, "settings": np.array(numbers, dtype=np.float64)}

    @classmethod
    def of(cls, arrays: Arrays, catalogue: Catalogue) -> Neighbours:
        """Rebuild the index; the sessions' names are not kept."""
        count, linear, recency, days, distance, backward, rare = arrays["settings"].tolist()
        settings = Settings(int(count), bool(linear), recency, days, distance, backward, bool(rare))
        total = len(arrays["offsets"]) - 1
        sessions = Sequences([""] * total, arrays["items"], arrays["offsets"], arrays["times"], np.zeros(total, dtype=np.int64))
        return cls(SessionKnn.index(sessions, len(catalogue), settings, "STAN"))


@dataclass(frozen=True)
class Items:
    """See the module."""

    ranker: Ease

    @classmethod
    def fit(cls, dataset: Dataset) -> Items:
        """Solve, with the regulariser that ranks best on validation."""
        return cls(choose(dataset, [partial(_ease, regulariser) for regulariser in (100.0, 500.0)])[0])

    def refit(self, dataset: Dataset) -> Items:
        """Solve again with the same regulariser."""
        return Items(_ease(self.ranker.regulariser, dataset))

    def probabilities(self, cases: Cases) -> np.ndarray:
        """Return the shares of the positive scores."""
        return shares(np.maximum(self.ranker.scores(cases), 0.0))

    def arrays(self) -> Arrays:
        """Return the weights and the settings."""
        return {"weights": self.ranker.weights, "settings": np.array([self.ranker.query_decay, self.ranker.regulariser])}

    @classmethod
    def of(cls, arrays: Arrays, catalogue: Catalogue) -> Items:
        """Rebuild; items that joined the catalogue later have no weights."""
        more = len(catalogue) - len(arrays["weights"])
        decay, regulariser = arrays["settings"].tolist()
        return cls(Ease(np.pad(arrays["weights"], ((0, more), (0, more))), decay, regulariser))


@dataclass(frozen=True)
class Titles:
    """See the module."""

    ranker: TitleKnn

    @classmethod
    def fit(cls, dataset: Dataset) -> Titles:
        """Choose the decay on validation; there is nothing else to learn."""
        vectors = reduced(_vectors(dataset.catalogue), REDUCED)
        return cls(choose(dataset, [partial(_titles, vectors, decay) for decay in DECAYS])[0])

    def refit(self, dataset: Dataset) -> Titles:
        """Return the same part: clicks taught it nothing."""
        return self

    def probabilities(self, cases: Cases) -> np.ndarray:
        """Return sharpened cosines."""
        return sharpened(self.ranker.scores(cases), _named(self.ranker.vectors))

    def arrays(self) -> Arrays:
        """Return the decay; the vectors are the catalogue's."""
        return {"decay": np.array([self.ranker.decay])}

    @classmethod
    def of(cls, arrays: Arrays, catalogue: Catalogue) -> Titles:
        """Rebuild from the catalogue, items that joined later included."""
        return cls(TitleKnn(reduced(_vectors(catalogue), REDUCED), float(arrays["decay"][0])))


@dataclass(frozen=True)
class Words:
    """See the module."""

    ranker: WordKnn

    @classmethod
    def fit(cls, dataset: Dataset) -> Words:
        """Choose the decay on validation; there is nothing else to learn."""
        words = tfidf(dataset.catalogue.texts)
        return cls(choose(dataset, [partial(_words, words, decay) for decay in DECAYS])[0])

    def refit(self, dataset: Dataset) -> Words:
        """Return the same part: clicks taught it nothing."""
        return self

    def probabilities(self, cases: Cases) -> np.ndarray:
        """Return sharpened cosines."""
        return sharpened(self.ranker.scores(cases))

    def arrays(self) -> Arrays:
        """Return the decay; the words are the catalogue's."""
        return {"decay": np.array([self.ranker.decay])}

    @classmethod
    def of(cls, arrays: Arrays, catalogue: Catalogue) -> Words:
        """Rebuild from the catalogue, items that joined later included."""
        return cls(WordKnn(tfidf(catalogue.texts), float(arrays["decay"][0])))


@dataclass(frozen=True)
class Intents:
    """See the module; the intents' vectors live in the centred title space, so titles are centred and not reduced.

    Attributes
    ----------
    vectors : ndarray float32, shape (items, dim)
        Unit rows.
    short_share : float
        Weight of the short view; the long view has the rest.
    """

    vectors: np.ndarray
    short_share: float = 0.5

    @classmethod
    def fit(cls, dataset: Dataset) -> Intents:
        """Centre the titles; the views weigh alike."""
        return cls(reduced(_vectors(dataset.catalogue)))

    def refit(self, dataset: Dataset) -> Intents:
        """Return the same part: clicks taught it nothing."""
        return self

    def probabilities(self, cases: Cases) -> np.ndarray:
        """Return sharpened cosines with both intents; a case without intents gets a zero row."""
        views = ((cases.long, 1.0 - self.short_share), (cases.short, self.short_share))
        query = sum((share * unit(view) for view, share in views if view is not None), np.zeros((len(cases), self.vectors.shape[1]), dtype=np.float32))
        return sharpened(unit(query) @ self.vectors.T, _named(self.vectors))

    def arrays(self) -> Arrays:
        """Return the views' weight; the vectors are the catalogue's."""
        return {"short_share": np.array([self.short_share])}

    @classmethod
    def of(cls, arrays: Arrays, catalogue: Catalogue) -> Intents:
        """Rebuild from the catalogue, items that joined later included."""
        return cls(reduced(_vectors(catalogue)), float(arrays["short_share"][0]))


KINDS: dict[str, type[Transitions] | type[Neighbours] | type[Items] | type[Titles] | type[Words] | type[Intents]] = {
    "transitions": Transitions, "neighbours": Neighbours, "items": Items, "titles": Titles, "words": Words, "intents": Intents,
}  # fmt: skip


def applicable(dataset: Dataset) -> tuple[str, ...]:
    """Name the parts that the data allow: text parts need texts, intents need intent vectors on the validation cases."""
    catalogue = dataset.catalogue
    small = len(catalogue) <= MOST_TEXT_ITEMS
    dense = small and catalogue.vectors is not None and bool(catalogue.vectors.any())
    names = ["transitions"]
    names += ["neighbours"] if dataset.train.clicks <= LONGEST_SESSIONS * len(dataset.train) else []
    names += ["items"] if len(catalogue) <= QUICK_EASE_ITEMS else []
    names += ["titles"] if dense else []
    names += ["words"] if small and catalogue.has_text else []
    with_intents = dense and any(view is not None and bool(view.any()) for view in (dataset.valid.long, dataset.valid.short))
    return (*names, "intents") if with_intents else tuple(names)


def _vectors(catalogue: Catalogue) -> np.ndarray:
    if catalogue.vectors is None:
        raise ValueError("this part of the hybrid score needs text vectors; give items.* with titles, or leave it out of `parts`")
    return catalogue.vectors


def _transitions(settings: dict[str, Any], dataset: Dataset) -> DecayedMarkov:
    return DecayedMarkov.fit(dataset, **settings)


def _ease(regulariser: float, dataset: Dataset) -> Ease:
    return Ease.fit(dataset, regulariser=regulariser)


def _titles(vectors: np.ndarray, decay: float, _: Dataset) -> TitleKnn:
    return TitleKnn(vectors, decay)


def _words(vectors: sparse.csr_matrix, decay: float, _: Dataset) -> WordKnn:
    return WordKnn(vectors, decay)


def _named(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(vectors).sum(axis=1) > 0)
