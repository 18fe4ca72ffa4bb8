"""Answers are judged by the next click of their session, by the rules of the offline judge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.sequences import Sequences, expand
from model.evaluate.judge import evaluate
from model.evaluate.metrics import measure
from model.evaluate.next_click import (
    RANK_UNIT,
    Event,
    Given,
    Place,
    Sums,
    intervals,
    judge_session,
    measured,
    next_clicks,
    rank_of,
    whole_gains,
)

ITEMS = [f"i{number}" for number in range(40)]


def at(offset, partition=0):
    return Place(partition, offset, offset)


def click(offset, item, time_us):
    return Event(at(offset), item, time_us)


class Fixed:
    """Scores of the catalogue by hand."""

    name = "fixed"

    def __init__(self, scores):
        self._scores = scores

    def scores(self, cases):
        return np.tile(self._scores, (len(cases), 1))


@given(st.lists(st.integers(0, 5), min_size=40, max_size=40), st.integers(0, 39))
def test_ranks_are_the_judges_where_the_whole_catalogue_is_shown(scores, target):
    """Lists are cut where the answer ends; here it holds everything, so that ties beyond it are seen."""
    order = np.argsort(-np.array(scores), kind="stable")
    cases = expand(Sequences.of([[(target + 1) % 40, target]]))
    judged = evaluate(Fixed(np.array(scores, float)), cases).kept.ranks[0]
    items, values = [ITEMS[place] for place in order], [float(scores[place]) for place in order]
    assert rank_of(ITEMS[target], items, values, range(40)) == (judged if judged <= 20 else 0)


def test_the_next_click_is_the_visitors_next_however_late_it_comes():
    answers = [Given(at(0), 0, [], []), Given(at(1), 100, [], []), Given(at(2), 100, [], [])]
    clicks = [click(0, "a", 0), click(1, "c", 100), click(2, "b", 50), click(3, "d", 200)]
    assert [one and one.item for one in next_clicks(answers, clicks, None)] == ["b", "d", "d"]
    assert [one and one.item for one in next_clicks(answers, clicks, 60)] == ["b", None, None]


def test_equal_times_go_by_arrival_and_no_click_judges_its_own_answer():
    answers = [Given(at(offset), 5, [], []) for offset in range(3)]
    clicks = [click(offset, f"i{offset}", 5) for offset in range(3)]
    assert [one and one.item for one in next_clicks(answers, clicks, None)] == ["i1", "i2", None]


def test_a_session_that_moved_to_another_partition_goes_by_time():
    answers = [Given(Place(0, 90, 1_000), 5, [], [])]
    clicks = [Event(Place(0, 90, 1_000), "a", 5), Event(Place(3, 2, 2_000), "b", 5)]
    assert next_clicks(answers, clicks, None)[0].item == "b"


def test_impressions_say_what_was_shown():
    answer = Given(at(0), 0, ["a", "b", "c", "d"], [4.0, 3.0, 2.0, 1.0])
    clicks = [click(0, "x", 0), click(5, "c", 50)]
    assumed = judge_session([answer], clicks, [], None)[0]
    assert (assumed.rank, assumed.basis, assumed.hit) == (3, "assumed", 2)
    seen = judge_session([answer], clicks, [click(1, "c", 10), click(2, "d", 11)], None)[0]
    assert (seen.rank, seen.basis, seen.shown, seen.hit) == (1, "impressions", (2, 3), 2)
    missed = judge_session([answer], clicks, [click(1, "a", 10)], None)[0]
    assert (missed.rank, missed.hit) == (0, None)
    # shown after the click, or items of another shelf: nothing of this answer was shown, so it is no case
    assert judge_session([answer], clicks, [click(1, "c", 51), click(2, "q", 10)], None) == [None]


def sums_of(ranks, sessions):
    gains = np.array([whole_gains(rank) for rank in ranks], float)
    rows = [(np.sum(sessions == one), gains[sessions == one].sum(0)) for one in np.unique(sessions)]
    cases, added = np.array([row[0] for row in rows], float), np.stack([row[1] for row in rows])
    return Sums(
        np.array([cases.sum()]),
        np.array([(cases**2).sum()]),
        np.array([float(len(rows))]),
        added.sum(0)[None],
        (added**2).sum(0)[None],
        (added * cases[:, None]).sum(0)[None],
    )


def test_intervals_are_those_of_the_judges_bootstrap_over_sessions():
    draw = np.random.default_rng(0)
    sessions = np.repeat(np.arange(400), draw.integers(1, 9, 400))
    luck = draw.random(400)[sessions] * 0.6
    ranks = np.where(draw.random(len(sessions)) < luck, draw.integers(1, 26, len(sessions)), 0)
    ranks = np.where(ranks > 20, 0, ranks)
    found = measured(sums_of(ranks, sessions))[0]
    judged = measure(np.where(ranks == 0, 10_000, ranks), sessions.astype(str).tolist(), samples=4000)
    for ours, theirs in (("hit_5", "R@5"), ("hit_20", "R@20"), ("mrr_20", "MRR@20")):
        assert found[ours] == pytest.approx(judged[theirs].mean, abs=1e-9)
        width = judged[theirs].high - judged[theirs].low
        assert found[f"{ours}_low"] == pytest.approx(judged[theirs].low, abs=0.08 * width)
        assert found[f"{ours}_high"] == pytest.approx(judged[theirs].high, abs=0.08 * width)


@pytest.mark.parametrize(("hits", "low", "high"), [([0] * 50, 0.0, 0.0711), ([1] * 50, 0.9289, 1.0)])
def test_no_hit_and_nothing_but_hits_have_an_interval_too(hits, low, high):
    found = measured(sums_of(np.array(hits), np.arange(50)))[0]
    assert (round(found["hit_20_low"], 4), round(found["hit_20_high"], 4)) == (low, high)


def test_one_session_proves_nothing():
    mean, low, high = intervals(sums_of(np.array([1, 0, 3]), np.zeros(3)))
    assert mean[0, 0] == pytest.approx(2 / 3) and (low == 0).all() and (high == 1).all()


def test_sums_of_reciprocal_ranks_are_whole():
    assert all(RANK_UNIT % rank == 0 for rank in range(1, 21)) and whole_gains(0) == (0,) * 6
