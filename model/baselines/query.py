"""Prefixes as rows of weights, the form in which every count-based ranker reads a case, and their products with item tables."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from model.sequences import Sequences

DENSE_ITEMS = 4_000  # an item x item table has 64 MB there, and a prefix's rows of it are added up in a few microseconds
SUM = 0  # the number of this mode of torch.embedding_bag; its wrapper in torch.nn costs a single prefix more than the sum


def weighted(sequences: Sequences, weights: np.ndarray, items: int) -> sparse.csr_matrix:
    """Return one row a session and one column an item; weights of repeated clicks add up.

    Parameters
    ----------
    sequences : Sequences
    weights : ndarray, shape (clicks,)
    items : int
        Items of the catalogue.

    Returns
    -------
    csr_matrix float32, shape (sessions, items)
    """
    # A copy: sum_duplicates sorts its arrays in place, and these are the sessions themselves.
    parts = (weights.astype(np.float32), sequences.items.copy(), sequences.offsets.copy())
    matrix = sparse.csr_matrix(parts, shape=(len(sequences), items))
    matrix.sum_duplicates()
    return matrix


def binary(sequences: Sequences, items: int) -> sparse.csr_matrix:
    """Return the incidence of sessions and items, 1 where an item was clicked at all."""
    matrix = weighted(sequences, np.ones(sequences.clicks), items)
    matrix.data[:] = 1.0
    return matrix


def last_items(sequences: Sequences) -> np.ndarray:
    """Return the last item of every session, int32, shape (sessions,); sessions must not be empty."""
    return np.asarray(sequences.items[sequences.offsets[1:] - 1])


def decayed(sequences: Sequences, decay: float) -> Tensor:
    """Return each click's weight, ``decay`` to the number of clicks after it, float32, shape (clicks,)."""
    steps = sequences.steps_back
    powers = decay ** np.arange(int(steps.max(initial=0)) + 1)
    return torch.from_numpy(powers.astype(np.float32)[steps])


def decayed_sums(sequences: Sequences, decay: float, table: Tensor) -> Tensor:
    """Add up the rows of a prefix's items, older clicks weighing less: a product with a weighted incidence that only reads the rows it needs.

    Parameters
    ----------
    sequences : Sequences
    decay : float
        Weight of a click, per click after it.
    table : Tensor float32, shape (items, columns)

    Returns
    -------
    Tensor float32, shape (sessions, columns)

    Examples
    --------
    >>> decayed_sums(Sequences.of([[0, 1]]), 0.5, torch.eye(3)).tolist()
    [[0.5, 1.0, 0.0]]
    """
    items, offsets = torch.from_numpy(sequences.items.astype(np.int64)), torch.from_numpy(sequences.offsets)
    found = torch.embedding_bag(table, items, offsets, False, SUM, False, decayed(sequences, decay), True)
    return torch.as_tensor(found[0])


def expanded(bounds: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Name every entry of chosen groups of a flat array.

    Parameters
    ----------
    bounds : ndarray int, shape (groups + 1,)
        Group i has the entries ``bounds[i]:bounds[i + 1]``.
    chosen : ndarray int, shape (n,)
        Groups, repeated ones too.

    Returns
    -------
    owner, entry : ndarray int64, shape (entries,)
        Place in ``chosen``, and place in the flat array.

    Examples
    --------
    >>> [part.tolist() for part in expanded(np.array([0, 2, 3]), np.array([1, 0]))]
    [[0, 1, 1], [2, 0, 1]]
    """
    starts = bounds[chosen].astype(np.int64)
    lengths = bounds[chosen + 1] - starts
    ends = np.cumsum(lengths, dtype=np.int64)
    owner = np.repeat(np.arange(len(chosen)), lengths)
    return owner, np.arange(len(owner)) + (starts - ends + lengths)[owner]


def spread(rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, matrix: sparse.csr_matrix, count: int) -> Tensor:
    """Multiply sparse weights with a sparse matrix into dense rows, without the checks that cost scipy more than a single prefix's product.

    Parameters
    ----------
    rows, columns, weights : ndarray, shape (entries,)
        Entries of the left matrix in any order; doubles add up.
    matrix : csr_matrix, shape (n, m)
    count : int
        Rows of the left matrix.

    Returns
    -------
    Tensor float32, shape (count, m)

    Examples
    --------
    >>> spread(np.array([0, 0]), np.array([0, 2]), np.array([1.0, 2.0]), sparse.identity(3, format="csr"), 1).tolist()
    [[1.0, 0.0, 2.0]]
    """
    owner, flat = expanded(matrix.indptr, columns)
    places = matrix.indices[flat] + (rows.astype(np.int64) * matrix.shape[1])[owner]
    values = matrix.data[flat] * weights.astype(np.float32)[owner]
    found = torch.zeros(count * matrix.shape[1])
    found.scatter_add_(0, torch.from_numpy(places), torch.from_numpy(values.astype(np.float32, copy=False)))
    return found.view(count, matrix.shape[1])
