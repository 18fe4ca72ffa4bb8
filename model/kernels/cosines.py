"""Products of session vectors with item vectors, and cosines as votes: ``exp(sharpness * cosine)``.

Types: vectors float32, rows in one piece; items int32, offsets int64.
"""

from __future__ import annotations

import numpy as np

from model.kernels.compiled import kernel, summing
from model.kernels.sums import LEAST, add_rows

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


@kernel
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


@summing
def total_of(values):
    """Return the sum of a row."""
    total = np.float32(0)
    for item in range(len(values)):
        total += values[item]
    return total


@kernel
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


@kernel
def product_votes(items, offsets, decay, vectors, products, sharpness, named, values, scale):
    """Cosines of the clicks' decayed mean with every item, from a table of all items' products.

    ``vectors`` (items, dim) give the length of the mean; where they are empty (items, 0) it comes from the
    products: the squared length of a sum of vectors is the weighted sum of its own products with them.
    """
    query = np.empty(vectors.shape[1], np.float32)
    for session in range(len(offsets) - 1):
        row = values[session]
        add_rows(items, offsets, session, decay, products, row)
        if len(query):
            add_rows(items, offsets, session, decay, vectors, query)
            square = float(dot(query, query))
        else:
            square, weight = 0.0, 1.0
            for place in range(offsets[session + 1] - 1, offsets[session] - 1, -1):
                square += weight * row[items[place]]
                weight *= decay
        scale[session] = sharpen(row, np.float32(np.sqrt(max(square, 0.0))), sharpness, named)


@kernel
def vector_votes(items, offsets, decay, vectors, sharpness, named, values, scale):
    """The same where such a table would be too large: the mean times every vector."""
    count = len(offsets) - 1
    queries = np.empty((count, vectors.shape[1]), np.float32)
    for session in range(count):
        add_rows(items, offsets, session, decay, vectors, queries[session])
    dots(queries, vectors, values)
    for session in range(count):
        length = np.sqrt(dot(queries[session], queries[session]))
        scale[session] = sharpen(values[session], length, sharpness, named)


@kernel
def view_votes(long, short, short_share, vectors, sharpness, named, values, scale):
    """Cosines of every item with the weighted sum of both intents, each at length 1; ``long`` and ``short``
    have shape (sessions, dim), rows of 0 say nothing.
    """
    queries = np.empty(long.shape, np.float32)
    for session in range(len(long)):
        first = (np.float32(1) - short_share) / max(np.sqrt(dot(long[session], long[session])), TINY)
        second = short_share / max(np.sqrt(dot(short[session], short[session])), TINY)
        for column in range(queries.shape[1]):
            queries[session, column] = first * long[session, column] + second * short[session, column]
    dots(queries, vectors, values)
    for session in range(len(long)):
        length = np.sqrt(dot(queries[session], queries[session]))
        scale[session] = sharpen(values[session], length, sharpness, named)


@kernel
def word_votes(
    items,
    offsets,
    decay,
    data,
    indices,
    bounds,
    by_word,
    by_item,
    by_bounds,
    sharpness,
    values,
    scale,
):
    """Cosines of sparse word vectors: the decayed sum of the clicks' words, then the items of each word.

    Parameters
    ----------
    items, offsets, decay
        Prefixes.
    data, indices, bounds
        Words of every item (CSR), shape (items, words).
    by_word, by_item, by_bounds
        Items of every word (the transpose in CSR): weights, items, bounds.
    sharpness : float32
    values, scale : out
    """
    query = np.zeros(len(by_bounds) - 1, np.float32)
    for session in range(len(offsets) - 1):
        row = values[session]
        row[:] = 0
        weight = 1.0
        for place in range(offsets[session + 1] - 1, offsets[session] - 1, -1):
            for entry in range(bounds[items[place]], bounds[items[place] + 1]):
                query[indices[entry]] += np.float32(weight) * data[entry]
            weight *= decay
        square = 0.0
        for place in range(offsets[session], offsets[session + 1]):
            for entry in range(bounds[items[place]], bounds[items[place] + 1]):
                word = indices[entry]
                factor = query[word]
                query[word] = 0  # each word once
                square += np.float64(factor) * factor
                for spot in range(
                    by_bounds[word] if factor != 0 else by_bounds[word + 1], by_bounds[word + 1]
                ):
                    row[by_item[spot]] += factor * by_word[spot]
        scale[session] = sharpen(row, np.float32(np.sqrt(square)), sharpness, np.empty(0, np.float32))


@kernel
def stretch(rows, length):
    """Bring rows to a length, in place; rows of 0 stay; shape (rows, dim)."""
    for row in range(len(rows)):
        factor = length / max(np.sqrt(dot(rows[row], rows[row])), TINY)
        for column in range(rows.shape[1]):
            rows[row, column] *= factor


@kernel
def softmax_votes(sessions, table, silent, values, scale):
    """The softmax of ``sessions[s] . table[i]``; ``silent`` items (int64) get nothing.

    Shapes (sessions, dim), (items, dim); values, scale : out.
    """
    dots(sessions, table, values)
    for session in range(len(sessions)):
        row = values[session]
        for place in range(len(silent)):
            row[silent[place]] = -np.inf
        exponentials(row, np.float32(1), row.max())
        for place in range(len(silent)):
            row[silent[place]] = 0
        scale[session] = np.float32(1) / max(total_of(row), LEAST)
