"""Intents of a dataset folder's cases by every source; the LLM is a real server on this machine that answers
with a title.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from title_server import TitleEncoder, serve

from feature_repo.contract.settings import Settings
from model.data.splits import Dataset
from model.study.case_intents import with_intents


@pytest.fixture
def server() -> Iterator[tuple[str, list[Any]]]:
    with serve(lambda _: "thing 7") as running:
        yield running


def settings(home: Path, url: str, calls: int, fallback: str = "encoder") -> Settings:
    intents = {"source": "endpoint", "max_calls": calls, "fallback": fallback, "top_r": 1}
    return Settings.model_validate({"home": str(home), "intents": intents, "endpoint": {"url": url}})


def given(dataset: Dataset, made: Settings, source: Any) -> Dataset:
    return with_intents(dataset, made, source, TitleEncoder())


def test_the_endpoint_serves_what_the_budget_allows_and_the_fallback_the_rest(
    server: tuple[str, list[Any]], tmp_path: Path
) -> None:
    data, made = synthetic.dataset(), settings(tmp_path, server[0], 6)
    plain, found = given(data, made, "encoder"), given(data, made, "endpoint")
    assert len(server[1]) == 12  # two views of six prefixes
    assert found.notes[-1].startswith(
        f"intents: 6 of {len(data.valid) + len(data.test)} cases by endpoint, the others by encoder"
    )
    changed = [
        int((np.abs(ours.short - theirs.short).sum(1) > 1e-6).sum())
        for ours, theirs in ((found.valid, plain.valid), (found.test, plain.test))
    ]
    assert sum(changed) == 6 and min(changed) > 0
    seven = given(data, settings(tmp_path, server[0], 6, "none"), "endpoint")
    known = np.flatnonzero(np.abs(seven.test.short).sum(1))
    assert 0 < len(known) < 6
    # one answer, one grounded vector
    assert len({vector.tobytes() for vector in seven.test.short[known]}) == 1


def test_a_second_run_asks_nothing(server: tuple[str, list[Any]], tmp_path: Path) -> None:
    data, made = synthetic.dataset(), settings(tmp_path, server[0], 5)
    first = given(data, made, "endpoint")
    file = next((tmp_path / "intent_answers").iterdir())
    file.write_text(file.read_text(encoding="utf-8") + '{"key": "cut o', encoding="utf-8")  # a killed run
    asked = len(server[1])
    again = given(data, made, "endpoint")
    assert len(server[1]) == asked
    assert np.array_equal(first.test.long, again.test.long)


def test_the_student_learns_from_validation_cases_alone(
    server: tuple[str, list[Any]], tmp_path: Path
) -> None:
    data = synthetic.dataset()
    found = given(data, settings(tmp_path, server[0], 60), "student")
    assert "taught by 60 answers on validation cases" in found.notes[-1] and "by student" in found.notes[-1]
    few = given(data, settings(tmp_path / "few", server[0], 3), "student")
    assert "by encoder" in few.notes[-1]  # three answers teach nothing


def test_no_intents_and_no_texts_leave_the_cases_alone(tmp_path: Path) -> None:
    data = synthetic.dataset()
    assert given(data, Settings(home=tmp_path), "none") is data
    bare = synthetic.dataset(text=False)
    assert given(bare, Settings(home=tmp_path), "encoder") is bare
