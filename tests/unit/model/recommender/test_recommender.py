"""The scorer at work: unknown items, short catalogues, batches, reasons, new items."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic

from model.config import make_config
from model.data.catalogue import Catalogue
from model.evaluate.judge import evaluate
from model.recommender.limits import NO_LIMITS, Limits
from model.recommender.loaded_model import LoadedModel
from model.recommender.reasons import BECAUSE, WHOLE
from model.recommender.recommender import POPULAR, Scorer, ScoreRequest
from model.recommender.train import train


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    config = make_config(
        {
            "dim": 16,
            "epochs": 8,
            "batch_size": 16,
            "max_length": 6,
            "learning_rate": 0.01,
            "dropout": 0.1,
            "embedding_dropout": 0.1,
        }
    )
    return Scorer.of(train(synthetic.dataset(without=20), config))


@pytest.fixture(scope="module")
def plain() -> Scorer:
    return Scorer.of(
        train(synthetic.dataset(text=False), make_config({"dim": 8, "epochs": 1, "hybrid": False}))
    )


def test_a_session_is_answered_by_what_follows_it(scorer: Scorer) -> None:
    answer = scorer.score([ScoreRequest(["i3", "i4", "i5"])], 3)[0]
    assert {"i6", "i7"} & set(answer.items)
    assert list(answer.scores) == sorted(answer.scores, reverse=True)


def test_the_answer_does_not_depend_on_the_batch(scorer: Scorer) -> None:
    requests = [
        ScoreRequest([f"i{place % 19}" for place in range(start, start + 1 + start % 5)])
        for start in range(30)
    ]
    alone = [scorer.score([request], 5)[0] for request in requests]
    together = scorer.score(requests, 5)
    assert [answer.items for answer in alone] == [answer.items for answer in together]
    np.testing.assert_allclose(
        [answer.scores for answer in alone], [answer.scores for answer in together], rtol=1e-4
    )


def test_unknown_items_are_skipped(scorer: Scorer) -> None:
    known, mixed = scorer.score([ScoreRequest(["i3", "i4"]), ScoreRequest(["news", "i3", "?", "i4"])], 5)
    assert known.items == mixed.items


@pytest.mark.parametrize("items", [[], ["news"]])
def test_a_session_of_nothing_known_is_answered_by_popularity(scorer: Scorer, items: list[str]) -> None:
    answer = scorer.score([ScoreRequest(items)], 4)[0]
    counts = scorer.counts
    assert [counts[int(item[1:])] for item in answer.items] == sorted(counts, reverse=True)[:4]
    assert set(answer.reasons) == {POPULAR}


def test_seen_items_are_left_out_or_not(scorer: Scorer) -> None:
    session = [ScoreRequest(["i3", "i4", "i3"])]
    assert not {"i3", "i4"} & set(scorer.score(session, 40)[0].items)
    assert {"i3", "i4"} <= set(replace(scorer, without_seen=False).score(session, 40)[0].items)


def test_k_above_the_catalogue_gives_what_there_is(scorer: Scorer) -> None:
    answer = scorer.score([ScoreRequest(["i3"])], 1000)[0]
    assert len(answer.items) == len(set(answer.items)) == len(answer.reasons) == synthetic.ITEMS - 1


def test_k_below_one_is_an_error(scorer: Scorer) -> None:
    with pytest.raises(ValueError, match="k = 0"):
        scorer.score([ScoreRequest(["i3"])], 0)


@pytest.mark.parametrize(
    ("vector", "message"),
    [(np.zeros(3, np.float32), "reads 12 numbers"), (np.full(12, np.nan, np.float32), "NaN")],
)
def test_wrong_intent_vectors_are_refused(scorer: Scorer, vector: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scorer.score([ScoreRequest(["i3"], long=vector)], 3)


def test_long_sessions_and_no_sessions(scorer: Scorer) -> None:
    assert scorer.score([], 3) == []
    assert len(scorer.score([ScoreRequest([f"i{place % 19}" for place in range(500)])], 3)[0].items) == 3


def test_reasons_name_the_source_that_spoke_most(scorer: Scorer, plain: Scorer) -> None:
    assert set(plain.score([ScoreRequest(["i3"])], 5)[0].reasons) == {WHOLE["network"]}
    answer = scorer.score([ScoreRequest(["i3", "i4"])], 5)[0]
    assert all(answer.reasons)


def test_shares_of_a_recommendation_add_up_and_the_largest_is_the_reason(
    scorer: Scorer, plain: Scorer
) -> None:
    request = ScoreRequest(["i3", "i4"])
    answer = scorer.score([request], 5)[0]
    assert scorer.hybrid is not None
    for share, reason in zip(scorer.shares(request, answer.items), answer.reasons, strict=True):
        assert sum(share.values()) == pytest.approx(1, abs=1e-4)
        first = next(iter(share))
        assert set(share) == {name for name, weight in scorer.hybrid.weights.items() if weight > 0}
        assert reason == WHOLE[first] or reason.startswith(BECAUSE[first])
    assert plain.shares(request, ["i5"]) == [{"network": 1.0}]
    assert scorer.shares(ScoreRequest(["news"]), ["i5"]) == [{}]


def test_the_judge_and_the_answers_agree(scorer: Scorer) -> None:
    cases = synthetic.dataset(without=20).test
    top = evaluate(scorer, cases).removed.top[:, 0]
    names = scorer.item_ids
    answers = scorer.score([ScoreRequest([names[item] for item in prefix]) for prefix in cases.prefixes], 1)
    # ties aside
    assert (
        np.mean([names[best] == answer.items[0] for best, answer in zip(top.tolist(), answers, strict=True)])
        > 0.95
    )


def test_a_new_item_is_recommended_from_its_title_at_once(scorer: Scorer) -> None:
    near = synthetic.vectors()[5]
    grown = scorer.with_items(
        Catalogue(["fresh", "i3"], ["thing 5 and a half", "known already"], ["", ""], np.stack([near, near]))
    )
    assert len(grown.item_ids) == synthetic.ITEMS + 1
    assert "fresh" in grown.score([ScoreRequest(["i3", "i4"])], 8)[0].items
    assert grown.score([ScoreRequest(["fresh"])], 3)[0].reasons[0] != POPULAR  # a click on it counts too
    assert "fresh" not in scorer.item_ids


def test_new_items_of_another_encoder_are_refused(scorer: Scorer) -> None:
    with pytest.raises(ValueError, match="model unsaved reads 12"):
        scorer.with_items(Catalogue(["fresh"], ["x"], [""], np.ones((1, 5), np.float32)))


def test_known_items_change_nothing(scorer: Scorer) -> None:
    assert scorer.with_items(synthetic.catalogue()) is scorer


def test_a_mask_takes_items_away_and_changes_no_order_and_no_score(scorer: Scorer) -> None:
    items = scorer.item_ids
    sessions = [items[:3], items[4:5], ["nobody"]]
    draw = np.random.default_rng(5)
    for session in sessions:
        everything = scorer.score([ScoreRequest(session)], len(items))[0]
        mask = draw.random(len(scorer.item_ids)) < 0.4
        some = scorer.score([ScoreRequest(session, allowed=mask), ScoreRequest(session)], 5)
        allowed = {item for item, free in zip(scorer.item_ids, mask, strict=True) if free}
        kept = [place for place, item in enumerate(everything.items) if item in allowed][:5]
        assert some[0].items == tuple(everything.items[place] for place in kept)
        np.testing.assert_allclose(some[0].scores, [everything.scores[place] for place in kept], rtol=1e-6)
        assert some[1].items == everything.items[:5]


def test_rules_on_a_model_are_exact_and_the_reasons_stay(scorer: Scorer) -> None:
    items = scorer.item_ids
    model = LoadedModel(scorer, None, Path())
    session = items[:2]
    everything = scorer.score([ScoreRequest(session)], len(items))[0]
    first = everything.items[0]
    limits = Limits(exclude=frozenset({first}), min_score=everything.scores[4], per_category=len(items))
    found, plain = model.recommend([session, session], 4, [limits, NO_LIMITS])
    assert found.scored.items == everything.items[1:5]
    assert found.scored.reasons == everything.reasons[1:5]
    assert plain.scored.items == everything.items[:4]
