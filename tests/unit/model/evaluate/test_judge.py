"""The judge: ranks against a plain oracle, ties against the model, both rules about seen items, lists that
agree with metrics.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.sequences import Cases, Sequences, cases_at, expand
from model.evaluate import judge as module
from model.evaluate.judge import best_items, default_seen, evaluate, speed
from model.evaluate.predictions import write_predictions


class Fixed:
    """Scores that are given."""

    name = "fixed"

    def __init__(self, scores, cases: Cases) -> None:
        self.rows = dict(zip(cases.ids, np.asarray(scores, dtype=np.float32), strict=True))

    def scores(self, cases):
        return np.stack([self.rows[name] for name in cases.ids])


def one(prefix, target):
    return cases_at(Sequences.of([[*prefix, target]]), np.array([0]), np.array([len(prefix)]))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_ranks_and_lists_equal_a_plain_count(data):
    items = data.draw(st.integers(2, 30))
    sessions = data.draw(
        st.lists(st.lists(st.integers(0, items - 1), min_size=2, max_size=6), min_size=1, max_size=5)
    )
    cases = expand(Sequences.of(sessions))
    scores = data.draw(
        st.lists(
            st.lists(st.integers(0, 3), min_size=items, max_size=items),
            min_size=len(cases),
            max_size=len(cases),
        )
    )
    found = evaluate(Fixed(scores, cases), cases, batch=3)
    for row in range(len(cases)):
        prefix, target, own = cases.prefixes[row].tolist(), int(cases.targets[row]), scores[row]
        assert found.kept.ranks[row] == sum(score >= own[target] for score in own)
        allowed = [item for item in range(items) if item not in prefix]
        if target in prefix:
            assert found.removed.ranks[row] > items
        else:
            assert found.removed.ranks[row] == sum(own[item] >= own[target] for item in allowed)
        for seen, candidates in (("kept", list(range(items))), ("removed", allowed)):
            ranking = found.ranking(seen)
            top = [item for item in ranking.top[row].tolist() if item >= 0]
            assert len(set(top)) == len(top) <= 20
            assert set(top) <= set(candidates)
            assert [own[item] for item in top] == sorted((own[item] for item in candidates), reverse=True)[
                : len(top)
            ]
            if ranking.ranks[row] <= 20:
                assert top.index(target) == ranking.ranks[row] - 1
            else:
                assert target not in top


def test_predictions_give_the_metrics_again(tmp_path):
    rng = np.random.default_rng(0)
    cases = expand(Sequences.of([rng.integers(0, 40, 8).tolist() for _ in range(20)]))
    found = evaluate(Fixed(rng.integers(0, 5, (len(cases), 40)), cases), cases)
    for seen in ("removed", "kept"):
        write_predictions(tmp_path / "p.jsonl", found, [f"item {place}" for place in range(40)], seen)
        lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text(encoding="utf-8").splitlines()]
        ranks = [
            line["items"].index(line["target"]) + 1 if line["target"] in line["items"] else 0
            for line in lines
        ]
        metrics = found.metrics(seen, samples=0)
        for k in (5, 10, 20):
            assert metrics[f"R@{k}"].mean == pytest.approx(np.mean([0 < rank <= k for rank in ranks]))
            assert metrics[f"MRR@{k}"].mean == pytest.approx(
                np.mean([1 / rank if 0 < rank <= k else 0 for rank in ranks])
            )
            assert metrics[f"N@{k}"].mean == pytest.approx(
                np.mean([1 / np.log2(rank + 1) if 0 < rank <= k else 0 for rank in ranks])
            )
        assert lines[0]["case"] == "0:1"


def test_large_catalogues_are_judged_a_few_cases_at_a_time(monkeypatch):
    rng = np.random.default_rng(0)
    cases = expand(Sequences.of([rng.integers(0, 40, 8).tolist() for _ in range(10)]))
    ranker = Fixed(rng.normal(size=(len(cases), 40)), cases)
    whole, asked = evaluate(ranker, cases), []
    monkeypatch.setattr(module, "SCORES_AT_ONCE", 3 * 40)
    monkeypatch.setattr(
        ranker, "scores", lambda part, real=ranker.scores: asked.append(len(part)) or real(part)
    )
    few = evaluate(ranker, cases)
    assert asked[0] == module.FIRST_CASES and set(asked[1:-1]) == {3}
    assert sum(asked) == len(cases)
    for seen in ("removed", "kept"):
        assert np.array_equal(few.ranking(seen).ranks, whole.ranking(seen).ranks)
        assert np.array_equal(few.ranking(seen).top, whole.ranking(seen).top)


def test_constant_scores_are_worth_nothing():
    cases = one([0], 1)
    assert evaluate(Fixed(np.ones((1, 50)), cases), cases).metrics("kept", samples=0)["R@20"].mean == 0


def test_a_repeated_target_is_a_miss_where_seen_items_are_removed():
    cases = one([0, 1], 0)
    found = evaluate(Fixed([[9, 1, 0]], cases), cases)
    assert found.kept.ranks.tolist() == [1]
    assert found.metrics("removed", samples=0)["R@20"].mean == 0


def test_catalogue_smaller_than_k_gives_short_lists():
    cases = one([0], 1)
    found = evaluate(Fixed([[3, 2, 1]], cases), cases)
    assert found.removed.top.tolist() == [[1, 2, -1]]


def test_nan_scores_name_the_ranker_and_the_case():
    cases = one([0], 1)
    with pytest.raises(ValueError, match="'fixed' gave NaN for case '0:1'"):
        evaluate(Fixed([[np.nan, 1, 2]], cases), cases)


def test_no_case_is_not_measured_rather_than_zero():
    cases = one([0], 1).select(np.array([], dtype=int))
    assert np.isnan(evaluate(Fixed(np.zeros((0, 3)), cases), cases).metrics("kept")["N@10"].mean)


def test_scores_of_the_ranker_are_not_overwritten():
    cases = one([0], 1)
    ranker = Fixed([[3, 2, 1]], cases)
    evaluate(ranker, cases)
    assert ranker.rows["0:1"].tolist() == [3, 2, 1]


def test_best_items_break_ties_by_place():
    assert best_items(np.array([[1.0, 2.0, 2.0, 0.0]]), 3).tolist() == [[1, 2, 0]]


def test_speed_counts_batches_and_single_sessions():
    cases = expand(Sequences.of([[0, 1, 2]] * 5))
    assert set(speed(Fixed(np.ones((10, 3)), cases), cases, singles=3)) == {
        "cases_per_second",
        "p50_ms",
        "p99_ms",
    }


def test_leave_one_out_is_quoted_without_seen_items():
    assert default_seen("leave-one-out") == "removed"
    assert default_seen("next-item") == "kept"
