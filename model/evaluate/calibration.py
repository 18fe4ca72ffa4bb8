"""Whether a score of 0.1 means one hit in ten: scores of recommended items against how often they were the
next click.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from model.data.sequences import Cases
from model.evaluate.judge import BATCH, Ranker, seen_pairs
from model.evaluate.metrics import CUTOFFS

TOP = CUTOFFS[-1]  # recommended items a case
# scores of a large catalogue are small: finer at the low end
EDGES = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
Z = 1.96  # of a 95 % interval


def calibration(
    ranker: Ranker, cases: Cases, *, without_seen: bool, top: int = TOP, batch: int = BATCH
) -> dict[str, Any]:
    """Compare the scores of the best items with the share of them that was the target.

    Parameters
    ----------
    ranker : Ranker
        Whose scores are meant as probabilities.
    cases : Cases
    without_seen : bool
        Whether a session's own items are left out of its list, as in an answer.
    top : int
        Best items of a case that are looked at.
    batch : int
        Cases scored at a time.

    Returns
    -------
    dict
        ``bins``: for each range of scores with any item its ``low`` and ``high`` end, ``items``, mean
        ``score``, ``hits`` (share), and the ends of the Wilson interval of that share; ``error``: mean
        distance of score and share of hits over items.

    References
    ----------
    Guo et al., 2017, On Calibration of Modern Neural Networks (expected calibration error); Wilson, 1927
    (interval).
    """
    scores, hits = [], []
    for start in range(0, len(cases), batch):
        part = cases.select(np.arange(start, min(start + batch, len(cases))))
        found = np.array(ranker.scores(part), dtype=np.float32)
        if without_seen:
            found[seen_pairs(part)] = -np.inf
        best = np.argpartition(-found, min(top, found.shape[1]) - 1, axis=1)[:, :top]
        values = np.take_along_axis(found, best, axis=1)
        hit = best == part.targets[:, None]
        scores.append(values[np.isfinite(values)])
        hits.append(hit[np.isfinite(values)])
    return summed(
        np.concatenate(scores) if scores else np.zeros(0),
        np.concatenate(hits) if hits else np.zeros(0, dtype=bool),
    )


def summed(scores: np.ndarray, hits: np.ndarray) -> dict[str, Any]:
    """Put scores and hits into ranges of scores.

    Parameters
    ----------
    scores : ndarray float, shape (items,)
        From 0 to 1; larger ones count to the last range.
    hits : ndarray bool, shape (items,)

    Returns
    -------
    dict
        As `calibration`.

    Examples
    --------
    >>> summed(np.array([0.25, 0.25, 0.25, 0.25]), np.array([True, False, False, False]))["error"]
    0.0
    """
    places = np.clip(np.searchsorted(EDGES, scores, side="right") - 1, 0, len(EDGES) - 2)
    bins = []
    for place in range(len(EDGES) - 1):
        inside = places == place
        number = int(inside.sum())
        if number:
            share, low, high = wilson(int(hits[inside].sum()), number)
            score = float(scores[inside].mean())
            bins.append(
                {
                    "low": EDGES[place],
                    "high": EDGES[place + 1],
                    "items": number,
                    "score": score,
                    "hits": share,
                    "hits_low": low,
                    "hits_high": high,
                }
            )
    error = sum(entry["items"] * abs(entry["score"] - entry["hits"]) for entry in bins) / max(1, len(scores))
    return {"bins": bins, "error": round(float(error), 6)}


def wilson(hits: int, number: int) -> tuple[float, float, float]:
    """Return a share and the ends of its 95 % interval; good for small shares too, where the usual one leaves
    [0, 1].

    Examples
    --------
    >>> [round(value, 3) for value in wilson(0, 10)]
    [0.0, 0.0, 0.278]
    """
    share = hits / number
    middle = (share + Z * Z / (2 * number)) / (1 + Z * Z / number)
    half = (
        Z
        / (1 + Z * Z / number)
        * float(np.sqrt(share * (1 - share) / number + Z * Z / (4 * number * number)))
    )
    # rounding apart, the share is inside
    return share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
