"""Shops with odd data train and answer, or say in one line why not."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_bad_input import benchmarked, clicks

from model.recommender import artifact
from model.recommender.recommender import ScoreRequest

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


def test_validation_without_a_case_that_can_be_used(tmp_path: Path) -> None:
    files = {
        "clicks.csv": clicks(*WALKS * 4),
        "clicks_valid.csv": clicks("a"),
        "clicks_test.csv": clicks("a b c"),
    }
    found = benchmarked(tmp_path / "d", files, refit=True)
    assert found.metrics["test_cases"] == 2
