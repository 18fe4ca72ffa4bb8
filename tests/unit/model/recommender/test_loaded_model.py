"""One folder, one answer: consumer, HTTP side and command line recommend the same items for the same session,
with the folder's own intents.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import synthetic

from feature_repo.contract.session import FoldConfig
from feature_repo.contract.settings import Settings
from model.__main__ import main
from model.config import make_config
from model.data.sequences import Sequences, without_targets
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
from model.intent.recipe import Recipe
from model.intent.types import SessionIntent, ViewIntent
from model.recommender import artifact
from model.recommender.loaded_model import LoadedModel, load_model
from model.recommender.recommender import Scorer
from model.recommender.train import Trained, train
from streaming.http.engine import Ask, Engine
from streaming.serving.answers import Answerer, Popularity

K = 8
RECIPE = Recipe("llm", "m", "main", "v1", "greedy", "e", 3)
ASKED = ["i2", "i3"]  # the LLM was asked about this session; its answer lies on the other side of the ring
SESSIONS = [ASKED, ["i3", "i2"], ["i9"], ["news", "i4"], ["news"], [f"i{place % 20}" for place in range(70)]]


@pytest.fixture(scope="module")
def trained() -> Trained:
    settings = {"dim": 12, "epochs": 3, "batch_size": 16, "max_length": 6, "learning_rate": 0.01}
    return train(synthetic.dataset(), make_config(settings))


def leave_intents(folder: Path) -> None:
    """What the `intents` job leaves: a whitened space, a short half-life, and one cached answer."""
    catalogue = synthetic.catalogue()
    place = Localiser(catalogue.item_ids, catalogue.titles, catalogue.vectors, "whitened", 3)
    place.save(folder)
    content = {"recipe": RECIPE.to_dict(), "half_life": 1.0}
    (folder / LIVE_FILE).write_text(json.dumps(content), encoding="utf-8")
    titles = dict(zip(catalogue.item_ids, catalogue.titles, strict=True))
    (folder / TITLES_FILE).write_text(json.dumps(titles), encoding="utf-8")
    key = RECIPE.key(ASKED, [titles[item] for item in ASKED])
    view = ViewIntent("thing 23", ("i23",), (1.0,), place.vectors[23])
    write_answers(folder / "answers.arrow", answers_table([key], [SessionIntent(view, view, "llm", key)]))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def folder(trained: Trained, settings: Settings, tmp_path: Path) -> Path:
    leave_intents(live_folder(settings))
    return artifact.save(trained, tmp_path / "model", intent=lambda target: export(settings, target))


def by_consumer(model: LoadedModel, sessions: list[list[str]]) -> list[list[tuple[str, float]]]:
    answers = Answerer(lambda: model, Popularity(), K)(sessions)
    return [[(item.item_id, item.score) for item in answer.items] for answer in answers]


def by_http(model: LoadedModel, sessions: list[list[str]]) -> list[list[tuple[str, float]]]:
    outcomes = Engine(None, lambda: model, FoldConfig())([Ask(None, tuple(items), K) for items in sessions])
    return [[(item.item_id, item.score) for item in outcome.answer.items] for outcome in outcomes]


def by_command(
    folder: Path, settings: Settings, session: list[str], capsys: pytest.CaptureFixture[str]
) -> dict:
    file = settings.home / "intentstore.toml"
    file.write_text(f'home = "{settings.home}"\n', encoding="utf-8")
    command = ["recommend", "--model", str(folder), "--session", json.dumps(session), "-k", str(K), "--json"]
    assert main([*command, "--config", str(file)]) == 0
    return json.loads(capsys.readouterr().out)


def test_all_entrances_give_the_same_answer(
    folder: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load_model(settings, folder)
    bounded = [session[-settings.session.max_items :] for session in SESSIONS]
    consumer, http = by_consumer(model, bounded), by_http(model, SESSIONS)
    for session, one, other in zip(SESSIONS, consumer, http, strict=True):
        command = [
            (row["item_id"], row["score"]) for row in by_command(folder, settings, session, capsys)["items"]
        ]
        assert [item for item, _ in one] == [item for item, _ in other] == [item for item, _ in command]
        np.testing.assert_allclose([score for _, score in one], [score for _, score in other], rtol=1e-4)
        np.testing.assert_allclose([score for _, score in one], [score for _, score in command], rtol=1e-4)


def test_the_command_shows_the_cached_answer_that_the_consumer_scores_with(
    folder: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = by_command(folder, settings, ASKED, capsys)
    assert answer["source"] == "llm"
    long = answer["intents"]["long"]
    assert (long["text"], long["items"], len(long["shown"])) == ("thing 23", ["i23"], 5)


def test_the_judge_ranks_as_the_entrances_do(trained: Trained, folder: Path, settings: Settings) -> None:
    model = load_model(settings, folder)
    intents = model.intents.infer([["i9", "i10", "i11"]])
    views = intents[0].long.vector[None], intents[0].short.vector[None]
    cases = without_targets(Sequences.of([[9, 10, 11]]), *views)
    scores = Scorer.of(trained).scores(cases)[0].copy()
    scores[[9, 10, 11]] = -np.inf
    best = [f"i{place}" for place in np.argsort(-scores, kind="stable")[:K]]
    assert best == [item for item, _ in by_consumer(model, [["i9", "i10", "i11"]])[0]]


def test_a_folder_without_intents_takes_none_of_another_shop(
    trained: Trained, settings: Settings, tmp_path: Path
) -> None:
    other = Localiser(["x1", "x2"], ["lamp", "chair"], np.eye(2, synthetic.TEXT_DIM, dtype=np.float32))
    other.save(live_folder(settings))
    model = load_model(settings, artifact.save(trained, tmp_path / "model"))
    intent = model.recommend([["i9"]], 3)[0].intent
    assert (
        intent is not None
        and intent.source == "encoder"
        and set(intent.long.items) <= set(synthetic.catalogue().item_ids)
    )


def test_a_home_of_the_same_shop_serves_a_folder_without_intents(
    trained: Trained, settings: Settings, tmp_path: Path
) -> None:
    leave_intents(live_folder(settings))
    model = load_model(settings, artifact.save(trained, tmp_path / "model"))
    assert isinstance(model.intents, LiveIntents)
    assert model.recommend([ASKED], 3)[0].intent.source == "llm"


def test_a_model_that_knows_no_titles_answers_without_intents(settings: Settings, tmp_path: Path) -> None:
    plain = train(synthetic.dataset(text=False), make_config({"dim": 8, "epochs": 1, "hybrid": False}))
    model = load_model(settings, artifact.save(plain, tmp_path / "model"))
    assert model.recommend([["i3"]], 2)[0].intent.source == "none"
