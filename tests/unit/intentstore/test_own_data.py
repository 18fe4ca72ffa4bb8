"""`intentstore init`: what it saw of a folder, and a settings file that the settings take."""

from __future__ import annotations

import json

import pytest

from feature_repo.contract.settings import load_settings
from intentstore.__main__ import main


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    folder = tmp_path / 'my "shop"'
    folder.mkdir()
    rows = [
        "session_id,item_id,timestamp,event",
        "a,1,1700000000,view",
        "a,2,1700000100,buy",
        "b,1,xx,view",
        "b,1,1700000300,view",
        "b,3,1700000400,view",
        "b,3,1700000400,view",
    ]
    (folder / "clicks.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_init_says_what_it_saw_and_writes_settings_that_load(shop, tmp_path, capsys):
    (shop / "items.csv").write_text("item_id,title\n1,Red shoe\n2,Blue shoe\n")
    assert main(["init", str(shop)]) == 0
    said = capsys.readouterr().out
    for part in (
        "4 clicks of 2 session ids on 3 items, from 2023-11-14 22:13 to 2023-11-14 22:20 (UTC)",
        "event types: view 4, buy 1",
        "titles: 2",
        "1 rows repeat another one",
        "1 rows will be refused: 1 x event_time ... is no timestamp",
        "event_time = 'timestamp'",
        "next: intentstore demo",
    ):
        assert part in said
    settings = load_settings(tmp_path / "intentstore.toml", {})
    assert settings.dataset.path == shop and settings.home == tmp_path / ".intentstore" / shop.name
    assert settings.intents.source == "llm"


def test_init_without_titles_asks_no_llm(shop, tmp_path, capsys):
    assert main(["init", str(shop), "--out", "own.toml", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["refused_by"] == {"event_time ... is no timestamp": 1} and found["clicks"] == 4
    assert found["next"] == "intentstore demo --config own.toml"
    assert load_settings(tmp_path / "own.toml", {}).intents.source == "none"


def test_a_settings_file_that_is_there_is_kept(shop, tmp_path, capsys):
    (tmp_path / "intentstore.toml").write_text("# mine\n")
    assert main(["init", str(shop)]) == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "intentstore.toml").read_text() == "# mine\n"
    assert main(["init", str(shop), "--force"]) == 0


@pytest.mark.parametrize(
    ("clicks", "named"),
    [
        (None, "does not exist"),
        ("session_id,item_id\n1,2\n", "event_time"),
        ("session_id,item_id,event_time\n1,2,never\n", "no usable click"),
        ("", "empty"),
    ],
)
def test_a_folder_that_is_none_is_one_line(clicks, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    if clicks is not None:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "clicks.csv").write_text(clicks)
    assert main(["init", "data"]) == 2
    err = capsys.readouterr().err
    assert named in err and err.count("intentstore init:") == 1
    assert not (tmp_path / "intentstore.toml").exists()
