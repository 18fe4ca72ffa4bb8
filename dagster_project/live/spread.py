"""What many values of a replay come to: quantiles, counts, shares. Knows numbers only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence


def quantile(values: list[float], share: float) -> float | None:
    """Return the smallest value that at least `share` of the values do not exceed.

    Examples
    --------
    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5), quantile([], 0.5)
    (2.0, None)
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def histogram(latencies: Sequence[float]) -> dict[str, Sequence[float]] | None:
    """Count latencies in milliseconds between edges a fifth of a power of ten apart; none without values.

    Examples
    --------
    >>> found = histogram([1.0, 1.2, 9.0])
    >>> found["edges_ms"], found["counts"]
    ([1.0, 1.6, 2.5, 4.0, 6.3, 10.0], [2, 0, 0, 0, 1])
    """
    if not latencies:
        return None
    places = [math.floor(5 * math.log10(max(value, 1.0)) + 1e-9) for value in latencies]
    first, last = min(places), max(places)
    counts = [places.count(place) for place in range(first, last + 1)]
    return {"edges_ms": [round(10 ** (place / 5), 1) for place in range(first, last + 2)], "counts": counts}


def hit_rates(hits: Sequence[bool], parts: int = 20) -> list[float]:
    """Return the share of hits in each of so many equal parts of a replay, fewer where there are few.

    Examples
    --------
    >>> hit_rates([True, False, True, True], parts=2), hit_rates([])
    ([0.5, 1.0], [])
    """
    parts = min(parts, len(hits))
    ends = [len(hits) * part // parts for part in range(parts + 1)] if parts else []
    return [round(sum(hits[begin:end]) / (end - begin), 4) for begin, end in itertools.pairwise(ends)]
