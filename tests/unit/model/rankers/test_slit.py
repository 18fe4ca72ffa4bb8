"""The regression of the next click: against the normal equations written out, and what it knows that EASE
does not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.sequences import Sequences
from model.rankers import slit as module
from model.rankers.ease import Ease
from model.rankers.slit import LEAST_WEIGHT, slit, windows

SESSIONS = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=12), min_size=1, max_size=6)


def of(sessions, items=5):
    made = synthetic.dataset()
    catalogue = made.catalogue.__class__.build([str(item) for item in range(items)])
    return replace(made, train=Sequences.of(sessions), catalogue=catalogue)


@settings(max_examples=40, deadline=None)
@given(SESSIONS, st.sampled_from([0.5, 0.9]), st.sampled_from([1.0, 30.0]), st.sampled_from([0.0, 0.5, 1.0]))
def test_weights_solve_the_normal_equations(sessions, decay, regulariser, power):
    rows, answers = [], []
    for session in sessions:
        for place in range(1, len(session)):
            row, weight = np.zeros(5), 1.0
            for item in reversed(session[:place]):
                row[item] += weight if weight >= LEAST_WEIGHT else 0.0
                weight *= decay
            rows.append(row)
            answers.append(np.eye(5)[session[place]])
    before, after = (np.array(part).reshape(-1, 5) for part in (rows, answers))
    clicked = (before**2).sum(axis=0)
    ridge = np.diag(regulariser * (np.maximum(clicked, 1.0) / max(clicked.mean(), 1.0)) ** power)
    wanted = np.linalg.solve(before.T @ before + ridge, before.T @ after)
    found = slit(of(sessions), regulariser=regulariser, query_decay=decay, ridge_power=power).weights
    assert found == pytest.approx(wanted, abs=1e-4)


def test_order_counts_as_it_does_not_for_ease():
    data = of([[0, 1]] * 30 + [[2, 3]] * 30)
    found = slit(data, regulariser=1.0, query_decay=0.9).weights
    assert found[0, 1] > 0.9 and found[1, 0] == 0.0
    both = Ease.fit(data, regulariser=1.0).weights
    assert both[0, 1] == pytest.approx(both[1, 0])


def test_only_the_newest_next_clicks_are_read(monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 2)
    before, following = windows(Sequences.of([[0, 1], [2, 3, 4]]), 5, 0.5)
    assert following.tolist() == [3, 4]
    assert before.toarray().tolist() == [[0, 0, 1, 0, 0], [0, 0, 0.5, 1, 0]]


def test_sessions_without_a_next_click_teach_nothing():
    assert not slit(of([[0], [1]]), regulariser=1.0, query_decay=0.9).weights.any()


def test_items_that_are_clicked_often_give_way_to_rare_ones():
    data = of([[0, 2]] * 40 + [[0, 1, 2]] * 4)
    alike = slit(data, regulariser=1.0, query_decay=0.9).weights
    grown = slit(data, regulariser=1.0, query_decay=0.9, ridge_power=1.0).weights
    assert grown[0, 2] < alike[0, 2]
    assert grown[1, 2] > alike[1, 2]
