"""Live intents: the cache first, a guess otherwise, and the same content keys as the batch job."""

from __future__ import annotations

import json

import numpy as np
import pytest

from feature_repo.contract.settings import Settings
from model.intent.ask.budget import affordable, recency, unsureness
from model.intent.ask.spool import Spool, clear, spooled
from model.intent.ground.encoder import EncoderSource
from model.intent.ground.live import (
    LIVE_FILE,
    TITLES_FILE,
    LiveIntents,
    answers_table,
    export,
    live_folder,
    write_answers,
)
from model.intent.ground.localiser import Localiser
from model.intent.ground.student import STUDENT_FILE, Student, train_student
from model.intent.recipe import Recipe
from model.intent.types import SessionIntent, ViewIntent

RECIPE = Recipe("llm", "m", "main", "v1", "greedy", "e", 3)
ITEMS = [f"i{row}" for row in range(40)]
TITLES = {item: f"Title {item}" for item in ITEMS}


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path)


@pytest.fixture
def left(settings):
    folder = live_folder(settings)
    vectors = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)
    place = Localiser(ITEMS, list(TITLES.values()), vectors)
    place.save(folder)
    (folder / LIVE_FILE).write_text(
        json.dumps({"recipe": RECIPE.to_dict(), "half_life": 3.0}), encoding="utf-8"
    )
    (folder / TITLES_FILE).write_text(json.dumps(TITLES), encoding="utf-8")
    key = RECIPE.key(["i1", "i2"], [TITLES["i1"], TITLES["i2"]])
    view = ViewIntent("Title i7", ("i7",), (0.9,), place.vectors[7])
    write_answers(folder / "answers.arrow", answers_table([key], [SessionIntent(view, view, "llm", key)]))
    return place


def test_a_cached_answer_wins_and_everything_else_is_guessed(settings, left):
    live = LiveIntents.load(settings)
    cached, guessed, unknown = live.infer([["i1", "i2"], ["i2", "i1"], ["nowhere"]])
    assert (cached.source, guessed.source, unknown.source) == ("llm", "encoder", "none")
    assert cached.long.text == "Title i7" and np.allclose(cached.long.vector, left.vectors[7])
    assert guessed.cache_key and guessed.cache_key != cached.cache_key
    assert live.counts == {"llm": 1, "encoder": 1, "none": 1}


def test_the_key_sees_only_the_newest_titled_items(settings, left):
    live = LiveIntents.load(settings)
    assert (
        live.key(["i9", "i1", "gone", "i2", "i3"])
        == live.key(["i1", "i2", "i3"])
        != live.key(["i2", "i1", "i3"])
    )
    assert live.key(["gone"]) == ""


def test_a_remembered_answer_is_used_from_then_on(settings, left):
    live = LiveIntents.load(settings)
    before = live.infer([["i5"]])[0]
    live.remember(before.cache_key, SessionIntent(before.long, before.short, "llm", before.cache_key))
    assert live.infer([["i5"]])[0].source == "llm"


def test_the_student_answers_where_it_is_asked_for(settings, left, tmp_path):
    source = EncoderSource(left)
    trivial = source.vectors([[item] for item in ITEMS])
    student = train_student(trivial, (trivial[1], trivial[0]))
    assert student is not None
    student.save(live_folder(settings) / STUDENT_FILE)
    chosen = settings.model_copy(
        update={"intents": settings.intents.model_copy(update={"fallback": "student"})}
    )
    assert LiveIntents.load(chosen).infer([["i3"], ["gone"]])[0].source == "student"
    assert [one.source for one in LiveIntents.load(chosen).infer([["gone"]])] == ["none"]
    again = Student.load(live_folder(settings) / STUDENT_FILE)
    assert (
        np.allclose(again.predict(*trivial)[0], student.predict(*trivial)[0])
        and again.agreement == student.agreement
    )


def test_without_titles_every_intent_is_none(settings, tmp_path):
    live = LiveIntents.load(settings, tmp_path / "model")
    assert [intent.source for intent in live.infer([["a"], []])] == ["none", "none"]


def test_a_model_folder_carries_its_own_intents(settings, left, tmp_path):
    export(settings, tmp_path / "model" / "intent")
    moved = Settings(home=tmp_path / "elsewhere")
    assert [
        intent.source for intent in LiveIntents.load(moved, tmp_path / "model").infer([["i1", "i2"], ["i4"]])
    ] == ["llm", "encoder"]


def test_student_learns_what_the_trivial_predictor_cannot_know():
    chooser = np.random.default_rng(0)
    inputs = chooser.normal(size=(400, 12)).astype(np.float32)
    inputs /= np.linalg.norm(inputs, axis=1, keepdims=True)
    turned = inputs @ np.linalg.qr(chooser.normal(size=(12, 12)))[0].astype(np.float32)
    student = train_student((inputs, inputs), (turned, turned))
    assert student is not None
    assert student.agreement.student_long > student.agreement.trivial_long + 0.3
    assert student.agreement.held_out == 80
    assert train_student((inputs[:5], inputs[:5]), (turned[:5], turned[:5])) is None


def test_content_keys_change_with_everything_an_answer_depends_on():
    base = RECIPE.key(["1", "2"], ["A", "B"])
    changed = [
        RECIPE.key(["1", "2"], ["A", "C"]),
        RECIPE.key(["2", "1"], ["B", "A"]),
        RECIPE.key(["1"], ["A"]),
        *(
            Recipe(**{**RECIPE.to_dict(), name: "other"}).key(["1", "2"], ["A", "B"])
            for name in RECIPE.to_dict()
            if name != "max_items"
        ),
    ]
    assert len({base, *changed}) == len(changed) + 1


def test_budget_prefers_doubt_and_never_exceeds_the_money():
    assert unsureness([np.array([100]), np.array([1, 1, 1]), np.array([], int)]).argsort().tolist()[0] == 0
    assert recency(np.array([0.0, 14.0, 28.0])).round(2).tolist() == [1.0, 0.5, 0.25]
    assert affordable([300] * 10, 100, 0.0, 1.0, 1.0, 16) == 0
    count = affordable([3000] * 1000, 1000, 0.05, 2.0, 4.0, 16)
    assert 0 < count < 1000 and count * (1000 * 2.0 + 32 * 4.0) / 1e6 <= 0.05


def test_spool_survives_a_cut_off_line(tmp_path):
    spool = Spool(tmp_path)
    spool.append({"cache_key": "a", "text": "千\n"})
    spool.append({"cache_key": "b"})
    spool.close()
    file = next(tmp_path.glob("*.jsonl"))
    file.write_text(file.read_text(encoding="utf-8")[:-8], encoding="utf-8")
    rows, files = spooled(tmp_path)
    assert [row["cache_key"] for row in rows] == ["a"]
    clear(files)
    assert spooled(tmp_path) == ([], []) == spooled(tmp_path / "missing")
