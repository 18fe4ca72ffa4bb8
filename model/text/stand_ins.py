"""Which clicked items speak for an item that nobody clicked: those whose titles share most words with its
own. Knows nothing of scores.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from model.rankers.title_knn import tfidf

NEAREST = 5  # on Beauty's validation 10 rank no better, and 3 worse
LEAST_COSINE = 0.2  # below, titles share what many share, and the ridge map from dense vectors knows more
# of the cosine: a title that differs in the size alone counts much more than one of the same brand
POWER = 2.0
COSINES_AT_ONCE = 12_000_000  # 48 MB
# beyond, the search takes minutes, and items without a click have their ridge vector alone
MOST_ITEMS = 200_000


def stand_ins(texts: Sequence[str], cold: NDArray[np.int64], clicked: NDArray[np.bool_]) -> sparse.csr_matrix:
    """Find the clicked items that stand in for items without a click.

    Parameters
    ----------
    texts : sequence of str
        Of every item; empty without a title.
    cold : ndarray int64, shape (n,)
        Items without a click.
    clicked : ndarray bool, shape (items,)
        Items that may stand in.

    Returns
    -------
    csr_matrix float32, shape (items, items)
        Row of a cold item: shares of its stand-ins, which sum to 1. Every other row, and that of a title
        unlike all others, is empty.

    Examples
    --------
    >>> found = stand_ins(["red shoe", "blue hat", "red boot"], np.array([2]), np.array([True, True, False]))
    >>> found.toarray()[2].tolist()
    [1.0, 0.0, 0.0]
    """
    total = len(texts)
    places = np.flatnonzero(clicked)
    if not len(cold) or not len(places) or total > MOST_ITEMS:
        return sparse.csr_matrix((total, total), dtype=np.float32)
    words = tfidf(texts)
    others = words[places].T.tocsr()
    nearest, step = min(NEAREST, len(places)), max(1, COSINES_AT_ONCE // len(places))
    rows, columns, values = [], [], []
    for start in range(0, len(cold), step):
        part = cold[start : start + step]
        cosines = (words[part] @ others).toarray()
        best = np.argpartition(-cosines, nearest - 1, axis=1)[:, :nearest]
        given = np.take_along_axis(cosines, best, axis=1)
        given = np.where(given < LEAST_COSINE, 0.0, given) ** POWER
        rows.append(np.repeat(part, nearest))
        columns.append(places[best].ravel())
        values.append((given / np.maximum(given.sum(axis=1, keepdims=True), 1e-12)).ravel())
    found = sparse.csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(total, total),
        dtype=np.float32,
    )
    found.eliminate_zeros()
    return found


def by_stand_ins(
    shares: sparse.csr_matrix, learned: NDArray[np.floating], otherwise: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the mean of the stand-ins' rows, and the given rows where an item has none.

    Parameters
    ----------
    shares : csr_matrix, shape (n, items)
        Rows sum to 1 or are empty.
    learned : ndarray, shape (items, dim)
    otherwise : ndarray float32, shape (n, dim)

    Returns
    -------
    ndarray float32, shape (n, dim)
    """
    known = np.diff(shares.indptr)[:, None] > 0
    return np.where(known, shares @ learned, otherwise).astype(np.float32)
