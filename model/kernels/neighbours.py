"""Votes of the sessions closest to a prefix (V-SKNN; STAN, Garg et al., 2019), session by session.

For a prefix p and a training session n that shares an item with it::

    close(n) = sum over clicks i of p in n:  age(clicks after i) / sqrt(items of n)  * exp(-gap / days)
    votes(j) = sum over the k closest n, clicks c of n on j:  close(n) * rarity(j) * away(c - match(n))

where match(n) is n's last click on the most recent item of p that it shares. Of equally close sessions the
one met first (older click, then older session) stays.

Types: items int32, offsets int64; the tables as `model.mix.tables.NeighbourTable` names them.
"""

from __future__ import annotations

import numpy as np

from model.kernels.compiled import kernel
from model.kernels.sums import shares


@kernel
def nearest(items, begin, end, moment, index, weights, bounds, clicks, ages, ended, days_us, most, scratch):
    """Find the sessions that vote for one prefix.

    Parameters
    ----------
    items : int32
        Clicks; the prefix is ``items[begin:end]``.
    moment : int64
        Time of its last click, microseconds; read where ``days_us`` is finite.
    index, weights, bounds
        Sessions of every item (CSR, ascending), and the part of a shared item in the closeness.
    clicks : int64
        For each entry of the index the place of the session's last click on the item.
    ages : float64, shape (longest,)
        Weight of a click by the clicks after it; 0 beyond.
    ended : int64, shape (sessions,)
    days_us : float64
    most : int
    scratch : int32, shape (sessions,), all 0 before and after

    Returns
    -------
    sessions, match, age : int64, shape (n,)
    closeness : float64, shape (n,)
    """
    met = 0
    for place in range(begin, end):
        met += bounds[items[place] + 1] - bounds[items[place]]
    sessions, match, age = np.empty(met, np.int64), np.empty(met, np.int64), np.empty(met, np.int64)
    closeness = np.zeros(met, np.float64)
    count = 0
    for place in range(begin, end):
        back = end - 1 - place
        weight = ages[back] if back < len(ages) else 0.0
        for entry in range(bounds[items[place]], bounds[items[place] + 1]):
            session = index[entry]
            if scratch[session] == 0:
                sessions[count] = session
                count += 1
                scratch[session] = count
            found = scratch[session] - 1
            closeness[found] += weight * weights[entry]
            match[found], age[found] = clicks[entry], back
    for found in range(count):
        scratch[sessions[found]] = 0
        if np.isfinite(days_us):
            closeness[found] *= np.exp(-abs(moment - ended[sessions[found]]) / days_us)
    if count <= most:
        return sessions[:count], match[:count], age[:count], closeness[:count]
    least = np.partition(closeness[:count], count - most)[count - most]
    ties = most - (closeness[:count] > least).sum()
    kept = 0
    for found in range(count):
        equal = closeness[found] == least
        if closeness[found] > least or (equal and ties > 0):
            ties -= equal
            sessions[kept], match[kept], age[kept] = sessions[found], match[found], age[found]
            closeness[kept] = closeness[found]
            kept += 1
    return sessions[:kept], match[:kept], age[:kept], closeness[:kept]


@kernel
def vote_of(closeness, age, place, match, item, ages, linear, rarity, away):
    """Return what a neighbour's click gives to its item."""
    weight = closeness * (ages[age] if age < len(ages) else 0.0) if linear else closeness
    reach = len(away) // 2
    distance = min(max(place - match, -reach), reach)
    return weight * rarity[item] * away[distance + reach]


@kernel
def neighbour_votes(items, offsets, moments, index, knn, linear, settings, values, scale):
    """Votes of the neighbours.

    Parameters
    ----------
    items, offsets
        Prefixes.
    moments : int64, shape (sessions,)
    index, knn
        Tuples of arrays: `model.mix.tables.NeighbourTable.index` and ``knn``.
    linear : bool
        Whether the age of the match counts once more.
    settings : float64
        days_us, most.
    values, scale : out
    """
    bounds, entries, weights, clicks = index
    ages, ended, train_items, train_offsets, rarity, away = knn
    scratch = np.zeros(len(ended), np.int32)
    for session in range(len(offsets) - 1):
        row = values[session]
        row[:] = 0
        found, match, age, closeness = nearest(
            items,
            offsets[session],
            offsets[session + 1],
            moments[session],
            entries,
            weights,
            bounds,
            clicks,
            ages,
            ended,
            settings[0],
            int(settings[1]),
            scratch,
        )
        for one in range(len(found)):
            for place in range(train_offsets[found[one]], train_offsets[found[one] + 1]):
                item = train_items[place]
                row[item] += np.float32(
                    vote_of(closeness[one], age[one], place, match[one], item, ages, linear, rarity, away)
                )
        scale[session] = shares(row)


@kernel
def neighbour_clicks(items, offsets, moments, index, knn, linear, settings, chosen, best, clicked):
    """Name the click by which the sessions were met that gave an item most of its votes.

    Parameters
    ----------
    chosen : bool, shape (sessions, k)
        Which recommendations are asked for.
    best : int32, shape (sessions, k)
        Recommended items.
    clicked : int32, out, shape (sessions, k)
        The clicked item; left as it is where none was found.
    """
    bounds, entries, weights, clicks = index
    ages, ended, train_items, train_offsets, rarity, away = knn
    scratch = np.zeros(len(ended), np.int32)
    slot = np.zeros(len(rarity), np.int32)
    for session in range(len(offsets) - 1):
        if not chosen[session].any():
            continue
        begin, end = offsets[session], offsets[session + 1]
        found, match, age, closeness = nearest(
            items,
            begin,
            end,
            moments[session],
            entries,
            weights,
            bounds,
            clicks,
            ages,
            ended,
            settings[0],
            int(settings[1]),
            scratch,
        )
        for rank in range(best.shape[1]):
            if chosen[session, rank]:
                slot[best[session, rank]] = rank + 1
        table = np.zeros((best.shape[1], end - begin), np.float64)
        for one in range(len(found)):
            for place in range(train_offsets[found[one]], train_offsets[found[one] + 1]):
                item = train_items[place]
                if slot[item] > 0:
                    table[slot[item] - 1, age[one]] += vote_of(
                        closeness[one], age[one], place, match[one], item, ages, linear, rarity, away
                    )
        for rank in range(best.shape[1]):
            if chosen[session, rank]:
                slot[best[session, rank]] = 0
                back = np.argmax(table[rank])
                if table[rank, back] > 0:
                    clicked[session, rank] = items[end - 1 - back]
