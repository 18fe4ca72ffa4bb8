"""The watch over the promoted model: a good one is taken, a broken one never replaces it."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest

from feature_repo.contract.items.fold import NO_ITEMS, LiveItems
from feature_repo.contract.items.messages import ItemUpdate
from model.recommender import new_items
from model.recommender.loaded_model import LoadedModel
from streaming.serving import loaded_model
from streaming.serving.loaded_model import ModelWatch


@pytest.fixture
def folders(tmp_path):
    def make(name):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(json.dumps({"version": name}))
        return tmp_path / name

    return make


def load(path):
    if path.name.startswith("broken"):
        raise ValueError(f"tensor missing in {path.name}")
    return LoadedModel(SimpleNamespace(version=path.name), None, path)


def test_a_promotion_is_taken_and_told_once(folders):
    promoted, told = [folders("one")], []
    watch = ModelWatch(lambda: promoted[0], load, lambda model: told.append(model.version))
    assert [watch.check(), watch.check()] == [True, False]
    promoted[0] = folders("two")
    assert watch.check()
    assert told == ["one", "two"]
    assert watch.current.scorer.version == "two"


def test_without_a_model_the_way_of_answering_is_said_once(folders, caplog):
    promoted = [None]
    watch = ModelWatch(lambda: promoted[0], load)
    assert [watch.check() for _ in range(3)] == [False] * 3
    assert [record.message for record in caplog.records] == [
        f"{watch.problem}; it is taken into use by itself"
    ]
    assert "answered by popularity" in watch.problem
    promoted[0] = folders("broken")
    watch.check()
    assert "answered by popularity" in caplog.records[-1].message
    promoted[0] = folders("one")
    assert watch.check() and watch.problem == ""


def test_a_broken_folder_keeps_the_old_model_and_says_why(folders):
    promoted = [folders("one")]
    watch = ModelWatch(lambda: promoted[0], load)
    watch.check()
    promoted[0] = folders("broken")
    assert not watch.check()
    assert watch.current.scorer.version == "one"
    assert "tensor missing" in watch.problem
    promoted[0] = folders("three")
    assert watch.check()
    assert watch.problem == ""


def test_a_refused_folder_is_tried_again_only_when_it_changes(folders):
    path, tries = folders("broken"), []

    def counted(folder):
        tries.append(folder)
        return load(folder)

    watch = ModelWatch(lambda: path, counted)
    assert [watch.check() for _ in range(3)] == [False] * 3
    assert len(tries) == 1
    os.utime(path / "manifest.json", ns=(1, 1))
    watch.check()
    assert len(tries) == 2


def test_without_a_promotion_it_says_the_remedy():
    watch = ModelWatch(lambda: None, load)
    watch.start()
    watch.close()
    assert watch.current is None
    assert "promote" in watch.problem


def test_new_items_beside_the_model_are_taken_as_a_promotion_is(folders):
    path, tries = folders("one"), []

    def counted(folder):
        tries.append(folder)
        return load(folder)

    watch = ModelWatch(lambda: path, counted)
    watch.check()
    file = new_items.file_of(path)
    for content, exchanged in (("a", True), (None, False), ("b", True)):
        if content:
            file.with_suffix(".part").write_text(content)
            file.with_suffix(".part").replace(file)
        assert watch.check() == exchanged
    file.unlink()
    assert watch.check()
    assert len(tries) == 4


def test_what_the_topic_brings_is_in_the_model_and_a_title_that_breaks_it_costs_nothing(
    folders, monkeypatch, caplog
):
    path, said, told = folders("one"), [NO_ITEMS], []

    def grown(model, items):
        if "broken" in items:
            raise ValueError("a title that nobody can read")
        return model._replace(intents=tuple(items))

    monkeypatch.setattr(loaded_model.live_items, "grown", grown)
    watch = ModelWatch(lambda: path, load, lambda model: told.append(model.intents), items=lambda: said[0])
    assert watch.check() and watch.current.intents is None
    assert not watch.check()

    def bring(texts, *items):
        said[0] = LiveItems({item: ItemUpdate(item, "a title") for item in items}, texts)
        watch._grow_at = 0.0
        return watch.check()

    assert bring(1, "a") and watch.current.intents == ("a",)
    assert not bring(1, "a", "b")  # no title or category changed
    assert bring(2, "a", "b") and watch.current.intents == ("a", "b")
    assert not bring(3, "a", "broken")
    assert watch.current.intents == ("a", "b") and "left out, model one stays" in caplog.text
    assert bring(4, "c") and told == [None, ("a",), ("a", "b"), ("c",)]
    assert bring(5) and watch.current.intents is None  # the topic was made anew
    assert watch.problem == ""


def test_a_newly_promoted_model_knows_the_topic_at_once(folders, monkeypatch):
    monkeypatch.setattr(
        loaded_model.live_items, "grown", lambda model, items: model._replace(intents=tuple(items))
    )
    promoted = [folders("one")]
    items = LiveItems({"a": ItemUpdate("a", "a title")}, 1)
    watch = ModelWatch(lambda: promoted[0], load, items=lambda: items)
    watch.check()
    promoted[0] = folders("two")
    assert watch.check()
    assert (watch.current.version, watch.current.intents) == ("two", ("a",))
