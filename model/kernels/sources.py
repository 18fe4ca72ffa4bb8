"""The sources of a mix as one plan: a row of numbers a source, which says what it is and where its arrays
lie. A new source of the mix is one of these forms with other arrays in it.

``plan`` is int64, shape (sources, WIDTH): the form, the place among the sources that multiply a query with
all vectors (-1 = another), then what the comment at the form's name says: addresses (float32 unless said
otherwise) and sizes. ``numbers`` is float64, shape (sources, NUMBERS).
"""

from __future__ import annotations

import numpy as np

from model.kernels import because, cosines, neighbours, sums
from model.kernels.compiled import step
from model.kernels.cosines import dot
from model.kernels.memory import bounds, doubles, floats, places, table

WIDTH, NUMBERS = 20, 3
SPARSE = 0  # data, columns int32, row bounds int64, entries, counted items as float32; decay
DENSE = 1  # a table (items, items), counted items as of SPARSE or 0 for all; decay
VECTORS = 2  # vectors, dim, named items or 0 for all, products (items, items) or 0; decay, sharpness
WORDS = 3  # data, columns, bounds, entries, the same of the transpose, words, products or 0; decay, sharpness
VIEWS = 4  # vectors, dim, named items or 0; share of the short view, sharpness
CONSTANT = 5  # a row; 1 / its sum
REPEATS = 6  # rates, lags, counts, moods, their rows and columns, borders of both float64
NEIGHBOURS = (
    7  # four arrays of the index, entries; six of `neighbours.neighbour_votes`, sessions, clicks, lengths
)
GIVEN = 8  # a row a session, rows
NETWORK = 9  # item vectors, dim, silent items int64, their number; length of queries, 0 = their own

KIND, PLACE = 0, 1


@step
def length_of(query):
    """Length of a query."""
    return np.sqrt(dot(query, query))


@step
def vectors_of(row, count):
    """Return a multiplying source's vectors, float32, shape (count, dim)."""
    return table(row[2], count, row[3])


@step
def named_of(address, count):
    """Return which items count, as 1; empty where all do."""
    return floats(address, count if address else 0)


@step
def csr_of(row, first, count):
    """Return a sparse matrix of ``count`` rows: data, columns, bounds."""
    return floats(row[first], row[5]), places(row[first + 1], row[5]), bounds(row[first + 2], count + 1)


@step
def index_of(row, count):
    """Return the sessions of every item, as `neighbours.nearest` reads them."""
    return (
        bounds(row[2], count + 1),
        places(row[3], row[6]),
        doubles(row[4], row[6]),
        bounds(row[5], row[6]),
    )


@step
def knn_of(row, count):
    """Return the training sessions, as `neighbours.neighbour_votes` reads them."""
    sessions, clicks, ages, away = row[13], row[14], row[15], row[16]
    return (
        doubles(row[7], ages),
        bounds(row[8], sessions),
        places(row[9], clicks),
        bounds(row[10], sessions + 1),
        doubles(row[11], count),
        doubles(row[12], away),
    )


@step
def query_of(row, numbers, items, begin, end, session, long, short, count, query):
    """Write what a multiplying source multiplies its vectors with, shape (dim,).

    Parameters
    ----------
    row, numbers
        Of the plan.
    session : shape (dim,)
        Of the network.
    long, short : shape (dim,)
        Intents.
    """
    if row[KIND] == VECTORS:
        sums.add_rows(items, begin, end, numbers[0], vectors_of(row, count), query)
    elif row[KIND] == VIEWS:
        cosines.view_query(long, short, np.float32(numbers[0]), query)
    else:
        cosines.stretched(session, np.float32(numbers[0]), query)


@step
def word_votes(row, numbers, items, begin, end, votes):
    """Votes of titles that share words; see `votes_of`."""
    count = len(votes)
    if row[10]:
        sums.add_rows(items, begin, end, numbers[0], table(row[10], count, count), votes)
        length = cosines.product_length(items, begin, end, numbers[0], votes)
    else:
        by_word = floats(row[6], row[5]), places(row[7], row[5]), bounds(row[8], row[9] + 1)
        words = csr_of(row, 2, count)
        length = cosines.word_products(items, begin, end, numbers[0], words, by_word, votes)
    return cosines.sharpen(votes, length, np.float32(numbers[1]), floats(0, 0))


