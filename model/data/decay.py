"""Prefixes as rows of weights, the form in which count-based rankers read many cases at once."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from model.data.sequences import Sequences


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
