"""Plain Feast finds the home by the environment, the working folder, or the folder above the repository."""

from __future__ import annotations

import pytest

from feature_repo.stores.surroundings import settings_here


@pytest.fixture
def repo(tmp_path):
    made = tmp_path / "project" / "feature_repo"
    made.mkdir(parents=True)
    return made


@pytest.fixture(autouse=True)
def _no_home(monkeypatch):
    monkeypatch.delenv("INTENTSTORE_HOME", raising=False)


def test_the_working_folders_settings_win(repo, tmp_path, monkeypatch):
    (repo.parent / ".intentstore").mkdir()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "intentstore.toml").write_text('home = "own"')
    monkeypatch.chdir(mine)
    assert settings_here(repo).home == mine / "own"


@pytest.mark.parametrize("text", [None, 'home = "lake/shop"', 'home = "/data/shop"'])
def test_inside_the_repository_the_folder_above_holds(text, repo, monkeypatch):
    (repo.parent / ".intentstore").mkdir()
    if text:
        (repo.parent / "intentstore.toml").write_text(text)
    monkeypatch.chdir(repo)
    expected = {None: repo.parent / ".intentstore", 'home = "lake/shop"': repo.parent / "lake" / "shop"}
    assert str(settings_here(repo).home) == str(expected.get(text, "/data/shop"))


def test_the_variable_wins(repo, tmp_path, monkeypatch):
    (repo.parent / ".intentstore").mkdir()
    monkeypatch.chdir(repo)
    monkeypatch.setenv("INTENTSTORE_HOME", str(tmp_path / "else"))
    assert settings_here(repo).home == tmp_path / "else"
