"""Views and groundings of an LLM's answers in the studies; the LLM is a real server on this machine that
answers each prompt otherwise.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from title_server import TitleEncoder, serve

from feature_repo.contract.settings import Settings
from model.config import make_config
from model.data.splits import Dataset
from model.rankers.title_knn import reduced
from model.study.answers import Answers
from model.study.case_intents import with_intents
from model.study.report import write_report
from model.study.study import run_sections
from model.study.variants import Study

SAYS = {"long": "thing 3", "short": "thing 11", "neutral": "thing 25"}
CALLS = 8
CONFIG = make_config({"dim": 8, "epochs": 1, "batch_size": 64, "max_length": 8, "backbone": "gru4rec"})


def kind(prompt: str) -> str:
    return next((view for view in ("long", "short") if f"{view} term" in prompt), "neutral")


@pytest.fixture
def server() -> Iterator[tuple[str, list[Any]]]:
    with serve(lambda prompt: SAYS[kind(prompt)]) as running:
        yield running


def settings(home: Path, url: str, **intents: Any) -> Settings:
    given = {"source": "encoder", "max_calls": CALLS, "fallback": "none", "top_r": 1, **intents}
    return Settings.model_validate(
        {"home": str(home), "intents": given, "endpoint": {"url": url, "attempts": 1}}
    )


def stored(made: Settings) -> Dataset:
    return with_intents(synthetic.dataset(), made, "endpoint", TitleEncoder())


def prompts(asked: list[Any]) -> list[str]:
    return [body["messages"][-1]["content"] for body in asked]


def answered(vectors: np.ndarray | None) -> np.ndarray:
    assert vectors is not None
    return vectors[np.abs(vectors).sum(1) > 0]


def test_the_neutral_prompt_is_asked_once_a_case_and_its_answer_serves_both_views(
    server: tuple[str, list[Any]], tmp_path: Path
) -> None:
    url, asked = server
    made = settings(tmp_path, url)
    data = stored(made)
    assert Counter(map(kind, prompts(asked))) == {"long": CALLS, "short": CALLS}
    found = Answers(made, "endpoint", TitleEncoder).views()["neutral prompt"](data)
    assert Counter(map(kind, prompts(asked))) == {"long": CALLS, "short": CALLS, "neutral": CALLS}
    assert len(set(prompts(asked))) == 3 * CALLS
    title = reduced(synthetic.vectors())[25]
    for cases, before in ((found.valid, data.valid), (found.test, data.test)):
        assert len(answered(cases.long)) == len(answered(before.long)) > 0
        assert np.allclose(answered(cases.long), title, atol=1e-5)
        assert np.array_equal(cases.long, cases.short)
    assert found.notes[-1].startswith(f"intents: {CALLS} of ")


def test_the_neutral_answers_are_kept_beside_those_of_the_views(
    server: tuple[str, list[Any]], tmp_path: Path
) -> None:
    url, asked = server
    made = settings(tmp_path, url)
    data = stored(made)
    kept = {file: file.read_bytes() for file in (tmp_path / "intent_answers").iterdir()}
    first = Answers(made, "endpoint", TitleEncoder).views()["neutral prompt"](data)
    assert all(file.read_bytes() == content for file, content in kept.items())
    own = {
        row["key"]
        for file in set((tmp_path / "intent_answers").iterdir()) - set(kept)
        for row in map(json.loads, file.read_text().splitlines())
    }
    others = {json.loads(line)["key"] for content in kept.values() for line in content.splitlines()}
    assert len(own) == len(others) == CALLS and not own & others
    before = len(asked)
    again = Answers(made, "endpoint", TitleEncoder).views()["neutral prompt"](data)
    assert len(asked) == before
    assert np.array_equal(first.test.long, again.test.long)


def test_one_view_is_that_of_the_stored_answers(server: tuple[str, list[Any]], tmp_path: Path) -> None:
    made = settings(tmp_path, server[0])
    data = stored(made)
    before = len(server[1])
    views = Answers(made, "endpoint", TitleEncoder).views()
    long, short = views["long only"](data).test, views["short only"](data).test
    assert long.short is None and short.long is None
    titles = reduced(synthetic.vectors())
    assert np.allclose(answered(long.long), titles[3], atol=1e-5) and np.allclose(
        answered(short.short), titles[11], atol=1e-5
    )
    assert views["both views"](data) is data
    assert len(server[1]) == before


def test_groundings_are_of_the_same_answers_without_a_call_and_each_text_is_read_once(
    server: tuple[str, list[Any]], tmp_path: Path
) -> None:
    made = settings(tmp_path, server[0])
    data = stored(made)
    before, encoder = len(server[1]), TitleEncoder()
    table = Answers(made, "endpoint", lambda: encoder).groundings()
    assert list(table) == [f"r = {top_r}" for top_r in range(6)]
    titles = reduced(synthetic.vectors())
    for top_r, attach in enumerate(table.values()):
        cosines = titles @ titles[3]
        best = np.argsort(-cosines)[: max(1, top_r)]
        wanted = cosines[best] @ titles[best]
        assert np.allclose(answered(attach(data).test.long), wanted / np.linalg.norm(wanted), atol=1e-4)
    assert len(server[1]) == before
    assert sorted(encoder.read) == sorted({SAYS["long"], SAYS["short"]})


def test_a_study_of_an_llm_measures_its_answers_and_reads_rows_back_only_for_the_same_ones(
    server: tuple[str, list[Any]], tmp_path: Path
) -> None:
    url, asked = server
    made, out = settings(tmp_path, url), tmp_path / "out"
    study = Study(stored(made), CONFIG, out, "endpoint", Answers(made, "endpoint", TitleEncoder))
    run_sections(study, ("views", "grounding"), [], [])
    assert [row.name for row in study.rows] == [
        "both views",
        "long only",
        "short only",
        "neutral prompt",
        *(f"r = {top_r}" for top_r in range(6)),
    ]
    assert {row.reference for row in study.rows[1:4]} == {"both views"}
    ranks = {row.name: row.ranks for row in study.rows}
    assert np.array_equal(ranks["both views"], ranks["r = 1"])  # as stored
    text = write_report(study, out).read_text(encoding="utf-8")
    assert "Intents by endpoint." in text and f"- as stored, neutral prompt: {CALLS} of " in text
    before = len(asked)
    again = Study(
        study.dataset, CONFIG, out, "endpoint", Answers(made, "endpoint", lambda: pytest.fail("read again"))
    )
    run_sections(again, ("views", "grounding"), [], [])
    assert [row.body for row in again.rows] == [row.body for row in study.rows] and len(asked) == before
    more = settings(tmp_path, url, max_calls=CALLS + 2)
    other = Study(stored(more), CONFIG, out, "endpoint", Answers(more, "endpoint", TitleEncoder))
    run_sections(other, ("views",), [], [])
    assert other.rows[3].body["notes"][0].startswith(f"intents: {CALLS + 2} of ")


def test_a_neutral_prompt_that_fails_is_counted_and_never_an_answer(tmp_path: Path) -> None:
    with serve(lambda prompt: "" if kind(prompt) == "neutral" else SAYS[kind(prompt)]) as (url, _):
        made = settings(tmp_path, url)
        found = Answers(made, "endpoint", TitleEncoder).views()["neutral prompt"](stored(made))
    assert found.notes[-1].startswith("intents: 0 of ")
    assert not np.any(found.test.long)
