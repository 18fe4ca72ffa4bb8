"""Item vectors from co-clicks, for networks that have no titles to start from. Knows nothing of networks or
training.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from model.data.sequences import Sequences

REACH = 10  # clicks apart; beyond, a pair says little and the matrix grows
CONTEXT_POWER = 0.75  # of an item's share as a context: rare ones would get the highest ratios by chance
SPECTRUM_POWER = 0.5  # of the singular values
ROUNDS = 4  # of the randomised decomposition


def cooccurrence_vectors(sequences: Sequences, n_items: int, dim: int, scale: float) -> NDArray[np.float32]:
    """Decompose the positive pointwise mutual information of items clicked near each other.

    A pair that is d clicks apart counts 1/d, for d up to ``REACH``, in both directions. Items that occur with
    no other item, and directions that the matrix does not have (fewer items than ``dim``), are left at 0.

    Parameters
    ----------
    sequences : Sequences
        Training only.
    n_items : int
    dim : int
    scale : float
        Root mean square of a coordinate over the items that have a vector.

    Returns
    -------
    ndarray float32, shape (n_items, dim)
        The same for the same sequences.

    References
    ----------
    Levy & Goldberg, 2014, Neural word embedding as implicit matrix factorization (eq. 10 and 11 with k = 1,
    symmetric square root); Levy, Goldberg & Dagan, 2015, Improving distributional similarity (smoothed
    contexts). Items stand for words, sessions for sentences.
    """
    found = np.zeros((n_items, dim), np.float32)
    counts = _near_pairs(sequences, n_items)
    known = np.flatnonzero(np.diff(counts.indptr))
    matrix = _positive_information(counts[known][:, known])
    width = min(dim, matrix.shape[0] - 1)
    if width < 1 or not matrix.nnz:
        return found
    # here: it takes half a second, and models with titles never come here
    from sklearn.utils.extmath import randomized_svd

    left, spectrum, _ = randomized_svd(matrix, width, n_iter=ROUNDS, random_state=0)
    vectors = left * spectrum**SPECTRUM_POWER
    found[known, :width] = vectors * (scale / max(float(np.sqrt(np.mean(vectors**2))), 1e-12))
    return found


def _near_pairs(sequences: Sequences, n_items: int) -> sparse.csr_matrix:
    """Count pairs of different items by nearness, symmetric, float64, shape (n_items, n_items)."""
    items, rows = sequences.items.astype(np.int64), sequences.rows
    total = sparse.csr_matrix((n_items, n_items))
    for reach in range(1, min(REACH, max(int(sequences.lengths.max(initial=0)) - 1, 0)) + 1):
        near = (rows[reach:] == rows[:-reach]) & (items[reach:] != items[:-reach])
        left, right = items[:-reach][near], items[reach:][near]
        total = total + sparse.csr_matrix(
            (np.full(len(left), 1.0 / reach), (left, right)), shape=(n_items, n_items)
        )
    return sparse.csr_matrix(total + total.T)


def _positive_information(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Turn counts into max(0, log P(i, j) / (P(i) P'(j))), where P' is smoothed by ``CONTEXT_POWER``;
    float32, shape as given.
    """
    clicks = np.asarray(counts.sum(axis=1)).ravel()
    context = clicks**CONTEXT_POWER
    context /= max(float(context.sum()), 1e-12)
    pairs = counts.tocoo()
    values = np.log(pairs.data / (clicks[pairs.row] * context[pairs.col]))
    kept = values > 0
    return sparse.csr_matrix(
        (values[kept].astype(np.float32), (pairs.row[kept], pairs.col[kept])), shape=counts.shape
    )
