"""Products of session vectors with item vectors, and cosines as votes: ``exp(sharpness * cosine)``.

Types: vectors float32, rows in one piece; items int32, offsets int64.
"""

from __future__ import annotations

import numpy as np

from model.kernels.compiled import kernel, step, summing
from model.kernels.sums import LEAST

TILE_NUMBERS = 32_768  # 128 KB of item vectors: they stay in a core's own cache while all sessions meet them
TINY = np.float32(1e-12)


@summing
def dot(left, right):
    """Return the product of two vectors."""
    total = np.float32(0)
    for place in range(len(left)):
        total += left[place] * right[place]
    return total


@kernel
def dots(queries, table, out):
    """``out[s, i] = queries[s] . table[i]``; shapes (sessions, dim), (items, dim), (sessions, items)."""
    width, tile = len(table), max(16, TILE_NUMBERS // table.shape[1])
    for start in range(0, width, tile):
        for session in range(len(queries)):
            query, row = queries[session], out[session]
            for item in range(start, min(start + tile, width)):
                row[item] = dot(query, table[item])


@step
def exponential(x):
    """Return e ** x in single precision, off by 2 units of the last place at most.

    Written out so that the loop around it runs in lanes (Cephes' expf: x = n ln 2 + r, a polynomial of degree
    5 for e ** r).
    """
    x = min(max(x, np.float32(-87.0)), np.float32(88.0))
    n = np.floor(x * np.float32(1.44269504088896341) + np.float32(0.5))
    r = (x - n * np.float32(0.693359375)) - n * np.float32(-2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = (p * r) * r + r + np.float32(1.0)
    return p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@kernel
def exponentials(values, factor, shift):
    """``values = exp(factor * values - shift)``, in place, shape (items,)."""
    for item in range(len(values)):
        values[item] = exponential(factor * values[item] - shift)


@step
def largest_of(values):
    """Return the largest number of a row."""
    most = values[0]
    for item in range(len(values)):
        most = max(most, values[item])
    return most


@summing
def total_of(values):
    """Return the sum of a row."""
    total = np.float32(0)
    for item in range(len(values)):
        total += values[item]
    return total


@step
def sharpen(values, length, sharpness, named):
    """Turn products with a vector of some length into votes, in place, and return ``1 / sum``, or 0 where the
    vector has no direction.

    Parameters
    ----------
    values : float32, shape (items,)
    length : float32
    sharpness : float32
    named : float32, shape (items,) or (0,)
        1 for items with a text; empty = every item has one.
    """
    exponentials(values, sharpness / max(length, TINY), np.float32(0))
    for item in range(len(named)):
        values[item] *= named[item]
    return np.float32(1) / max(total_of(values), LEAST) if length > 0 else np.float32(0)


@step
def product_length(items, begin, end, decay, row):
    """Length of a decayed sum of vectors, from its products with all vectors, shape (items,): its square is
    the weighted sum of the products with its own.
    """
    square, weight = 0.0, 1.0
    for place in range(end - 1, begin - 1, -1):
        square += weight * row[items[place]]
        weight *= decay
    return np.float32(np.sqrt(max(square, 0.0)))


@step
def view_query(long, short, short_share, query):
    """Weighted sum of both intents, each at length 1; rows of 0 say nothing; shapes (dim,)."""
    first = (np.float32(1) - short_share) / max(np.sqrt(dot(long, long)), TINY)
    second = short_share / max(np.sqrt(dot(short, short)), TINY)
    for column in range(len(query)):
        query[column] = first * long[column] + second * short[column]


@step
def word_products(items, begin, end, decay, words, by_word, row):
    """Products of the decayed sum of the clicks' sparse word vectors with every item's; returns its length.

    Parameters
    ----------
    words : tuple
        Words of every item (CSR, shape (items, words)): weights, words, bounds.
    by_word : tuple
        Items of every word, the transpose.
    """
    data, columns, bounds = words
    given, items_of, starts = by_word
    query = np.zeros(len(starts) - 1, np.float32)
    row[:] = 0
    weight = 1.0
    for place in range(end - 1, begin - 1, -1):
        for entry in range(bounds[items[place]], bounds[items[place] + 1]):
            query[columns[entry]] += np.float32(weight) * data[entry]
        weight *= decay
    square = 0.0
    for place in range(begin, end):
        for entry in range(bounds[items[place]], bounds[items[place] + 1]):
            word = columns[entry]
            factor = query[word]
            query[word] = 0  # each word once
            square += np.float64(factor) * factor
            for spot in range(starts[word] if factor != 0 else starts[word + 1], starts[word + 1]):
                row[items_of[spot]] += factor * given[spot]
    return np.float32(np.sqrt(square))


@step
def stretched(source, length, target):
    """Bring a vector to a length, 0 = its own; a vector of 0 stays; shapes (dim,)."""
    factor = length / max(np.sqrt(dot(source, source)), TINY) if length > 0 else np.float32(1)
    for column in range(len(target)):
        target[column] = factor * source[column]


@step
def softmax_votes(silent, row):
    """The softmax of scores; ``silent`` items (int64) get nothing."""
    for place in range(len(silent)):
        row[silent[place]] = -np.inf
    exponentials(row, np.float32(1), largest_of(row))
    for place in range(len(silent)):
        row[silent[place]] = 0
    return np.float32(1) / max(total_of(row), LEAST)
