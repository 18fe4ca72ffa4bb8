"""Titles as retrieval, without training: items whose title is close to the recent clicks' titles
(content-based kNN; Pazzani & Billsus, 2007).

Two spaces: words by TF-IDF, and any dense text encoder (here MiniLM) after centring, because raw text vectors
all point one way (WhitenRec, 2402.10602).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from model.data.decay import DENSE_ITEMS, decayed, decayed_sums, products, spread
from model.data.sequences import Cases
from model.data.splits import Dataset

DECAY = 0.8
FEW_CASES = 4
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
    def table(self) -> Tensor:
        """The vectors as a tensor, rows in one piece each, float32, shape (items, dim)."""
        return torch.from_numpy(np.ascontiguousarray(self.vectors, dtype=np.float32))

    @cached_property
    def columns(self) -> Tensor:
        """The same, columns in one piece each, float32, shape (dim, items): a single prefix's product with it
        takes a fifth less time.
        """
        return self.table.T.contiguous()

    @cached_property
    def products(self) -> Tensor | None:
        """Cosines of all pairs of items for small catalogues, float32, shape (items, items); none for large
        ones.
        """
        return self.table @ self.table.T if len(self.table) <= DENSE_ITEMS else None

    def cosines(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return cosines of items with items, pair by pair, or for shapes (left, 1) and (right,) each with
        each.
        """
        if self.products is not None:
            return np.asarray(self.products.numpy()[left, right])
        if left.ndim == 2:
            return np.asarray(self.vectors[left[:, 0]] @ self.vectors[right].T)
        return np.asarray(np.einsum("pd,pd->p", self.vectors[left], self.vectors[right]))

    def query(self, cases: Cases) -> tuple[Tensor, Tensor]:
        """Return the decayed sums of the prefixes, float32, shape (cases, dim), and their lengths, shape
        (cases, 1).
        """
        sums = decayed_sums(cases.prefixes, self.decay, self.table)
        return sums, torch.linalg.vector_norm(sums, dim=1, keepdim=True)

    def products_of(self, cases: Cases) -> tuple[Tensor, Tensor]:
        """Return the prefixes' decayed sums times every title, float32, shape (cases, items), and the sums'
        lengths, shape (cases, 1).
        """
        sums, lengths = self.query(cases)
        # reads a few rows, where all titles would go through the cache once more
        if len(cases) <= FEW_CASES and self.products is not None:
            return decayed_sums(cases.prefixes, self.decay, self.products), lengths
        return sums @ self.columns, lengths

    def scores(self, cases: Cases) -> np.ndarray:
        """Return cosines, float32, shape (cases, items); 0 for all where no click has a title."""
        found, lengths = self.products_of(cases)
        return np.asarray(found.div_(lengths.clamp(min=1e-12)).numpy())


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
    def products(self) -> Tensor | None:
        """Products of all pairs of items for small catalogues, float32, shape (items, items); none for large
        ones.
        """
        return (
            torch.from_numpy((self.vectors @ self.vectors.T).toarray())
            if self.vectors.shape[0] <= DENSE_ITEMS
            else None
        )

    def cosines(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return cosines of items with items, pair by pair, or for shapes (left, 1) and (right,) each with
        each.
        """
        if self.products is not None:
            return np.asarray(self.products.numpy()[left, right])
        if left.ndim == 2:
            return products(self.vectors, left[:, 0], right)
        return np.asarray(self.vectors[left].multiply(self.vectors[right]).sum(axis=1)).ravel()

    def products_of(self, cases: Cases) -> tuple[Tensor, Tensor]:
        """Return the prefixes' decayed sums of words times every title, float32, shape (cases, items), and
        the sums' lengths, shape (cases, 1).
        """
        prefixes = cases.prefixes
        weights = decayed(prefixes, self.decay)
        if self.products is not None:
            found = decayed_sums(prefixes, self.decay, self.products)
            # The squared length of a sum of vectors is the weighted sum of its own products with them.
            rows = torch.from_numpy(prefixes.rows)
            parts = found[rows, torch.from_numpy(prefixes.items.astype(np.int64))].mul_(weights)
            return found, torch.zeros(len(prefixes), 1).index_add_(0, rows, parts[:, None]).clamp_(
                min=0.0
            ).sqrt_()
        words = spread(prefixes.rows, prefixes.items, weights.numpy(), self.vectors, len(prefixes))
        # All titles times the few sums: one pass in the order of memory, where lists by word would jump to
        # every title that holds a frequent word.
        found = self.vectors @ words.numpy().T
        return torch.from_numpy(found.T).contiguous(), torch.linalg.vector_norm(words, dim=1, keepdim=True)

    def scores(self, cases: Cases) -> np.ndarray:
        """Return cosines, float32, shape (cases, items); 0 for all where no click has a word."""
        found, lengths = self.products_of(cases)
        return np.asarray(found.div_(lengths.clamp(min=1e-12)).numpy())


def tfidf(texts: Sequence[str]) -> sparse.csr_matrix:
    """Return TF-IDF rows of length 1 (sublinear counts, words of any script), float32, shape (texts,
    words).
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        return (
            TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b", dtype=np.float32)
            .fit_transform(texts)
            .tocsr()
        )
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
