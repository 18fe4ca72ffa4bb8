"""Repeats, popularity and cosines: what they count, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.catalogue import Catalogue
from model.data.sequences import Sequences, cases_at, expand
from model.data.splits import Dataset
from model.mix.popular import Popular, within
from model.mix.repeats import COUNTS, Repeats, moods, occurrences, recurrence

sessions_of = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=8), min_size=1, max_size=6)


def dataset(sessions: list[list[int]]) -> Dataset:
    made = Sequences.of(sessions)
    none = expand(made).select(np.zeros(0, dtype=np.int64))
    return Dataset("x", "next-item", Catalogue.build([str(item) for item in range(5)]), made, none, none)


@given(sessions_of)
def test_occurrences_are_those_of_a_loop(sessions: list[list[int]]) -> None:
    following, nth, last = occurrences(Sequences.of(sessions))
    flat = [(row, place) for row, session in enumerate(sessions) for place in range(len(session))]
    for at, (row, place) in enumerate(flat):
        session = sessions[row]
        later = [other for other in range(place + 1, len(session)) if session[other] == session[place]]
        assert nth[at] == session[: place + 1].count(session[place])
        assert last[at] == (not later)
        assert not later or following[at] == at + later[0] - place


def test_what_always_comes_back_two_clicks_later_is_said_to() -> None:
    rates = recurrence(Sequences.of([[0, 1, 0, 1, 0, 1]] * 200))
    assert rates[1].min() > 0.5
    assert rates[0].max() < 0.2
    assert rates.shape[1] == COUNTS


def test_a_session_that_repeats_says_it_will() -> None:
    found = Repeats.fit(dataset([[0, 1, 0, 1, 0, 1]] * 50 + [[0, 1, 2, 3, 4]] * 50))
    steady, fickle = found.probabilities(expand(Sequences.of([[0, 1, 0, 1, 0], [0, 1, 2, 3, 4]]))).sum(
        axis=1
    )[[3, 7]]
    assert steady > 0.8
    assert fickle < 0.5


def test_only_items_of_the_session_get_votes() -> None:
    found = Repeats.fit(dataset([[0, 1, 0], [2, 2, 3]] * 20))
    cases = cases_at(Sequences.of([[0, 1, 0, 4]]), np.array([0]), np.array([3]))
    values = found.probabilities(cases)
    assert np.flatnonzero(values[0]).tolist() == [0, 1]


@given(sessions_of)
def test_moods_are_rates(sessions: list[list[int]]) -> None:
    found = moods(Sequences.of(sessions))
    assert ((found >= 0) & (found <= 1)).all()


def test_the_window_holds_the_newest_clicks() -> None:
    data = dataset([[0, 1, 2, 3, 4]])
    assert within(0.4, data).counts.tolist() == [0, 0, 0, 1, 1]
    assert Popular.fit(data).probabilities(expand(data.train))[0].tolist() == pytest.approx([0.2] * 5)