@step
def votes_of(row, numbers, items, begin, end, moment, length, scratch, votes):
    """Write one source's votes for the prefix ``items[begin:end]``, shape (items,), and return their scale.

    Parameters
    ----------
    row, numbers
        Of the plan.
    moment : int64
        Time of the last click, microseconds; 0 = now.
    length : float32
        Of the query of a multiplying source, whose products ``votes`` holds already.
    scratch
        As of `neighbours.nearest`.
    """
    kind, count = row[KIND], len(votes)
    if kind == SPARSE:
        data, columns, starts = csr_of(row, 2, count)
        return sums.sparse_votes(items, begin, end, numbers[0], data, columns, starts, votes)
    if kind == DENSE:
        sums.add_rows(items, begin, end, numbers[0], table(row[2], count, count), votes)
        return sums.shares(votes)
    if kind == VECTORS:
        if row[5]:
            sums.add_rows(items, begin, end, numbers[0], table(row[5], count, count), votes)
            query = np.empty(row[3], np.float32)
            sums.add_rows(items, begin, end, numbers[0], vectors_of(row, count), query)
            length = length_of(query)
        return cosines.sharpen(votes, length, np.float32(numbers[1]), named_of(row[4], count))
    if kind == VIEWS:
        return cosines.sharpen(votes, length, np.float32(numbers[1]), named_of(row[4], count))
    if kind == WORDS:
        return word_votes(row, numbers, items, begin, end, votes)
    if kind == CONSTANT:
        constant = floats(row[2], count)
        for item in range(count):
            votes[item] = constant[item]
        return np.float32(numbers[0])
    if kind == REPEATS:
        return sums.repeat_votes(
            items,
            begin,
            end,
            table(row[2], row[3], row[4]),
            table(row[5], row[6], row[7]),
            doubles(row[8], row[6] - 1),
            doubles(row[9], row[7] - 1),
            votes,
        )
    if kind == NEIGHBOURS:
        when = moment if moment > 0 else row[17]
        index, knn = index_of(row, count), knn_of(row, count)
        return neighbours.neighbour_votes(items, begin, end, when, index, knn, numbers, scratch, votes)
    if kind == NETWORK:
        return cosines.softmax_votes(bounds(row[4], row[5]), votes)
    return np.float32(1)


@step
def name_clicks(row, numbers, items, begin, end, moment, count, scratch, chosen, best, clicked):
    """Write the clicks that speak most for one source's recommendations; left as they are where none does.

    Parameters
    ----------
    count : int
        Items of the catalogue.
    chosen : bool, shape (k,)
        Recommendations whose click is asked for.
    best : int32, shape (k,)
        Recommended items.
    clicked : int32, out, shape (k,)
    """
    kind, decay = row[KIND], numbers[0]
    if kind == NEIGHBOURS:
        when = moment if moment > 0 else row[17]
        index, knn = index_of(row, count), knn_of(row, count)
        neighbours.neighbour_clicks(
            items, begin, end, when, index, knn, numbers, scratch, chosen, best, clicked
        )
        return
    for rank in range(len(best)):
        if chosen[rank]:
            item, found = best[rank], -1
            if kind == SPARSE:
                data, columns, starts = csr_of(row, 2, count)
                counted = floats(row[6], count)
                found = because.sparse_click(items, begin, end, decay, data, columns, starts, counted, item)
            elif kind == DENSE:
                found = because.dense_click(
                    items, begin, end, decay, table(row[2], count, count), named_of(row[3], count), item
                )
            elif (kind == VECTORS and row[5]) or (kind == WORDS and row[10]):
                pairs = table(row[5] if kind == VECTORS else row[10], count, count)
                found = because.dense_click(items, begin, end, decay, pairs, named_of(0, count), item)
            elif kind == VECTORS:
                found = because.vector_click(items, begin, end, decay, vectors_of(row, count), item)
            elif kind == WORDS:
                data, columns, starts = csr_of(row, 2, count)
                found = because.word_click(items, begin, end, decay, data, columns, starts, item)
            if found >= 0:
                clicked[rank] = found
