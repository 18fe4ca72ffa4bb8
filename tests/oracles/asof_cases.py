"""Cases of the as-of join, made by a seed: the same for every engine."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from feature_repo.stores.offline.view_columns import ViewColumns
from oracles.asof import HistoryRow, as_of

# Key parts that collide when they are joined without a separator: (1, 23) and (12, 3).
PARTS = ["1", "12", "23", "3", "123", "", None]

times = st.integers(-2, 5).map(lambda second: second * 1_000_000)
keys = st.tuples(st.sampled_from(PARTS), st.sampled_from(PARTS))
any_history = st.lists(st.tuples(keys, times, st.one_of(st.none(), times)), min_size=1, max_size=40)
any_asked = st.lists(st.tuples(keys, times), min_size=1, max_size=40)
any_ttl_us = st.sampled_from([0, 1, 1_000_000, 3_000_000])
# seed, ttl in microseconds, whether rows count from their creation on
WORLDS = [(1, 0, False), (2, 3000, False), (3, 0, True), (4, 3000, True)]


def view_of(ttl_us, known_by_created):
    """Name the columns of the cases: entity rows have `x` and `y`, the history `a` and `b`."""
    return ViewColumns(
        view="cases",
        table="cases",
        keys=(("x", "a"), ("y", "b")),
        features=(("n", "n"), ("v", "v")),
        event="event",
        created="created",
        ttl_us=ttl_us,
        known_by_created=known_by_created,
    )


def payloads(answer):
    """Give the payload number of each row of an answer, and see that `v` is of the same history row."""
    numbers = answer.column("n").to_pylist()
    assert answer.column("v").to_pylist() == [None if n is None else [float(n)] * 3 for n in numbers], (
        "a row is never mixed from two"
    )
    return numbers


def check_50000_seeded_cases(run, seed, ttl_us, known_by_created):
    """See that an engine finds in made-up worlds what the oracle allows; ``run`` gives the payloads."""
    history, asked = random_world(seed, 5000, 10)
    found = run(history, asked, ttl_us, known_by_created)
    right = as_of(history, asked, ttl_us=ttl_us, known_by_created=known_by_created)
    assert differences(found, right) == []
    assert sum(bool(ok) for ok in right) > 9_000  # the cases are not empty ones


def check_case(run, rows, asked, ttl_us, known_by_created):
    """See the same for one drawn case."""
    history = numbered(rows)
    found = run(history, asked, ttl_us, known_by_created)
    assert differences(found, as_of(history, asked, ttl_us=ttl_us, known_by_created=known_by_created)) == []


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
