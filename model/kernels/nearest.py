"""Nearest rows by cosine, exactly: a first pass over rows rounded to 8 bits, then the few that rounding could
have hidden, in float32.

With q' and v' the rounded forms, ``q . v - q' . v' = (q - q') . v + q' . (v - v')``: rows of length 1 at most
are off by no more than a margin, so every row among the true best is within two margins of the k-th best of
the rounded ones.

Types: vectors and queries float32, codes int8, places int32.
"""

from __future__ import annotations

import numpy as np

from model.kernels.best import best_of, worse
from model.kernels.compiled import kernel, step, summing
from model.kernels.cosines import TINY, dot
from model.kernels.sums import add_rows

LARGEST = np.float32(127)
ROUNDING = np.float32(1e-5)  # of a length: what float32 itself may lose, so that a margin stays one
TILE_BYTES = 131_072  # of codes: they stay in a core's own cache while all queries meet them
QUERIES_AT_ONCE = 16


@step
def round_row(row, codes):
    """Write a row as 8-bit integers; returns their unit, and the square of what was lost."""
    most = np.float32(1e-12)
    for column in range(len(row)):
        most = max(most, abs(row[column]))
    step = most / LARGEST
    lost = 0.0
    for column in range(len(row)):
        code = np.rint(row[column] / step)
        codes[column] = np.int8(code)
        lost += (row[column] - code * step) ** 2
    return step, lost


@kernel
def round_rows(rows, codes, steps):
    """Round all rows, shapes (n, dim) and (n,); returns the length of the largest difference."""
    largest = 0.0
    for row in range(len(rows)):
        steps[row], lost = round_row(rows[row], codes[row])
        largest = max(largest, lost)
    return np.sqrt(largest)


@summing
def integer_dot(left, right):
    """Return the product of two rows of 8-bit integers."""
    total = np.int32(0)
    for place in range(len(left)):
        total += np.int32(left[place]) * np.int32(right[place])
    return total


@kernel
def nearest(queries, vectors, codes, steps, error, places, cosines):
    """Find the best rows of every query, nearest first, equal ones in the order of the rows.

    Parameters
    ----------
    queries : shape (queries, dim)
    vectors : shape (n, dim)
        Rows of length 1 at most.
    codes, steps, error
        Of `round_rows`.
    places : int32, out, shape (queries, k)
        -1 where a query is not finite.
    cosines : float32, out, shape (queries, k)
    """
    width, dim = vectors.shape
    k, tile = places.shape[1], max(16, TILE_BYTES // max(dim, 1))
    rough = np.empty((QUERIES_AT_ONCE, width), np.float32)
    asked, asked_steps = np.empty((QUERIES_AT_ONCE, dim), np.int8), np.empty(QUERIES_AT_ONCE, np.float32)
    margins, exact = np.empty(QUERIES_AT_ONCE, np.float64), np.empty(width, np.float32)
    for begin in range(0, len(queries), QUERIES_AT_ONCE):
        count = min(QUERIES_AT_ONCE, len(queries) - begin)
        for one in range(count):
            query = queries[begin + one]
            asked_steps[one], lost = round_row(query, asked[one])
            length, moved = np.sqrt(np.float64(dot(query, query))), np.sqrt(lost)
            margins[one] = moved + (length + moved) * error + ROUNDING * length
        for start in range(0, width, tile):
            for one in range(count):
                for row in range(start, min(start + tile, width)):
                    whole = np.float32(integer_dot(asked[one], codes[row]))
                    rough[one, row] = whole * steps[row] * asked_steps[one]
        for one in range(count):
            found, best = places[begin + one], cosines[begin + one]
            found[:] = -1
            least = rough[one].min() if best_of(rough[one], best, found) < k else best[k - 1]
            least -= np.float32(2 * margins[one])
            for row in range(width):
                near = rough[one, row] >= least
                exact[row] = dot(queries[begin + one], vectors[row]) if near else np.float32(-np.inf)
            found[best_of(exact, best, found) :] = -1


@step
def order(scores, places):
    """Sort a few rows by score, equal ones by place, in place."""
    for end in range(1, len(scores)):
        score, place, at = scores[end], places[end], end
        while at > 0 and worse(scores[at - 1], places[at - 1], score, place):
            scores[at], places[at] = scores[at - 1], places[at - 1]
            at -= 1
        scores[at], places[at] = score, place


@step
def mean_of(rows, begin, end, factor, vectors, out):
    """Recency-weighted mean of some clicks' titles at length 1, shape (dim,), or 0 where none is known.

    Parameters
    ----------
    rows : int32, shape (clicks,)
        Row of every click; -1 = unknown, which still makes older ones a click older.
    factor : float
        Weight of a click, per click after it.
    vectors : shape (n, dim)
    """
    add_rows(rows, begin, end, factor, vectors, out)
    length = np.sqrt(dot(out, out))
    for column in range(len(out)):
        out[column] /= max(length, TINY)


@kernel
def title_means(rows, offsets, half_lives, vectors, out):
    """Write such means of prefixes.

    Parameters
    ----------
    rows, vectors
        As of `mean_of`.
    offsets : int64, shape (sessions + 1,)
    half_lives : float64, shape (views,)
        Clicks.
    out : out, shape (views, sessions, dim)
    """
    for view in range(len(half_lives)):
        factor = 0.5 ** (1.0 / half_lives[view])
        for session in range(len(offsets) - 1):
            mean_of(rows, offsets[session], offsets[session + 1], factor, vectors, out[view, session])


@kernel
def nearest_of_means(rows, offsets, half_lives, vectors, products, extra, means, places, cosines):
    """Such means and their nearest titles, by a table of all titles' products: a mean's cosines are the mean
    of its titles' rows, so a few rows are read in place of all vectors.

    Parameters
    ----------
    rows, offsets, half_lives, vectors
        As of `title_means`.
    products : shape (n, n)
    extra : int
        Candidates beyond k that are scored again by their vectors.
    means : out, shape (views, sessions, dim)
    places, cosines : out, shape (views, sessions, k)
        -1 where no title is known.
    """
    width, k = len(products), places.shape[2]
    row = np.empty(width, np.float32)
    found, best = np.empty(min(k + extra, width), np.int32), np.empty(min(k + extra, width), np.float32)
    for session in range(len(offsets) - 1):
        begin, end, known = offsets[session], offsets[session + 1], False
        for place in range(begin, end):
            known |= rows[place] >= 0
        for view in range(len(half_lives)):
            factor = 0.5 ** (1.0 / half_lives[view])
            mean_of(rows, begin, end, factor, vectors, means[view, session])
            add_rows(rows, begin, end, factor, products, row)
            count = best_of(row, best, found)
            for one in range(count):
                best[one] = dot(means[view, session], vectors[found[one]])
            order(best[:count], found[:count])
            for rank in range(k):
                places[view, session, rank] = found[rank] if known else -1
                cosines[view, session, rank] = best[rank]
