"""Shops with odd data train and answer, or say in one line why not."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_bad_input import QUICK, benchmarked, clicks

from feature_repo.contract.settings import Settings
from model.config import make_config
from model.recommender import artifact
from model.recommender.recommender import ScoreRequest
from model.study import benchmark

WALKS = ["a b c d", "b c d e", "c d e a"]
ITEMS = "item_id,title,category\n"


def items(titles: dict[str, str], category: str = "") -> str:
    return ITEMS + "".join(f'{name},"{title}","{category}"\n' for name, title in titles.items())


def test_five_sessions_in_all(tmp_path: Path) -> None:
    found = benchmarked(tmp_path / "d", {"clicks.csv": clicks(*WALKS, "a b", "d e")})
    assert found.metrics["test_cases"] > 0
    assert artifact.load(tmp_path / "d" / "out" / "model").score([ScoreRequest(["a"])], 3)[0].items


def test_all_items_of_the_test_are_new(tmp_path: Path) -> None:
    files = {"clicks.csv": clicks(*WALKS * 4), "clicks_test.csv": clicks("x y z", "y z")}
    found = benchmarked(tmp_path / "d", files, refit=True)
    assert found.metrics["test_cases"] == 3


def test_one_item_that_everybody_clicks(tmp_path: Path) -> None:
    found = benchmarked(tmp_path / "d", {"clicks.csv": clicks(*["a a a a", "a b a", "a a b a"] * 6)})
    assert artifact.load(tmp_path / "d" / "out" / "model").score([ScoreRequest(["b"])], 1)[0].items == ("a",)
    assert found.trained.hybrid is not None


@pytest.mark.parametrize(
    ("title", "category"),
    [("same thing", "Home, Garden, Tools"), ("", "/a/b/c"), ("long " * 2_000, "[''x'', ''y'']")],
)
def test_titles_that_tell_nothing_apart(tmp_path: Path, title: str, category: str) -> None:
    files = {"clicks.csv": clicks(*WALKS * 6), "items.csv": items(dict.fromkeys("abcde", title), category)}
    found = benchmarked(tmp_path / "d", files)
    assert found.metrics["test_cases"] > 0
    assert len(artifact.load(tmp_path / "d" / "out" / "model").score([ScoreRequest(["a"])], 4)[0].items) == 4


@pytest.mark.parametrize("category", ["Home, Garden, Tools", "/a/b/c", '[""Home & Garden"", ""Tools""]'])
def test_categories_with_commas_paths_and_lists(tmp_path: Path, category: str) -> None:
    titles = {name: f"thing {name}" for name in "abcde"}
    found = benchmarked(
        tmp_path / "d", {"clicks.csv": clicks(*WALKS * 6), "items.csv": items(titles, category)}
    )
    assert found.metrics["test_cases"] > 0
    assert len(set(found.trained.catalogue.categories)) == 1


def test_more_items_than_titles_are_read_of_train_on_behaviour_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(benchmark, "MOST_TEXT_ITEMS", 4)
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "clicks.csv").write_text(clicks(*WALKS * 6), encoding="utf-8")
    (folder / "items.csv").write_text(items({name: f"thing {name}" for name in "abcde"}), encoding="utf-8")
    found = benchmark.run(Settings(home=tmp_path / "home"), folder, make_config(QUICK), tmp_path / "out")
    assert found.trained.catalogue.vectors is None
    assert "5 items, and titles of more than 4 are not read" in caplog.text


def test_validation_without_a_case_that_can_be_used(tmp_path: Path) -> None:
    files = {
        "clicks.csv": clicks(*WALKS * 4),
        "clicks_valid.csv": clicks("a"),
        "clicks_test.csv": clicks("a b c"),
    }
    found = benchmarked(tmp_path / "d", files, refit=True)
    assert found.metrics["test_cases"] == 2
