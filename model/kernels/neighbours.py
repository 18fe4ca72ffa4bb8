"""Votes of the sessions closest to a prefix (V-SKNN; STAN, Garg et al., 2019), session by session.

For a prefix p and a training session n that shares an item with it::

    close(n) = sum over clicks i of p in n:  age(clicks after i) / sqrt(items of n)  * exp(-gap / days)
    votes(j) = sum over the k closest n, clicks c of n on j:  close(n) * rarity(j) * away(c - match(n))

where match(n) is n's last click on the most recent item of p that it shares. Of equally close sessions the
one met first (older click, then older session) stays.

Types: items int32, offsets int64.
"""

from __future__ import annotations

import numpy as np

from model.kernels.compiled import step
from model.kernels.sums import shares


@step
def kth_largest(values, k):
    """Return the k-th largest number, k from 1; the order of ``values`` is lost (Hoare's selection)."""
    low, high, wanted = 0, len(values) - 1, k - 1
    while low < high:
        pivot, left, right = values[(low + high) // 2], low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left, right = left + 1, right - 1
        if wanted <= right:
            high = right
        elif wanted >= left:
            low = left
        else:
            break
    return values[wanted]


@step
def nearest(items, begin, end, moment, index, knn, settings, scratch):
    """Find the sessions that vote for one prefix.

    Parameters
    ----------
    items : int32
        Clicks; the prefix is ``items[begin:end]``.
    moment : int64
        Time of its last click, microseconds; read where STAN's l2 is finite.
    index : tuple
        Sessions of every item (CSR, ascending): bounds int64, sessions int32, parts of a shared item in the
        closeness float64, places of the session's last click on the item int64.
    knn : tuple
        See `neighbour_votes`.
    settings : float64
        STAN's l2 in microseconds, sessions that vote, whether the age of the match counts once more.
    scratch : tuple
        Room, one place a training session: marks int32, all 0 before and after; sessions, match and age
        int64; closeness float64. Then int64, shape (2,): address of the index whose votes it holds, and the
        number of neighbours.

    Returns
    -------
    sessions, match, age : int64, shape (n,)
    closeness : float64, shape (n,)
    """
    bounds, entries, weights, clicks = index
    ages, ended, days_us, most = knn[0], knn[1], settings[0], int(settings[1])
    marks, sessions, match, age, closeness = scratch[:5]
    count = 0
    for place in range(begin, end):
        back = end - 1 - place
        weight = ages[back] if back < len(ages) else 0.0
        for entry in range(bounds[items[place]], bounds[items[place] + 1]):
            session = entries[entry]
            if marks[session] == 0:
                sessions[count], closeness[count] = session, 0.0
                count += 1
                marks[session] = count
            found = marks[session] - 1
            closeness[found] += weight * weights[entry]
            match[found], age[found] = clicks[entry], back
    for found in range(count):
        marks[sessions[found]] = 0
        if np.isfinite(days_us):
            closeness[found] *= np.exp(-abs(moment - ended[sessions[found]]) / days_us)
    if count <= most:
        return sessions[:count], match[:count], age[:count], closeness[:count]
    least = kth_largest(closeness[:count].copy(), most)
    ties = most
    for found in range(count):
        ties -= closeness[found] > least
    kept = 0
    for found in range(count):
        equal = closeness[found] == least
        if closeness[found] > least or (equal and ties > 0):
            ties -= equal
            sessions[kept], match[kept], age[kept] = sessions[found], match[found], age[found]
            closeness[kept] = closeness[found]
            kept += 1
    return sessions[:kept], match[:kept], age[:kept], closeness[:kept]


@step
def weight_of(closeness, age, ages, linear):
    """Return what a neighbour's clicks weigh."""
    return closeness * (ages[age] if age < len(ages) else 0.0) if linear > 0 else closeness


@step
def share_of(place, match, away):
    """Return the weight of a neighbour's click by its distance from the match."""
    reach = len(away) // 2
    return away[min(max(place - match + reach, 0), 2 * reach)]


@step
def neighbour_votes(items, begin, end, moment, index, knn, settings, scratch, row):
    """Votes of the neighbours, who stay in ``scratch`` for `neighbour_clicks`.

    Parameters
    ----------
    index, settings, scratch
        As of `nearest`.
    knn : tuple
        Weights of a click by the clicks after it, float64, 0 beyond; ends of the sessions int64, in
        microseconds; their items int32 and offsets int64; rarity of items float64; weights by distance from
        the match float64 (odd length, 0 in the middle).
    """
    ages, _, train_items, train_offsets, rarity, away = knn
    row[:] = 0
    found, match, age, closeness = nearest(items, begin, end, moment, index, knn, settings, scratch)
    scratch[5][0], scratch[5][1] = index[0].ctypes.data, len(found)
    for one in range(len(found)):
        weight = weight_of(closeness[one], age[one], ages, settings[2])
        for place in range(train_offsets[found[one]], train_offsets[found[one] + 1]):
            row[train_items[place]] += np.float32(weight * share_of(place, match[one], away))
    for item in range(len(row)):
        row[item] *= np.float32(rarity[item])
    return shares(row)


@step
def neighbour_clicks(items, begin, end, moment, index, knn, settings, scratch, chosen, best, clicked):
    """Name the click by which the sessions were met that gave an item most of its votes.

    Parameters
    ----------
    scratch : tuple
        As `neighbour_votes` left it for this prefix; after votes of another source they are found again.
    chosen : bool, shape (k,)
        Which recommendations are asked for.
    best : int32, shape (k,)
        Recommended items.
    clicked : int32, out, shape (k,)
        The clicked item; left as it is where none was found.
    """
    ages, _, train_items, train_offsets, rarity, away = knn
    if scratch[5][0] != index[0].ctypes.data:
        scratch[5][1] = len(nearest(items, begin, end, moment, index, knn, settings, scratch)[0])
        scratch[5][0] = index[0].ctypes.data
    found, match, age, closeness = scratch[1][: scratch[5][1]], scratch[2], scratch[3], scratch[4]
    slot = np.zeros(len(rarity), np.int32)
    for rank in range(len(best)):
        if chosen[rank]:
            slot[best[rank]] = rank + 1
    table = np.zeros((len(best), end - begin), np.float64)
    for one in range(len(found)):
        weight = weight_of(closeness[one], age[one], ages, settings[2])
        for place in range(train_offsets[found[one]], train_offsets[found[one] + 1]):
            rank = slot[train_items[place]] - 1
            if rank >= 0:
                table[rank, age[one]] += weight * share_of(place, match[one], away)
    for rank in range(len(best)):
        most = 0.0
        for back in range(end - begin):
            if table[rank, back] > most:
                most, clicked[rank] = table[rank, back], items[end - 1 - back]
