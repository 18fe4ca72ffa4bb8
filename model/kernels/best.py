"""The best items of a row of scores. Types: rows float32 (items,), places int32."""

from __future__ import annotations

import numpy as np

from model.kernels.compiled import kernel, step

NOTHING = np.float32(-np.inf)
PIECE = 32  # scores that are passed over at once where none of them is among the best


@step
def worse(score, item, other_score, other_item):
    """Whether an item ranks behind another: by score, at equal scores by its later place in the catalogue."""
    return score < other_score or (score == other_score and item > other_item)


@step
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


@step
def some_above(row, begin, end, least):
    """Whether some score of a piece is above another; counted, because that runs in lanes."""
    count = np.int32(0)
    for item in range(begin, end):
        count += np.int32(row[item] > least)
    return count > 0


@step
def take(row, begin, end, count, scores, places):
    """Put the scores of a piece where they belong among the ``count`` best so far, a heap once no room is
    left, and return how many there are then.
    """
    most = len(scores)
    for item in range(begin, end):
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
    return count


@kernel
def best_of(row, scores, places):
    """Write a row's best items and their scores, best first, and return how many there are: -inf and NaN are
    no scores, equal scores go by the place in the catalogue.
    """
    most, count = len(scores), 0
    for begin in range(0, len(row), PIECE):
        end = min(begin + PIECE, len(row))
        if count < most or some_above(row, begin, end, scores[0]):
            count = take(row, begin, end, count, scores, places)
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
