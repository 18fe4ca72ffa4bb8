"""The definitions say what DESIGN section 4 fixes, and every object can be understood by a stranger."""

from __future__ import annotations

from pathlib import Path

import pytest
from feast import FeatureService, FeatureView

import feature_repo
from feature_repo import definitions
from feature_repo.contract import tables as columns

VIEWS = [thing for thing in definitions.OBJECTS if isinstance(thing, FeatureView)]
SERVICES = [thing for thing in definitions.OBJECTS if isinstance(thing, FeatureService)]


def test_names_are_the_fixed_ones():
    assert {view.name for view in VIEWS} == {
        "session_features",
        "session_events",
        "session_intents",
        "session_intent_names",
        "item_text",
        "item_popularity",
    }
    assert {service.name for service in SERVICES} == {
        "session_ranker_v1",
        "session_ranker_v2",
        "session_intents_v1",
        "session_intents_v2",
        "item_text_v1",
    }
    assert {(entity.name, entity.join_key) for entity in (definitions.session, definitions.item)} == {
        ("session", "session_id"),
        ("item", "item_id"),
    }


@pytest.mark.parametrize("thing", definitions.OBJECTS, ids=lambda thing: thing.name)
def test_every_object_has_owner_description_and_tags(thing):
    assert thing.owner
    assert thing.description
    assert thing.tags


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_every_feature_is_a_column_of_its_table_with_a_meaning(view):
    schema = columns.SCHEMAS[view.tags["table"]]
    for field in view.features:
        assert definitions.feast_type(schema.field(field.name).type) == field.dtype
        assert len(field.description) > 15
    assert view.batch_source.timestamp_field == "event_timestamp"
    assert view.batch_source.created_timestamp_column == "created"


def test_session_features_are_exactly_what_the_fold_gives():
    assert [field.name for field in definitions.session_features.features] == [
        name for name, _ in columns.SESSION_FEATURE_FIELDS
    ]


def test_version_2_holds_version_1_whole_and_the_events_by_type():
    def features(service):
        return {
            f"{view.name}:{one.name}" for view in service.feature_view_projections for one in view.features
        }

    old, new = features(definitions.session_ranker_v1), features(definitions.session_ranker_v2)
    assert new - old == {f"session_events:{name}" for name, _ in columns.SESSION_EVENT_FIELDS}
    assert old <= new


def test_feast_would_import_only_the_definitions():
    folder = Path(feature_repo.__file__).parent
    ignored = {
        line for line in (folder / ".feastignore").read_text().splitlines() if not line.startswith("#")
    }
    assert {path.name for path in folder.iterdir() if path.suffix == ".py"} - ignored == {"definitions.py"}
    assert {path.name for path in folder.iterdir() if path.is_dir() and any(path.rglob("*.py"))} <= ignored
