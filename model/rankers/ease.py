"""EASE: the closed-form item-item model (Steck, 2019, "Embarrassingly shallow autoencoders for sparse data",
eq. 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import lapack

from model.data.decay import binary
from model.data.sequences import Cases
from model.data.splits import Dataset
from model.kernels.compiled import flat
from model.rankers.plan import decayed_rows
from model.rankers.tables import DenseTable

# the inverse is dense: 1.6 GB in float32 at 20,000 items, and its time grows with the third power
MOST_ITEMS = 20_000


@dataclass(frozen=True)
class Ease:
    """Scores are the prefix, older clicks weighing less, times the item-item weights.

    Attributes
    ----------
    weights : ndarray float32, shape (items, items)
        Zero diagonal.
    """

    weights: np.ndarray
    query_decay: float = 0.8
    regulariser: float = 200.0
    name: str = "EASE"

    @classmethod
    def fit(cls, dataset: Dataset, *, regulariser: float = 200.0, query_decay: float = 0.8) -> Ease:
        """Solve for the weights.

        Parameters
        ----------
        dataset : Dataset
        regulariser : float
            Lambda of the paper.
        query_decay : float
            Weight of a click, per click after it.

        Raises
        ------
        ValueError
            If the catalogue is larger than ``MOST_ITEMS``, or the matrix cannot be inverted.
        """
        items = len(dataset.catalogue)
        if items > MOST_ITEMS:
            raise ValueError(
                f"EASE needs a dense {items} x {items} matrix; leave it out above {MOST_ITEMS} items"
            )
        incidence = binary(dataset.train, items)
        gram = np.asfortranarray((incidence.T @ incidence).toarray())
        gram[np.diag_indices(items)] += regulariser
        factor, failed = lapack.spotrf(gram, lower=0, overwrite_a=1)
        inverse, broken = lapack.spotri(factor, lower=0, overwrite_c=1)
        if failed or broken:
            raise ValueError(
                f"EASE: the Gram matrix of {items} items is not positive definite; raise the regulariser "
                f"({regulariser})"
            )
        lower = np.tril_indices(1024)
        # only the upper triangle was written; mirrored in blocks, without a copy of the whole
        for start in range(0, items, 1024):
            stop = min(start + 1024, items)
            block = inverse[start:stop, start:stop]
            rows, columns = (index[(lower[0] < len(block)) & (lower[1] < len(block))] for index in lower)
            block[rows, columns] = block[columns, rows]
            inverse[stop:, start:stop] = inverse[start:stop, stop:].T
        inverse /= -np.diag(inverse)[None, :].copy()
        inverse[np.diag_indices(items)] = 0.0
        return cls(inverse, query_decay, regulariser)

    @cached_property
    def table(self) -> DenseTable:
        """The weights as kernels read them."""
        return DenseTable(flat(self.weights, np.float32), self.query_decay)

    def scores(self, cases: Cases) -> np.ndarray:
        """Return one row a case, float32, shape (cases, items)."""
        return decayed_rows(cases.prefixes, self.query_decay, self.table.weights)
