"""Prefixes as rows of weights, the form in which every count-based ranker reads a case, and their products
with item tables.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from model.data.sequences import Sequences

# an item x item table has 64 MB there, and a prefix's rows of it are added up in a few microseconds
DENSE_ITEMS = 4_000
# the number of this mode of torch.embedding_bag; its wrapper in torch.nn costs a single prefix more than the
# sum
SUM = 0


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


@lru_cache(maxsize=1024)
def powers(decay: float, count: int) -> np.ndarray:
    """Return ``decay`` to the powers 0, 1, ..., count - 1, float32, not to be written to; the few decays and
    lengths that occur are kept.
    """
    found: np.ndarray = (decay ** np.arange(count)).astype(np.float32)
    found.setflags(write=False)
    return found


def decayed(sequences: Sequences, decay: float) -> Tensor:
    """Return each click's weight, ``decay`` to the number of clicks after it, float32, shape (clicks,)."""
    steps = sequences.steps_back
    return torch.from_numpy(powers(decay, int(steps.max(initial=0)) + 1)[steps])


def decayed_sums(sequences: Sequences, decay: float, table: Tensor) -> Tensor:
    """Add up the rows of a prefix's items, older clicks weighing less: a product with a weighted incidence
    that only reads the rows it needs.

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
    starts = bounds[chosen]
    lengths = bounds[chosen + 1] - starts
    ends = lengths.cumsum(dtype=np.int64)
    owner = np.arange(len(chosen)).repeat(lengths)
    return owner, np.arange(len(owner)) + (starts - ends + lengths)[owner]


def spread(
    rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, matrix: sparse.csr_matrix, count: int
) -> Tensor:
    """Multiply sparse weights with a sparse matrix into dense rows, without the checks that cost scipy more
    than a single prefix's product.

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
    >>> spread(
    ...     np.array([0, 0]), np.array([0, 2]), np.array([1.0, 2.0]), sparse.identity(3, format="csr"), 1
    ... ).tolist()
    [[1.0, 0.0, 2.0]]
    """
    owner, flat = expanded(matrix.indptr, columns)
    places = matrix.indices[flat]
    if count > 1:
        places = places + (rows.astype(np.int64) * matrix.shape[1])[owner]
    found = np.zeros(count * matrix.shape[1], dtype=np.float32)
    np.add.at(found, places, matrix.data[flat] * weights.astype(np.float32, copy=False)[owner])
    return torch.from_numpy(found).view(count, matrix.shape[1])


def block(matrix: sparse.csr_matrix, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return some rows and columns of a sparse matrix as a dense one, without the checks of scipy's own
    indexing.

    Parameters
    ----------
    matrix : csr_matrix, shape (n, m)
        No entry stands twice.
    rows : ndarray int, shape (r,)
        Repeated ones too.
    columns : ndarray int, shape (c,)
        All different.

    Returns
    -------
    ndarray, shape (r, c), of the matrix's type

    Examples
    --------
    >>> block(sparse.csr_matrix([[0, 1], [2, 3]]), np.array([1, 0, 1]), np.array([1])).tolist()
    [[3], [1], [3]]
    """
    owner, entry = expanded(matrix.indptr, rows)
    place = np.full(matrix.shape[1], -1, dtype=np.int32)
    place[columns] = np.arange(len(columns), dtype=np.int32)
    column = place[matrix.indices[entry]]
    inside = np.flatnonzero(column >= 0)
    found = np.zeros((len(rows), len(columns)), dtype=matrix.dtype)
    found[owner[inside], column[inside]] = matrix.data[entry[inside]]
    return found


def products(matrix: sparse.csr_matrix, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the products of some rows of a sparse matrix with others of its rows.

    Parameters
    ----------
    matrix : csr_matrix, shape (n, m)
    left, right : ndarray int, shapes (l,) and (r,)
        Rows, repeated ones too.

    Returns
    -------
    ndarray, shape (l, r), of the matrix's type

    Examples
    --------
    >>> products(sparse.csr_matrix([[0, 1], [2, 3]]), np.array([1]), np.array([0, 1])).tolist()
    [[3, 13]]
    """
    owner, entry = expanded(matrix.indptr, right)
    # a few of many columns: the others add nothing
    words, place = np.unique(matrix.indices[entry], return_inverse=True)
    dense = np.zeros((len(words), len(right)), dtype=matrix.dtype)
    np.add.at(dense, (place, owner), matrix.data[entry])
    return block(matrix, left, words) @ dense
