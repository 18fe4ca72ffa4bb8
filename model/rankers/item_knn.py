"""Item neighbours: items clicked in the same sessions (Sarwar et al., 2001; session form Hidasi et al.,
2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from model.data.decay import binary, weighted
from model.data.sequences import Cases
from model.data.splits import Dataset


@dataclass(frozen=True)
class ItemKnn:
    """Scores are sums of item-item cosines with the prefix's clicks, older clicks weighing less.

    Attributes
    ----------
    similarity : csr_matrix float32, shape (items, items)
        The ``neighbours`` best of each row; no diagonal.
    """

    similarity: sparse.csr_matrix
    query_decay: float = 0.8
    name: str = "item kNN"

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        *,
        neighbours: int = 200,
        shrink: float = 5.0,
        query_decay: float = 0.8,
        long_sessions: float = 0.5,
    ) -> ItemKnn:
        """Compute damped cosines.

        Parameters
        ----------
        dataset : Dataset
        neighbours : int
            Kept per item.
        shrink : float
            Added to the denominator: pairs seen once weigh less.
        query_decay : float
            Weight of a click, per click after it.
        long_sessions : float
            A session of n items gives each pair the weight ``n ** -long_sessions``.
        """
        incidence = binary(dataset.train, len(dataset.catalogue))
        sizes = np.maximum(np.asarray(incidence.sum(axis=1)).ravel(), 1.0)
        together = (incidence.T @ (sparse.diags(sizes**-long_sessions) @ incidence)).tocoo()
        norms = np.sqrt(np.asarray(incidence.sum(axis=0)).ravel())
        values = together.data / (norms[together.row] * norms[together.col] + shrink)
        apart = together.row != together.col
        matrix = sparse.csr_matrix(
            (values[apart], (together.row[apart], together.col[apart])), shape=together.shape
        )
        return cls(strongest(matrix, neighbours), query_decay)

    def scores(self, cases: Cases) -> np.ndarray:
        """Return one row a case, float32, shape (cases, items)."""
        weights = self.query_decay**cases.prefixes.steps_back
        return np.asarray(
            (weighted(cases.prefixes, weights, self.similarity.shape[0]) @ self.similarity).toarray()
        )


def strongest(matrix: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
    """Keep the ``count`` largest values of each row."""
    for row in np.flatnonzero(np.diff(matrix.indptr) > count):
        values = matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]]
        values[np.argpartition(values, len(values) - count)[: len(values) - count]] = 0.0
    matrix.eliminate_zeros()
    return matrix.astype(np.float32)
