"""Titles as retrieval, without training: items whose title is close to the recent clicks' titles
(content-based kNN; Pazzani & Billsus, 2007).

Two spaces: words by TF-IDF, and any dense text encoder (here MiniLM) after centring, because raw text vectors
all point one way (WhitenRec, 2402.10602).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
from scipy import sparse

from model.data.decay import weighted
from model.data.sequences import Cases
from model.data.splits import Dataset
from model.kernels.compiled import flat
from model.rankers.plan import decayed_rows
from model.rankers.text_tables import VectorTable, WordTable

DECAY = 0.8
SHARPNESS = 12.0  # cosine -> exp(12 * cosine): the best title then weighs about as much as 100 average ones
WORD = re.compile(r"\w+")
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
        """Centre the catalogue's text vectors, and reduce them to ``dim`` principal directions (none =
        all).
        """
        if dataset.catalogue.vectors is None:
            raise ValueError(
                "title kNN needs text vectors; give items.* with titles, or leave this ranker out"
            )
        return cls(reduced(dataset.catalogue.vectors, dim), decay)

    @cached_property
    def table(self) -> VectorTable:
        """The vectors as kernels read them."""
        return VectorTable(flat(self.vectors, np.float32), self.decay, SHARPNESS)

    def scores(self, cases: Cases) -> np.ndarray:
        """Return cosines, float32, shape (cases, items); 0 for all where no click has a title."""
        queries = decayed_rows(cases.prefixes, self.decay, self.table.vectors)
        return np.asarray(unit(queries) @ self.table.vectors.T)


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
    def table(self) -> WordTable:
        """The vectors as kernels read them."""
        return WordTable(self.vectors, self.decay, SHARPNESS)

    def scores(self, cases: Cases) -> np.ndarray:
        """Return cosines, float32, shape (cases, items); 0 for all where no click has a word."""
        prefixes = cases.prefixes
        weights = self.decay**prefixes.steps_back
        words = weighted(prefixes, weights, self.vectors.shape[0]) @ self.vectors
        lengths = np.sqrt(np.asarray(words.multiply(words).sum(axis=1)))
        return np.asarray((words @ self.vectors.T).toarray() / np.maximum(lengths, 1e-12), dtype=np.float32)


def tfidf(texts: Sequence[str]) -> sparse.csr_matrix:
    """Return TF-IDF rows of length 1, float32, shape (texts, words), words in alphabetical order.

    ``(1 + ln count) * (1 + ln((1 + texts) / (1 + texts with the word)))``, words of any script in small
    letters: what scikit-learn's ``TfidfVectorizer(sublinear_tf=True)`` gives, written out because answers are
    given where it is not installed.

    Examples
    --------
    >>> tfidf(["red shoe", "Red", ""]).toarray().astype(float).round(2).tolist()
    [[0.61, 0.8], [1.0, 0.0], [0.0, 0.0]]
    """
    words = [WORD.findall(text.lower()) for text in texts]
    place_of = {word: place for place, word in enumerate(sorted(set(chain.from_iterable(words))))}
    if not place_of:
        return sparse.csr_matrix((len(texts), 1), dtype=np.float32)
    columns = np.array([place_of[word] for word in chain.from_iterable(words)], dtype=np.int32)
    offsets = np.concatenate([[0], np.cumsum([len(found) for found in words])])
    found = sparse.csr_matrix(
        (np.ones(len(columns), dtype=np.float32), columns, offsets), shape=(len(texts), len(place_of))
    )
    found.sum_duplicates()
    holding = np.bincount(found.indices, minlength=len(place_of)).astype(np.float32)
    rarity = np.log(np.float32(len(texts) + 1) / (holding + 1)) + 1
    found.data = (np.log(found.data) + 1) * rarity[found.indices]
    rows = np.repeat(np.arange(len(texts)), np.diff(found.indptr))
    lengths = np.sqrt(np.bincount(rows, weights=found.data.astype(np.float64) ** 2, minlength=len(texts)))
    found.data = (found.data / lengths[rows]).astype(np.float32)
    return found


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
    >>> reduced(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])).astype(float).round(2).tolist()
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
