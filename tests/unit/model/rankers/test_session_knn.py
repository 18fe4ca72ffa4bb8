"""Session neighbours as arrays give what a loop over sessions and clicks gives, alone and in blocks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.sequences import Sequences, without_targets
from model.rankers.plan import Asked, Plan
from model.rankers.session_knn import DAY_US, STAN, VSKNN, SessionKnn, Settings

ITEMS = 6
sessions_of = st.lists(st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=7), min_size=1, max_size=8)


def age_weight(settings: Settings, steps: int) -> float:
    return max(0.0, 1.0 - steps / 10.0) if settings.linear else float(np.exp(-steps / settings.recency))


def plain_votes(model: SessionKnn, prefix: list[int]) -> np.ndarray:
    """Every neighbour votes (no limit); the formulas of the papers, click by click."""
    settings, found = model.settings, np.zeros(ITEMS)
    sessions = [session.tolist() for session in model.sessions]
    for session, ended in zip(sessions, model.sessions.last_times.tolist(), strict=True):
        closeness = (
            sum(
                age_weight(settings, len(prefix) - 1 - place)
                for place, item in enumerate(prefix)
                if item in session
            )
            / len(set(session)) ** 0.5
        )
        shared = [place for place, item in enumerate(prefix) if item in session]
        if not shared:
            continue
        if np.isfinite(settings.days):
            closeness *= np.exp(-abs(model.sessions.times.max() - ended) / (settings.days * DAY_US))
        match = max(place for place, item in enumerate(session) if item == prefix[shared[-1]])
        for place, item in enumerate(session):
            vote = closeness * model.rarity[item] * np.exp(-abs(place - match) / settings.distance)
            vote *= settings.backward if place < match else 1.0
            found[item] += vote * (
                age_weight(settings, len(prefix) - 1 - shared[-1]) if settings.linear else 1.0
            )
    return found


@pytest.mark.parametrize(
    "settings",
    [VSKNN, STAN, replace(VSKNN, distance=3.0, backward=0.5), replace(STAN, distance=np.inf, backward=1.0)],
)
@given(sessions=sessions_of, prefixes=sessions_of)
def test_votes_equal_a_loop_over_sessions(
    settings: Settings, sessions: list[list[int]], prefixes: list[list[int]]
) -> None:
    train = Sequences.of(sessions)
    model = SessionKnn.index(replace(train, times=train.times * 50_000), ITEMS, settings, "kNN")
    asked = Sequences.of(prefixes)
    found = model.scores(without_targets(replace(asked, times=np.zeros_like(asked.times))))
    np.testing.assert_allclose(
        found, [plain_votes(model, prefix) for prefix in prefixes], rtol=1e-5, atol=1e-7
    )


def test_only_the_closest_sessions_vote() -> None:
    model = SessionKnn.index(
        Sequences.of([[0, 1], [0, 2, 3, 4], [0, 5, 2]]), ITEMS, replace(VSKNN, neighbours=1), "kNN"
    )
    cases = without_targets(Sequences.of([[0]] * 5))
    together = model.scores(cases)
    assert [np.flatnonzero(row).tolist() for row in together] == [[0, 1]] * 5  # the shortest is the closest
    assert np.array_equal(model.scores(cases.select(np.array([3]))), together[:1])


def test_an_item_that_no_session_holds_finds_nothing() -> None:
    model = SessionKnn.index(Sequences.of([[0, 1]]), ITEMS, STAN, "kNN")
    assert not model.scores(without_targets(Sequences.of([[5], [4, 5]]))).any()


@given(first=sessions_of, second=sessions_of, prefixes=sessions_of)
def test_two_sources_of_neighbours_name_their_own_clicks(
    first: list[list[int]], second: list[list[int]], prefixes: list[list[int]]
) -> None:
    tables = [
        SessionKnn.index(Sequences.of(train), ITEMS, settings, "kNN").table
        for train, settings in ((first, VSKNN), (second, STAN))
    ]
    asked = Asked.of(without_targets(Sequences.of(prefixes)))
    both = Plan(tables, [0.5, 0.5], ITEMS).best(asked, ITEMS, without_seen=False)
    for place, table in enumerate(tables):
        alone = Plan([table], [1.0], ITEMS).best(asked, ITEMS, without_seen=False)
        for row in range(len(asked)):
            clicked = dict(zip(alone.items[row].tolist(), alone.clicked[row].tolist(), strict=True))
            mine = both.strongest[row] == place
            named = both.clicked[row][mine].tolist()
            assert named == [clicked[item] for item in both.items[row][mine].tolist()]
