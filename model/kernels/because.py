"""Which click of a prefix speaks most for a recommended item: the one with the largest decayed weight, the
oldest of equals.

Types: items int32, offsets int64, chosen bool (sessions, k), best int32 (sessions, k), clicked int32
(sessions, k): written where ``chosen`` and a click speaks for the item, left as it is elsewhere. counted bool
(items,): items that can name and be named.
"""

from __future__ import annotations

import numpy as np

from model.kernels.compiled import kernel
from model.kernels.cosines import dot


@kernel
def entry_of(indices, begin, end, column):
    """Find a column among a row's ascending ones; -1 where it is not."""
    low, high = begin, end
    while low < high:
        middle = (low + high) // 2
        if indices[middle] < column:
            low = middle + 1
        else:
            high = middle
    return low if low < end and indices[low] == column else -1


@kernel
def sparse_clicks(items, offsets, decay, data, indices, bounds, counted, chosen, best, clicked):
    """By item-item weights in sparse form (CSR, ascending)."""
    for session in range(len(offsets) - 1):
        begin, end = offsets[session], offsets[session + 1]
        for rank in range(best.shape[1]):
            if not chosen[session, rank] or not counted[best[session, rank]]:
                continue
            most = 0.0
            for place in range(begin, end):
                row = items[place]
                entry = entry_of(indices, bounds[row], bounds[row + 1], best[session, rank])
                if entry >= 0 and counted[row]:
                    given = decay ** (end - 1 - place) * data[entry]
                    if given > most:
                        most, clicked[session, rank] = given, row


@kernel
def dense_clicks(items, offsets, decay, table, chosen, best, clicked):
    """By a table of shape (items, items)."""
    for session in range(len(offsets) - 1):
        end = offsets[session + 1]
        for rank in range(best.shape[1]):
            most = 0.0
            for place in range(offsets[session], end if chosen[session, rank] else offsets[session]):
                given = decay ** (end - 1 - place) * table[items[place], best[session, rank]]
                if given > most:
                    most, clicked[session, rank] = given, items[place]


@kernel
def vector_clicks(items, offsets, decay, vectors, chosen, best, clicked):
    """By products of unit vectors, shape (items, dim)."""
    for session in range(len(offsets) - 1):
        end = offsets[session + 1]
        for rank in range(best.shape[1]):
            most = 0.0
            for place in range(offsets[session], end if chosen[session, rank] else offsets[session]):
                given = decay ** (end - 1 - place) * dot(vectors[items[place]], vectors[best[session, rank]])
                if given > most:
                    most, clicked[session, rank] = given, items[place]


@kernel
def word_clicks(items, offsets, decay, data, indices, bounds, chosen, best, clicked):
    """By products of sparse unit vectors (CSR, ascending), shape (items, words)."""
    for session in range(len(offsets) - 1):
        end = offsets[session + 1]
        for rank in range(best.shape[1]):
            most = 0.0
            for place in range(offsets[session], end if chosen[session, rank] else offsets[session]):
                left, right = items[place], best[session, rank]
                total = np.float32(0)
                for entry in range(bounds[left], bounds[left + 1]):
                    other = entry_of(indices, bounds[right], bounds[right + 1], indices[entry])
                    if other >= 0:
                        total += data[entry] * data[other]
                given = decay ** (end - 1 - place) * total
                if given > most:
                    most, clicked[session, rank] = given, left
