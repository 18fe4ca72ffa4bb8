"""Reasons name the click that a part of the score goes back to: checked against one click at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import synthetic

from model.config import make_config
from model.data.sequences import Sequences, without_targets
from model.mix import KINDS, Part
from model.mix.hybrid import NETWORK, Hybrid
from model.rankers import tables
from model.recommender.reasons import BECAUSE, WHOLE, quoted
from model.recommender.recommender import Scorer, ScoreRequest
from model.recommender.train import train

SESSION = ["i3", "i9", "i14", "i4"]


@pytest.fixture(scope="module")
def plain() -> Scorer:
    return Scorer.of(
        train(synthetic.dataset(without=20), make_config({"dim": 8, "epochs": 1, "hybrid": False}))
    )


@pytest.fixture(scope="module")
def parts() -> dict[str, Part]:
    return {name: kind.fit(synthetic.dataset(without=20)) for name, kind in KINDS.items()}


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("name", ["transitions", "items", "sequels", "titles", "words"])
def test_the_named_click_speaks_most_alone(
    plain: Scorer, parts: dict[str, Part], name: str, small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = parts[name]
    if not small:  # the way of catalogues whose item x item tables would not fit into memory
        monkeypatch.setattr(tables, "SMALL_CATALOGUE", 0)
        part = KINDS[name].of(part.arrays(), plain.catalogue)
    scorer = replace(plain, hybrid=Hybrid({NETWORK: 0.0, name: 1.0}, {name: part}))
    answer = scorer.score([ScoreRequest(SESSION)], 8)[0]
    ranker: Any = vars(part)["ranker"]
    decay = ranker.query_decay if hasattr(ranker, "query_decay") else ranker.decay
    places = [plain.catalogue.index[item] for item in SESSION]
    for item, reason, because in zip(answer.items, answer.reasons, answer.because, strict=True):
        alone = [
            decay ** (len(places) - 1 - step)
            * float(ranker.scores(without_targets(Sequences.of([[place]])))[0, plain.catalogue.index[item]])
            for step, place in enumerate(places)
        ]
        if max(alone) <= 0:
            assert (reason, because) == (WHOLE[name], "")
            continue
        assert alone[SESSION.index(because)] == pytest.approx(max(alone), rel=1e-4)
        assert reason == BECAUSE[name] + quoted(plain.catalogue.titles[plain.catalogue.index[because]])


def test_neighbours_name_the_click_by_which_they_were_found(plain: Scorer) -> None:
    part = KINDS["neighbours"].fit(
        replace(synthetic.dataset(), train=Sequences.of([[0, 1, 2], [0, 1, 5], [7, 8], [7, 9, 8]]))
    )
    scorer = replace(plain, hybrid=Hybrid({"neighbours": 1.0}, {"neighbours": part}))
    answers = scorer.score([ScoreRequest(["i7", "i1"]), ScoreRequest(["i1", "i7"]), ScoreRequest(["i39"])], 5)
    for answer in answers[:2]:
        named = dict(zip(answer.items, answer.because, strict=True))
        assert {item: named[item] for item in ("i2", "i5", "i8")} == {"i2": "i1", "i5": "i1", "i8": "i7"}
    assert set(answers[2].because) == {""}  # nobody clicked it: nothing to name


def test_network_and_intents_name_no_click(plain: Scorer, parts: dict[str, Part]) -> None:
    assert set(plain.score([ScoreRequest(SESSION)], 5)[0].because) == {""}
    scorer = replace(plain, hybrid=Hybrid({"intents": 1.0}, {"intents": parts["intents"]}))
    vector = np.ones(synthetic.TEXT_DIM, np.float32)
    answer = scorer.score([ScoreRequest(SESSION, vector, vector)], 5)[0]
    assert set(answer.because) == {""}
    assert set(answer.reasons) == {WHOLE["intents"]}


def test_long_titles_are_cut() -> None:
    assert quoted("a" * 100) == "“" + "a" * 39 + "…”"
