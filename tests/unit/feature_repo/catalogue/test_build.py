"""The catalogue says what the registry holds, keeps a change log, and escapes what it shows."""

from __future__ import annotations

import ast
import json
import re

import pytest
from feast import FeatureView, Field
from feast.types import String

from feature_repo import definitions
from feature_repo.catalogue import build as catalogue
from feature_repo.catalogue.page import page
from feature_repo.catalogue.statistics import FeatureStatistics, ViewStatistics
from feature_repo.contract.settings import load_settings
from feature_repo.registry import store


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    made = load_settings(None, {}, {"home": str(tmp_path_factory.mktemp("home"))})
    store.apply(made)
    return made


@pytest.fixture(scope="module")
def built(settings):
    counted = ViewStatistics(
        7, "2024-01-01 00:00:00", 3, {"click_count": FeatureStatistics(0.25, "value", [("1", 4), ("2", 3)])}
    )
    return catalogue.build(
        store.feature_store(settings), {"session_features": counted}, {}, "2026-01-01T00:00:00+00:00"
    )


def test_every_service_view_and_feature_is_there_with_owner_meaning_and_lineage(built):
    assert [service["name"] for service in built["services"]] == [
        "item_text_v1",
        "session_intents_v1",
        "session_intents_v2",
        "session_ranker_v1",
        "session_ranker_v2",
    ]
    views = {view["name"]: view for view in built["views"]}
    assert set(views) == {
        "session_features",
        "session_events",
        "session_intents",
        "session_intent_names",
        "item_text",
        "item_popularity",
    }
    assert all(
        view["owner"] == definitions.OWNER and all(f["description"] for f in view["features"])
        for view in views.values()
    )
    assert views["item_text"]["lineage"]["table"] == "item_vectors"
    assert views["item_text"]["lineage"]["job"] == "python -m spark_jobs item-vectors"
    assert views["session_features"]["lineage"]["push_source"] == "session_features_push"
    assert (views["session_features"]["rows"], views["session_intents"]["rows"]) == (7, None)


def test_page_has_no_dead_link_and_shows_statistics(built):
    shown = page(built)
    ids = set(re.findall(r'id="([^"]+)"', shown))
    links = set(re.findall(r'href="#([^"]+)"', shown))
    assert links <= ids
    assert "25.0 %" in shown
    assert shown.count("<rect") == 2
    assert not re.search(r'(src|href)="(?!#|catalogue\.json)', shown), "the page needs nothing but itself"


def test_snippets_are_python_that_names_the_service(built):
    for service in built["services"]:
        for code in service["snippets"].values():
            ast.parse(code)
            assert service["name"] in code


def test_names_and_meanings_are_escaped(built):
    hostile = json.loads(json.dumps(built))
    hostile["views"][0]["description"] = "<script>alert(1)</script>"
    assert "<script>alert(1)" not in page(hostile)


def test_second_catalogue_lists_what_changed(settings, tmp_path):
    first = catalogue.write_catalogue(settings, tmp_path)
    assert "No change since" in first.read_text()
    opened = store.feature_store(settings)
    old = definitions.item_popularity
    wider = FeatureView(
        name=old.name,
        entities=[definitions.item],
        source=definitions.item_popularity_source,
        owner=old.owner,
        description=old.description,
        tags=old.tags,
        schema=[*old.schema, Field(name="trend", dtype=String, description="Whether clicks rise or fall.")],
    )
    opened.apply([wider])
    catalogue.write_catalogue(settings, tmp_path)
    changes = json.loads((tmp_path / "catalogue.json").read_text())["changes"]
    assert [(change["kind"], change["what"]) for change in changes] == [("added", "item_popularity:trend")]
    store.apply(settings)
