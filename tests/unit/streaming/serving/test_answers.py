"""What the answers of Kafka may show: ended, withdrawn and forbidden items are in none."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from model.data.catalogue import Catalogue
from model.recommender.limits import NO_LIMITS, Limits, Shelf
from model.recommender.loaded_model import LoadedModel
from model.recommender.recommender import Scored
from streaming.serving.answers import Answerer, Popularity

IDS = list("abcdef")
CATALOGUE = Catalogue.build(IDS, IDS, ["Toys", "Toys", "Toys", "Books", "Books", ""])


class Ranks:
    """Ranks the catalogue in its order, whatever the session."""

    version, item_ids, catalogue = "ranks", IDS, CATALOGUE
    counts = np.ones(6, dtype=np.int64)

    def score(self, requests, k):
        answers = []
        for request in requests:
            mask = np.ones(6, dtype=bool) if request.allowed is None else request.allowed
            allowed = np.array(IDS)[mask].tolist()[:k]
            scores = tuple(1.0 - IDS.index(item) / 10 for item in allowed)
            answers.append(Scored(tuple(allowed), scores, ("",) * len(allowed), ("",) * len(allowed)))
        return answers


def answerer(limits=NO_LIMITS, gone=(), model=True):
    shelf = Shelf(CATALOGUE, Ranks.counts, frozenset(gone))
    loaded = LoadedModel(Ranks(), None, None, SimpleNamespace(now=lambda: shelf)) if model else None
    return Answerer(lambda: loaded, Popularity(), 3, limits=limits, withdrawn=lambda: frozenset(gone))


def shown(answers):
    return [[item.item_id for item in answer.items] for answer in answers]


def test_ended_and_withdrawn_items_are_in_no_answer_and_there_are_never_fewer_than_asked():
    answers = answerer(gone=("b",))([["a"], ["a"]], [(), ("c", "d")])
    assert shown(answers) == [["a", "c", "d"], ["a", "e", "f"]]


def test_the_rules_of_the_settings_hold_in_every_answer():
    assert shown(answerer(Limits(per_category=1))([["a"]], [("a",)])) == [["b", "d", "f"]]
    assert shown(answerer(Limits(category="books"))([["a"]], [()])) == [["d", "e"]]


def test_without_a_model_ended_and_withdrawn_items_are_not_shown_either():
    answers = answerer(gone=("b",), model=False)
    answers.popularity.count(["a", "a", "b", "b", "b", "c", "d"])
    assert shown(answers([["a"], ["a"]], [(), ("a",)])) == [["a", "c", "d"], ["c", "d"]]


def test_rules_that_no_item_keeps_give_empty_answers_and_are_said_once(caplog):
    failed = []
    answers = answerer(Limits(category="Cars"))
    answers._on_failure = failed.append
    assert shown(answers([["a"]])) == shown(answers([["b"]])) == [[]]
    assert failed == [1, 1]
    assert sum("'Cars' is of no item" in message for message in caplog.messages) == 1
