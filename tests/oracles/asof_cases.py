"""Cases of the as-of join, made by a seed: the same for every engine."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from oracles.asof import HistoryRow

# Key parts that collide when they are joined without a separator: (1, 23) and (12, 3).
PARTS = ["1", "12", "23", "3", "123", "", None]

times = st.integers(-2, 5).map(lambda second: second * 1_000_000)
keys = st.tuples(st.sampled_from(PARTS), st.sampled_from(PARTS))
any_history = st.lists(st.tuples(keys, times, st.one_of(st.none(), times)), min_size=1, max_size=40)
any_asked = st.lists(st.tuples(keys, times), min_size=1, max_size=40)
any_ttl_us = st.sampled_from([0, 1, 1_000_000, 3_000_000])


def differences(found, right):
    """Indices where what was found is not what the oracle allows."""
    return [
        i
        for i, (n, ok) in enumerate(zip(found, right, strict=True))
        if (n not in ok if ok else n is not None)
    ]


def random_world(seed, worlds, cases):
    """Many small independent worlds in one frame, dense in ties, late creations, nulls and repeated entity
    rows.
    """
    dice = random.Random(seed)
    history, asked = [], []
    for world in range(worlds):
        keys = [(None if a is None else f"{world}|{a}", dice.choice(PARTS)) for a in dice.sample(PARTS, 3)]
        for _ in range(dice.randint(0, 12)):
            event = dice.randint(0, 8)
            created = dice.choice([None, event, event + dice.randint(0, 6), event])
            history.append(
                HistoryRow(
                    dice.choice(keys), event * 1000, None if created is None else created * 1000, len(history)
                )
            )
        asked.extend(
            (dice.choice(keys), dice.randint(-1, 10) * 1000 + dice.choice([0, 0, 1, -1]))
            for _ in range(cases)
        )
    return history, asked


def numbered(rows):
    """Turn (key, event, created) triples into history rows whose payload is their number."""
    return [HistoryRow(key, event, created, number) for number, (key, event, created) in enumerate(rows)]
