"""The mix of the sources: everything between prefixes and their best items, in one call.

Types: plan, numbers as of `model.kernels.sources`; votes and scores float32, items int32, offsets int64.
"""

from __future__ import annotations

import numpy as np

from model.kernels.best import NOTHING, best_of
from model.kernels.compiled import kernel, step
from model.kernels.cosines import dots
from model.kernels.memory import table
from model.kernels.sources import (
    GIVEN,
    KIND,
    PLACE,
    length_of,
    name_clicks,
    query_of,
    vectors_of,
    votes_of,
)


@step
def copy(source, target):
    """Copy a row; a loop compiles in a fraction of the time of an assignment of slices."""
    for place in range(len(target)):
        target[place] = source[place]


@step
def finite(rows):
    """Whether no number of some rows is NaN or infinite."""
    for row in range(len(rows)):
        # 0 * x is 0 for finite numbers alone
        total = np.float32(0)
        for column in range(rows.shape[1]):
            total += rows[row, column] * np.float32(0)
        if total != 0:
            return False
    return True


@step
def multiply(plan, numbers, asked, count, products, lengths):
    """Multiply the queries of all sessions with all vectors, source by source: vectors are then brought into
    a core's own cache once for many sessions.

    Parameters
    ----------
    asked : tuple
        See `mix`.
    count : int
        Items of the catalogue.
    products : out, shape (multiplying sources, sessions, items)
    lengths : out, shape (multiplying sources, sessions)
        Of the queries.
    """
    items, offsets, _, sessions, long, short, _ = asked
    wide = len(offsets) - 1
    for source in range(len(plan)):
        row, place = plan[source], plan[source, PLACE]
        if place < 0:
            continue
        queries, nothing = np.zeros((wide, row[3]), np.float32), np.zeros(row[3], np.float32)
        known = False
        for session in range(wide):
            query_of(
                row,
                numbers[source],
                items,
                offsets[session],
                offsets[session + 1],
                sessions[session] if len(sessions) else nothing,
                long[session] if len(long) else nothing,
                short[session] if len(short) else nothing,
                count,
                queries[session],
            )
            lengths[place, session] = length_of(queries[session])
            known |= lengths[place, session] > 0
        if known:
            dots(queries, vectors_of(row, count), products[place])
        else:  # no intents were given
            products[place, :, :] = 0


@step
def add_up(plan, scales, sides, factors, values, total):
    """``total[i] = sum over sides f: factors[f, i] * (sum over its sources q: scales[q] * values[q, i])``.

    Parameters
    ----------
    scales : shape (sources,)
        Weights included.
    sides : int64, shape (sources,)
        Row of ``factors`` that a source is multiplied by.
    factors : shape (sides, items) or (0, 0)
        Empty = 1 everywhere.
    values : list of rows
        Votes, shape (items,).
    """
    total[:] = 0
    for side in range(max(1, len(factors))):
        for source in range(len(plan)):
            if len(factors) == 0 or sides[source] == side:
                row, scale = values[source], scales[source]
                if len(factors) == 0:
                    for item in range(len(total)):
                        total[item] += scale * row[item]
                else:
                    for item in range(len(total)):
                        total[item] += factors[side, item] * (scale * row[item])


@step
def say_strongest(scales, sides, factors, values, places, strongest):
    """Write which source gave most to each recommended item; ``sides`` and ``factors`` as of `add_up`."""
    for rank in range(len(places)):
        most = NOTHING
        for source in range(len(scales)):
            given = scales[source] * values[source, places[rank]]
            if len(factors):
                given *= factors[sides[source], places[rank]]
            if given > most:
                most, strongest[rank] = given, source


@step
def take_best(plan, numbers, items, begin, end, moment, said, scales, values, scratch, total, answer):
    """Write one session's best items, the source that gave most to each, and the click behind it; ``answer``
    are rows of those of `mix`.
    """
    scores, places, strongest, clicked = answer
    count = best_of(total, scores, places)
    for rank in range(len(scores)):
        clicked[rank] = -1
        if rank >= count:
            scores[rank], places[rank], strongest[rank] = NOTHING, -1, -1
    say_strongest(scales, said[0], said[1], values, places[:count], strongest)
    chosen = np.empty(count, np.bool_)
    for source in range(len(plan)):
        some = False
        for rank in range(count):
            chosen[rank] = strongest[rank] == source
            some |= chosen[rank]
        if some:
            name_clicks(
                plan[source],
                numbers[source],
                items,
                begin,
                end,
                moment,
                len(total),
                scratch,
                chosen,
                places[:count],
                clicked[:count],
            )


@kernel
def mix(plan, numbers, weights, mixed, said, asked, without_seen, allowed, room, totals, kept, answer):
    """Answer sessions.

    Parameters
    ----------
    plan, numbers
        The sources.
    weights : shape (sources,)
    mixed, said : tuple
        ``sides`` and ``factors`` of `add_up`: for scores, and for naming the strongest source.
    asked : tuple
        items, offsets; moments int64 (sessions,), microseconds, 0 = now; session vectors of the network
        (sessions, dim) or (0, 0); long and short intents (sessions, text_dim) or (0, 0); the place of the
        first session among the rows of given votes.
    without_seen : bool
        Leave out the items of a session's own prefix.
    allowed : bool, shape (sessions, items) or (0, 0)
        Items that may be in an answer; empty = all.
    room : tuple
        votes (sources, items), products (multiplying sources, at least sessions, items), scratch of
        `neighbours.nearest`.
    totals : out, shape (sessions, items) or (0, items)
        Scores of all items, nothing left out.
    kept : tuple, out
        Votes (sources, sessions, items) and their scales (sources, sessions), weights included, or empty.
    answer : tuple, out
        Scores, places (-1 beyond the items that there are), strongest sources, clicked items (-1 = none);
        shape (sessions, k).

    Returns
    -------
    bool
        Whether all was answered: nothing is where an intent is not finite.
    """
    items, offsets, moments, _, long, short, first = asked
    values, products, scratch = room
    scores, places, strongest, clicked = answer
    count = values.shape[1]
    if not (finite(long) and finite(short)):
        return False
    scales, lengths = np.empty(len(plan), np.float32), np.empty(products.shape[:2], np.float32)
    multiply(plan, numbers, asked, count, products, lengths)
    total = np.empty(count, np.float32)
    for session in range(len(offsets) - 1):
        begin, end, moment = offsets[session], offsets[session + 1], moments[session]
        for source in range(len(plan)):
            row, place = plan[source], plan[source, PLACE]
            length = np.float32(0)
            if place >= 0:
                length = lengths[place, session]
                copy(products[place, session], values[source])
            elif row[KIND] == GIVEN:
                copy(table(row[2], row[3], count)[first + session], values[source])
            scale = votes_of(row, numbers[source], items, begin, end, moment, length, scratch, values[source])
            scales[source] = weights[source] * scale
        if kept[0].shape[1]:
            for source in range(len(plan)):
                copy(values[source], kept[0][source, session])
                kept[1][source, session] = scales[source]
        if len(totals) or scores.shape[1]:
            add_up(plan, scales, mixed[0], mixed[1], values, total)
        if len(totals):
            copy(total, totals[session])
        if scores.shape[1]:
            for click in range(begin, end if without_seen else begin):
                total[items[click]] = NOTHING
            if len(allowed):
                for item in range(count):
                    if not allowed[session, item]:
                        total[item] = NOTHING
            rows = scores[session], places[session], strongest[session], clicked[session]
            take_best(plan, numbers, items, begin, end, moment, said, scales, values, scratch, total, rows)
    return True
