"""Transitions between items: first-order Markov, and its decayed form over pairs at a distance.

Garcin et al., 2013 (first order); Ludewig & Jannach, 2018, "sequential rules": pairs at distance d count 1 /
d. Here both the distance in training and the age of a click in the prefix decay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from model.data.decay import last_items
from model.data.sequences import Cases, Sequences
from model.data.splits import Dataset
from model.kernels.compiled import flat
from model.rankers.plan import Asked, Plan
from model.rankers.tables import Rows, SparseTable


@dataclass(frozen=True)
class DecayedMarkov:
    """Scores are sums of transitions from the clicks of a prefix, older clicks weighing less.

    Attributes
    ----------
    transitions : csr_matrix float32, shape (items, items)
        Row a: how much a click on a speaks for each next item.
    query_decay : float
        Weight of a click, per click after it.
    """

    transitions: sparse.csr_matrix
    query_decay: float = 0.8
    name: str = "decayed Markov"

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        *,
        distance: int = 10,
        decay: float = 1.0,
        query_decay: float = 0.6,
        damping: float = 0.3,
        backward: float = 0.0,
    ) -> DecayedMarkov:
        """Count pairs.

        Parameters
        ----------
        dataset : Dataset
        distance : int
            Pairs of clicks farther apart are left out.
        decay : float
            Weight of a pair at distance d is ``decay ** (d - 1) / sqrt(d)``.
        query_decay : float
            Weight of a prefix's click, per click after it.
        damping : float
            Rows are divided by (their sum ** damping): 1 = probabilities, 0 = counts.
        backward : float
            Weight of the pair read against its order; 0 = forward only.
        """
        items = len(dataset.catalogue)
        counts = pair_counts(dataset.train, items, distance, lambda d: decay ** (d - 1) / d**0.5)
        if backward:
            counts = counts + backward * counts.T
        return cls(damped(counts.tocsr(), damping), query_decay)

    @cached_property
    def counted(self) -> np.ndarray:
        """Every item, bool, shape (items,): reasons may name all clicks."""
        return np.ones(self.transitions.shape[0], dtype=bool)

    def table(self, counted: np.ndarray | None = None) -> SparseTable:
        """Return the transitions as kernels read them; reasons name clicks on ``counted`` items, all where
        none is given.
        """
        chosen = self.counted if counted is None else counted
        return SparseTable(Rows.of(self.transitions), self.query_decay, flat(chosen, np.bool_))

    def scores(self, cases: Cases) -> np.ndarray:
        """Return one row a case, float32, shape (cases, items)."""
        plan = Plan([self.table()], [1.0], self.transitions.shape[0])
        votes: np.ndarray = plan.votes(Asked.of(cases))[0][0]
        return votes


@dataclass(frozen=True)
class Markov:
    """Scores are the shares of next items after the last click."""

    transitions: sparse.csr_matrix
    name: str = "first-order Markov"

    @classmethod
    def fit(cls, dataset: Dataset) -> Markov:
        """Count neighbouring pairs and divide by row."""
        return cls(damped(pair_counts(dataset.train, len(dataset.catalogue), 1, lambda d: 1.0), 1.0))

    def scores(self, cases: Cases) -> np.ndarray:
        """Return one row a case, float32, shape (cases, items)."""
        return np.asarray(self.transitions[last_items(cases.prefixes)].toarray())


def pair_counts(
    sequences: Sequences, items: int, distance: int, weight: Callable[[int], float]
) -> sparse.csr_matrix:
    """Sum weights of pairs (earlier click, later click) up to a distance inside a session.

    Parameters
    ----------
    sequences : Sequences
    items : int
    distance : int
    weight : callable
        Distance to weight.

    Returns
    -------
    csr_matrix float32, shape (items, items)
        A repeated item is a transition too, on the diagonal.
    """
    session = np.repeat(np.arange(len(sequences)), sequences.lengths)
    total = sparse.csr_matrix((items, items), dtype=np.float32)
    for step in range(1, min(distance, int(sequences.lengths.max(initial=1)) - 1) + 1):
        together = session[:-step] == session[step:]
        pair = (sequences.items[:-step][together], sequences.items[step:][together])
        values = np.full(len(pair[0]), weight(step), dtype=np.float32)
        total = total + sparse.csr_matrix((values, pair), shape=(items, items))
    return total.astype(np.float32)


def damped(counts: sparse.csr_matrix, power: float) -> sparse.csr_matrix:
    """Divide every row by its sum to a power; empty rows stay empty."""
    sums = np.asarray(counts.sum(axis=1)).ravel()
    scale = np.where(sums > 0, np.maximum(sums, 1e-12) ** -power, 0.0).astype(np.float32)
    return (sparse.diags(scale) @ counts).tocsr().astype(np.float32)
