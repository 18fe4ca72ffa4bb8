"""Which click of a prefix ``items[begin:end]`` speaks most for a recommended item: the one with the largest
decayed weight, the oldest of equals; -1 where none does.
"""

from __future__ import annotations

import numpy as np

from model.kernels.compiled import step
from model.kernels.cosines import dot


@step
def entry_of(columns, begin, end, column):
    """Find a column among a row's ascending ones; -1 where it is not."""
    low, high = begin, end
    while low < high:
        middle = (low + high) // 2
        if columns[middle] < column:
            low = middle + 1
        else:
            high = middle
    return low if low < end and columns[low] == column else -1


@step
def sparse_click(items, begin, end, decay, data, columns, bounds, counted, item):
    """By item-item weights in sparse form (CSR, ascending); ``counted`` items (1, others 0) can name and be
    named.
    """
    most, found = 0.0, -1
    for place in range(begin, end if counted[item] > 0 else begin):
        row = items[place]
        entry = entry_of(columns, bounds[row], bounds[row + 1], item)
        if entry >= 0 and counted[row] > 0:
            given = decay ** (end - 1 - place) * data[entry]
            if given > most:
                most, found = given, row
    return found


@step
def dense_click(items, begin, end, decay, table, counted, item):
    """By a table of shape (items, items); ``counted`` as of `sparse_click`, empty = all."""
    most, found = 0.0, -1
    for place in range(begin, end if len(counted) == 0 or counted[item] > 0 else begin):
        if len(counted) == 0 or counted[items[place]] > 0:
            given = decay ** (end - 1 - place) * table[items[place], item]
            if given > most:
                most, found = given, items[place]
    return found


@step
def vector_click(items, begin, end, decay, vectors, item):
    """By products of unit vectors, shape (items, dim)."""
    most, found = 0.0, -1
    for place in range(begin, end):
        given = decay ** (end - 1 - place) * dot(vectors[items[place]], vectors[item])
        if given > most:
            most, found = given, items[place]
    return found


@step
def word_click(items, begin, end, decay, data, columns, bounds, item):
    """By products of sparse unit vectors (CSR, ascending), shape (items, words)."""
    most, found = 0.0, -1
    for place in range(begin, end):
        row, total = items[place], np.float32(0)
        for entry in range(bounds[row], bounds[row + 1]):
            other = entry_of(columns, bounds[item], bounds[item + 1], columns[entry])
            if other >= 0:
                total += data[entry] * data[other]
        given = decay ** (end - 1 - place) * total
        if given > most:
            most, found = given, row
    return found
