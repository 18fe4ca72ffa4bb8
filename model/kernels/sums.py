"""Decayed sums of table rows: how every source of counts and titles reads a prefix.

Types: items int32 (clicks,), offsets int64 (sessions + 1,), tables float32, index arrays int32, row bounds
int64.
"""

from __future__ import annotations

import numpy as np

from model.kernels.compiled import kernel, summing

LEAST = np.float32(1e-30)


@kernel
def add_rows(items, offsets, session, decay, table, out):
    """``out = sum_i decay ** (clicks after i) * table[items[i]]`` for one session; shape (columns,)."""
    out[:] = 0
    weight = 1.0
    for place in range(offsets[session + 1] - 1, offsets[session] - 1, -1):
        row, factor = table[items[place]], np.float32(weight)
        for column in range(len(out)):
            out[column] += factor * row[column]
        weight *= decay


@summing
def shares(values):
    """Cut a row at 0, in place, and return ``1 / sum``, by which it becomes shares; shape (items,)."""
    total = np.float32(0)
    for item in range(len(values)):
        value = max(values[item], np.float32(0))
        values[item] = value
        total += value
    return np.float32(1) / max(total, LEAST)


@kernel
def sparse_votes(items, offsets, decay, data, indices, bounds, values, scale):
    """Votes of item-item weights in sparse form: decayed sums of the clicks' rows, negative ones cut.

    Parameters
    ----------
    items, offsets
        Prefixes.
    decay : float
        Weight of a click, per click after it.
    data, indices, bounds
        Rows of the weights (CSR), shape (items, items).
    values : out, shape (sessions, items)
    scale : out, shape (sessions,)
        1 / sum of a row.
    """
    for session in range(len(offsets) - 1):
        row = values[session]
        row[:] = 0
        weight = 1.0
        for place in range(offsets[session + 1] - 1, offsets[session] - 1, -1):
            factor = np.float32(weight)
            for entry in range(bounds[items[place]], bounds[items[place] + 1]):
                row[indices[entry]] += factor * data[entry]
            weight *= decay
        scale[session] = shares(row)


@kernel
def dense_votes(items, offsets, decay, table, values, scale):
    """The same for weights without zeros, table of shape (items, items)."""
    for session in range(len(offsets) - 1):
        add_rows(items, offsets, session, decay, table, values[session])
        scale[session] = shares(values[session])


@kernel
def constant_votes(counts, total, values, scale):
    """The same row for every session: ``counts``, shape (items,), over their sum ``total``."""
    for session in range(len(scale)):
        values[session, :] = counts
        scale[session] = np.float32(1.0 / total)


@kernel
def repeat_votes(items, offsets, rates, moods, lengths, borders, values, scale):
    """The session's own items, each by how long ago and how often it was clicked; a row sums to the rate at
    which such sessions repeat.

    Parameters
    ----------
    items, offsets
        Prefixes.
    rates : float32, shape (lags, counts)
        By clicks since the item's last one and clicks on it.
    moods : float32, shape (len(lengths) + 1, len(borders) + 1)
    lengths, borders : float64
        Borders of a session's length, and of its share of repeats.
    values, scale : out
    """
    lags, most = rates.shape
    for session in range(len(offsets) - 1):
        row = values[session]
        row[:] = 0
        begin, end = offsets[session], offsets[session + 1]
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
        mood = moods[np.searchsorted(lengths, length), np.searchsorted(borders, share)]
        scale[session] = mood / max(total, LEAST)


@kernel
def decayed_rows(items, offsets, decay, table, out):
    """``out[s] = sum_i decay ** (clicks after i) * table[items[i]]``; table (rows, columns), out (sessions,
    columns).
    """
    for session in range(len(offsets) - 1):
        add_rows(items, offsets, session, decay, table, out[session])
