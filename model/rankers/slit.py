"""What is clicked next as a linear function of what was clicked before, in closed form: SLIT of Choi et al.,
2021, "Session-aware linear item-item models for session-based recommendation" (eq. 9-12). The ridge may grow
with how often an item was clicked, as that of Steck, 2020, "Autoencoders that don't overfit towards the
identity" (eq. 4) does.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse

from model.data.sequences import Sequences
from model.data.splits import Dataset
from model.rankers.ease import Ease

LEAST_WEIGHT = 0.03  # of a click: older ones are left out, which changes no weight by more
MOST_ROWS = 300_000  # newest next clicks that are read: some 10 s of one core


def slit(dataset: Dataset, *, regulariser: float, query_decay: float, ridge_power: float = 0.0) -> Ease:
    """Regress the next click on the clicks before it, older ones weighing less.

    EASE explains a session's clicks by one another, whatever their order; here they stand as they will be
    asked: the prefix weighs as at scoring, and the answer is the next click alone.

    Parameters
    ----------
    dataset : Dataset
        Training only; at most some thousand items, as the weights are a dense matrix.
    regulariser : float
        Added to the diagonal, in next clicks, for an item that was clicked as often as the mean of all.
    query_decay : float
        Weight of a click, per click after it.
    ridge_power : float
        An item that was clicked n times as often has n to this power times the regulariser; 0 = all alike,
        1 = as by dropout of clicks.

    Returns
    -------
    Ease
        Weights (items, items) that are read in the same way.
    """
    items = len(dataset.catalogue)
    before, following = windows(dataset.train, items, query_decay)
    gram = np.asfortranarray((before.T @ before).toarray().astype(np.float32))
    gram[np.diag_indices(items)] += ridge(gram.diagonal(), regulariser, ridge_power)
    answers = sparse.csr_matrix(
        (np.ones(len(following), np.float32), (np.arange(len(following)), following)),
        shape=(len(following), items),
    )
    weights = linalg.solve(
        gram, (before.T @ answers).toarray(), assume_a="pos", overwrite_a=True, overwrite_b=True
    )
    return Ease(np.ascontiguousarray(weights, dtype=np.float32), query_decay, regulariser, "SLIT")


def ridge(clicks: np.ndarray, regulariser: float, power: float) -> np.ndarray:
    """Return what is added to the diagonal for items of so many (decayed) clicks, as ``clicks``; an item
    without any counts as clicked once.

    Examples
    --------
    >>> ridge(np.array([0.0, 4.0, 8.0]), 10.0, 0.5).round(1).tolist()
    [5.0, 10.0, 14.1]
    """
    often = np.maximum(clicks, 1.0) / max(float(clicks.mean()), 1.0)
    return np.asarray(regulariser * often**power)


def windows(sessions: Sequences, items: int, decay: float) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Give every next click (the newest ``MOST_ROWS``) with the decayed clicks before it.

    Returns
    -------
    before : csr_matrix float32, shape (next clicks, items)
        Weight 1 for the click just before, ``decay`` for the one before that, and so on.
    following : ndarray int64, shape (next clicks,)

    Examples
    --------
    >>> before, following = windows(Sequences.of([[0, 1, 2]]), 3, 0.5)
    >>> before.toarray().tolist(), following.tolist()
    ([[1.0, 0.0, 0.0], [0.5, 1.0, 0.0]], [1, 2])
    """
    clicked, rows = sessions.items.astype(np.int64), sessions.rows
    answers = np.flatnonzero(rows[1:] == rows[:-1]) + 1
    if len(answers) > MOST_ROWS:
        newest = np.argsort(sessions.times[answers], kind="stable")[-MOST_ROWS:]
        answers = answers[np.sort(newest)]
    reach = 1 if decay <= 0 else 1 + int(np.log(LEAST_WEIGHT) / np.log(min(decay, 0.999)))
    owners, columns, values = [], [], []
    for lag in range(1, reach + 1):
        held = np.flatnonzero(answers >= lag)
        held = held[rows[answers[held] - lag] == rows[answers[held]]]
        owners.append(held)
        columns.append(clicked[answers[held] - lag])
        values.append(np.full(len(held), decay ** (lag - 1), np.float32))
    before = sparse.csr_matrix(
        (np.concatenate(values), (np.concatenate(owners), np.concatenate(columns))),
        shape=(len(answers), items),
    )
    return before, clicked[answers]
