"""Decayed sums of table rows: how sources of counts read one prefix, ``items[begin:end]``.

Types: items int32, tables and rows of votes float32, index arrays int32, row bounds int64. Every source
writes the votes of one session into ``row``, shape (items,), not negative, and returns what they are
multiplied by to become shares.
"""

from __future__ import annotations

import numpy as np

from model.kernels.compiled import kernel, step, summing

LEAST = np.float32(1e-30)


@step
def weigh(items, begin, end, decay, rows, factors):
    """Write the known clicks of a prefix, newest first, each with ``decay ** (clicks after it)``, and return
    how many there are; -1 = unknown, which still makes older ones a click older.
    """
    weight, count = 1.0, 0
    for place in range(end - 1, begin - 1, -1):
        if items[place] >= 0:
            rows[count], factors[count] = items[place], np.float32(weight)
            count += 1
        weight *= decay
    return count


@step
def add_weighted(rows, factors, table, out):
    """``out = sum_i factors[i] * table[rows[i]]``; shape (columns,).

    Four rows at a time, in their order: so many are on their way from memory at once, and the sums are read
    and written once for four.
    """
    out[:] = 0
    whole = len(rows) // 4 * 4
    for place in range(0, whole, 4):
        first, second = table[rows[place]], table[rows[place + 1]]
        third, fourth = table[rows[place + 2]], table[rows[place + 3]]
        a, b, c, d = factors[place], factors[place + 1], factors[place + 2], factors[place + 3]
        for column in range(len(out)):
            out[column] = (
                ((out[column] + a * first[column]) + b * second[column]) + c * third[column]
            ) + d * fourth[column]
    for place in range(whole, len(rows)):
        row, factor = table[rows[place]], factors[place]
        for column in range(len(out)):
            out[column] += factor * row[column]


@step
def add_rows(items, begin, end, decay, table, out):
    """``out = sum_i decay ** (clicks after i) * table[items[i]]`` over known clicks; shape (columns,)."""
    rows, factors = np.empty(end - begin, np.int32), np.empty(end - begin, np.float32)
    count = weigh(items, begin, end, decay, rows, factors)
    add_weighted(rows[:count], factors[:count], table, out)


@summing
def shares(values):
    """Cut a row at 0, in place, and return ``1 / sum``, by which it becomes shares; shape (items,)."""
    total = np.float32(0)
    for item in range(len(values)):
        value = max(values[item], np.float32(0))
        values[item] = value
        total += value
    return np.float32(1) / max(total, LEAST)


@step
def sparse_votes(items, begin, end, decay, data, columns, bounds, row):
    """Decayed sums of the clicks' rows of item-item weights in sparse form (CSR), negative ones cut."""
    row[:] = 0
    weight = 1.0
    for place in range(end - 1, begin - 1, -1):
        factor = np.float32(weight)
        for entry in range(bounds[items[place]], bounds[items[place] + 1]):
            row[columns[entry]] += factor * data[entry]
        weight *= decay
    return shares(row)


@step
def below(borders, value):
    """Return how many of some borders are below a value."""
    count = 0
    for border in borders:
        count += border < value
    return count


@step
def repeat_votes(items, begin, end, rates, moods, lengths, borders, row):
    """The session's own items, each by how long ago and how often it was clicked; a row sums to the rate at
    which such sessions repeat.

    Parameters
    ----------
    rates : float32, shape (lags, counts)
        By clicks since the item's last one and clicks on it.
    moods : float32, shape (len(lengths) + 1, len(borders) + 1)
    lengths, borders : float64
        Borders of a session's length, and of its share of repeats.
    """
    lags, most = rates.shape
    row[:] = 0
    different = 0
    for place in range(begin, end):
        different += row[items[place]] == 0
        row[items[place]] += 1
    total = np.float32(0)
    for place in range(end - 1, begin - 1, -1):
        times = row[items[place]]
        if times > 0:  # the item's last click: what is done is kept below 0 until all are
            rate = rates[min(end - 1 - place, lags - 1), min(int(times), most) - 1]
            total += rate
            row[items[place]] = -rate
    for place in range(begin, end):
        row[items[place]] = abs(row[items[place]])
    length = end - begin
    share = (length - different) / max(length - 1, 1)
    mood = moods[below(lengths, length), below(borders, share)]
    return mood / max(total, LEAST)


@kernel
def decayed_rows(items, offsets, decay, table, out):
    """``out[s] = sum_i decay ** (clicks after i) * table[items[i]]``; table (rows, columns), out (sessions,
    columns).
    """
    for session in range(len(offsets) - 1):
        add_rows(items, offsets[session], offsets[session + 1], decay, table, out[session])
