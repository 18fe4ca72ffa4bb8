"""The mix of the sources, its best items, and which source gave most.

Types: values float32 (sources, sessions, items), scales float32 (sources, sessions), items int32, offsets
int64.
"""

from __future__ import annotations

import numpy as np

from model.kernels.compiled import kernel

NOTHING = np.float32(-np.inf)


@kernel
def mixed(values, scales, sides, factors, out):
    """Mix: ``out[s, i] = sum over sides f of factors[f, i] * (sum over its sources q of scales[q, s] *
    values[q, s, i])``.

    Parameters
    ----------
    values, scales
        Votes and what they are multiplied by, weights included.
    sides : int64, shape (sources,)
        Row of ``factors`` that a source is multiplied by.
    factors : float32, shape (sides, items) or (0, 0)
        Empty = 1 everywhere.
    out : float32, shape (sessions, items)
    """
    part = np.empty(out.shape[1], np.float32)
    for session in range(len(out)):
        total = out[session]
        total[:] = 0
        for side in range(max(1, len(factors))):
            for source in range(len(values)):
                if len(factors) == 0 or sides[source] == side:
                    row, scale = values[source, session], scales[source, session]
                    if len(factors) == 0:
                        for item in range(len(total)):
                            total[item] += scale * row[item]
                    else:
                        for item in range(len(total)):
                            part[item] = scale * row[item]
                        for item in range(len(total)):
                            total[item] += factors[side, item] * part[item]


@kernel
def worse(score, item, other_score, other_item):
    """Whether an item ranks behind another: by score, at equal scores by its later place in the catalogue."""
    return score < other_score or (score == other_score and item > other_item)


@kernel
def sink(scores, places, root, count):
    """Restore a heap whose worst item is at the root, after the root changed."""
    while True:
        child = 2 * root + 1
        if child >= count:
            return
        if child + 1 < count and worse(scores[child + 1], places[child + 1], scores[child], places[child]):
            child += 1
        if not worse(scores[child], places[child], scores[root], places[root]):
            return
        scores[root], scores[child] = scores[child], scores[root]
        places[root], places[child] = places[child], places[root]
        root = child


@kernel
def best_of(row, scores, places):
    """Write a row's best items and their scores, best first, and return how many there are: -inf and NaN are
    no scores, equal scores go by the place in the catalogue.
    """
    most, count = len(scores), 0
    for item in range(len(row)):
        score = row[item]
        if count < most:
            if score > NOTHING:
                scores[count], places[count] = score, item
                count += 1
                if count == most:
                    for root in range(most // 2 - 1, -1, -1):
                        sink(scores, places, root, most)
        elif score > scores[0]:
            scores[0], places[0] = score, item
            sink(scores, places, 0, most)
    if count < most:
        for root in range(count // 2 - 1, -1, -1):
            sink(scores, places, root, count)
    for end in range(count - 1, 0, -1):
        scores[0], scores[end] = scores[end], scores[0]
        places[0], places[end] = places[end], places[0]
        sink(scores, places, 0, end)
    return count


@kernel
def best_rows(rows, k):
    """Return the places of the ``k`` best items of every row, best first, int32, shape (rows, k).

    ``k`` is at most the number of items; no row holds -inf or NaN.
    """
    found, scores = np.empty((len(rows), k), np.int32), np.empty(k, np.float32)
    for row in range(len(rows)):
        best_of(rows[row], scores, found[row])
    return found


@kernel
def answers(totals, items, offsets, without_seen, values, scales, sides, factors, scores, places, strongest):
    """Take the best items of every session, and say which source gave each most.

    Parameters
    ----------
    totals : float32, shape (sessions, items)
        Of `mixed`; seen items are set to -inf in place.
    items, offsets
        Prefixes.
    without_seen : bool
    values, scales
        As of `mixed`.
    sides : int64, shape (sources,)
        Row of ``factors``.
    factors : float32, shape (sides, items) or (0, 0)
        What a source's part is multiplied by before the largest is looked for.
    scores : float32, out, shape (sessions, k)
    places : int32, out, shape (sessions, k)
        -1 beyond the items that there are.
    strongest : int32, out, shape (sessions, k)
    """
    for session in range(len(totals)):
        row = totals[session]
        if without_seen:
            for click in range(offsets[session], offsets[session + 1]):
                row[items[click]] = NOTHING
        count = best_of(row, scores[session], places[session])
        places[session, count:] = -1
        for rank in range(count):
            item, most = places[session, rank], NOTHING
            for source in range(len(values)):
                given = scales[source, session] * values[source, session, item]
                if len(factors):
                    given *= factors[sides[source], item]
                if given > most:
                    most, strongest[session, rank] = given, source
