"""Titles as retrieval, without training: items whose title is close to the recent clicks' titles (content-based kNN; Pazzani & Billsus, 2007).

Two spaces: words by TF-IDF, and any dense text encoder (here MiniLM) after centring, because raw text vectors all point one way
(WhitenRec, 2402.10602).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from model.baselines.query import steps_back, weighted
from model.sequences import Cases
from model.splits import Dataset

DECAY = 0.8
REDUCED = 128  # dimensions kept of dense vectors: a third of the time per request


@dataclass(frozen=True)
class TitleKnn:
    """Scores are cosines between the decayed sum of the prefix's title vectors and every title.

    Attributes
    ----------
    vectors : ndarray float32, shape (items, dim)
        Unit rows; zero without a title.
    decay : float
        Weight of a click, per click after it.
    """

    vectors: np.ndarray
    decay: float = DECAY
    name: str = "title kNN (MiniLM)"

    @classmethod
    def fit(cls, dataset: Dataset, *, decay: float = DECAY, dim: int | None = None) -> TitleKnn:
        """Centre the catalogue's text vectors, and reduce them to ``dim`` principal directions (none = all)."""
        if dataset.catalogue.vectors is None:
            raise ValueError("title kNN needs text vectors; give items.* with titles, or leave this ranker out")
        return cls(reduced(dataset.catalogue.vectors, dim), decay)

    def query(self, cases: Cases) -> np.ndarray:
        """Return the decayed sums of the prefixes, unit rows, float32, shape (cases, dim)."""
        return unit(weighted(cases.prefixes, self.decay ** steps_back(cases.prefixes), len(self.vectors)) @ self.vectors)

    def scores(self, cases: Cases) -> np.ndarray:
        """Return cosines, float32, shape (cases, items); 0 for all where no click has a title."""
        return np.asarray(self.query(cases) @ self.vectors.T)


@dataclass(frozen=True)
class WordKnn:
    """The same with sparse TF-IDF vectors of words.

    Attributes
    ----------
    vectors : csr_matrix float32, shape (items, words)
    """

    vectors: sparse.csr_matrix
    decay: float = DECAY
    name: str = "title kNN (TF-IDF)"

    @classmethod
    def fit(cls, dataset: Dataset, *, decay: float = DECAY) -> WordKnn:
        """Weigh the words of all titles."""
        return cls(tfidf(dataset.catalogue.texts), decay)

    @cached_property
    def columns(self) -> sparse.csr_matrix:
        """The vectors by word, float32, shape (words, items); made once, a request must not pay for it."""
        return self.vectors.T.tocsr()

    def scores(self, cases: Cases) -> np.ndarray:
        """Return cosines, float32, shape (cases, items)."""
        query = weighted(cases.prefixes, self.decay ** steps_back(cases.prefixes), self.vectors.shape[0]) @ self.vectors
        lengths = np.sqrt(np.asarray(query.multiply(query).sum(axis=1)).ravel())
        query = sparse.diags((1.0 / np.maximum(lengths, 1e-12)).astype(np.float32)) @ query
        return np.asarray((query @ self.columns).toarray(), dtype=np.float32)


def tfidf(texts: Sequence[str]) -> sparse.csr_matrix:
    """Return TF-IDF rows of length 1 (sublinear counts, words of any script), float32, shape (texts, words)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        return TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", dtype=np.float32).fit_transform(texts).tocsr()
    except ValueError:  # no text holds a word
        return sparse.csr_matrix((len(texts), 1), dtype=np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return rows of length 1, float32; zero rows stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def reduced(vectors: np.ndarray, dim: int | None = None) -> np.ndarray:
    """Centre, optionally keep the ``dim`` strongest directions, and scale rows to length 1.

    Parameters
    ----------
    vectors : ndarray, shape (items, text_dim)
        Zero rows are items without text; they stay zero and do not move the centre.
    dim : int, optional

    Returns
    -------
    ndarray float32, shape (items, dim or text_dim)

    Examples
    --------
    >>> reduced(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])).round(2).tolist()
    [[0.71, -0.71], [-0.71, 0.71], [0.0, 0.0]]
    """
    named = np.abs(vectors).sum(axis=1) > 0
    if not named.any():
        return np.zeros_like(vectors, dtype=np.float32)
    centred = np.where(named[:, None], vectors - vectors[named].mean(axis=0), 0.0).astype(np.float32)
    if dim is not None and dim < vectors.shape[1]:
        _, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
        centred = centred @ directions[:, ::-1][:, :dim].astype(np.float32)
    return unit(centred)
