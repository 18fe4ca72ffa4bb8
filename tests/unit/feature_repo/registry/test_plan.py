"""A plan shows every change and stops the ones that break a versioned service."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from feast import FeatureService, FeatureView, Field
from feast.types import Float64, String

from feature_repo import definitions
from feature_repo.registry.plan import (
    BreakingChangeError,
    SnapshotError,
    compare,
    read_snapshot,
    refuse_breaking,
    shape_of,
    write_snapshot,
)

NOW = shape_of(definitions.OBJECTS)


def edited(view_fields=None, service=None, without=()):
    """The definitions after an edit of session_features' fields, of a service, or without some objects."""
    objects = [thing for thing in definitions.OBJECTS if thing.name not in without]
    if view_fields is not None:
        old = definitions.session_features
        view = FeatureView(
            name=old.name,
            entities=[definitions.session],
            source=definitions.session_features_push,
            schema=view_fields(old.schema),
        )
        objects = [view if thing is old else thing for thing in objects]
        service = service or FeatureService(
            name="session_ranker_v1",
            features=[view, definitions.session_intents[["source", "long_vector", "short_vector"]]],
        )
    if service is not None:
        objects = [service if thing.name == service.name else thing for thing in objects]
    return shape_of(objects)


def test_nothing_changed_nothing_planned():
    assert compare(NOW, shape_of(definitions.OBJECTS)) == []


def test_a_first_apply_only_adds():
    changes = compare(shape_of([]), NOW)
    assert {change.kind for change in changes} == {"added"}
    refuse_breaking(changes)


def test_added_feature_is_shown_and_allowed():
    changes = compare(NOW, edited(lambda fields: [*fields, Field(name="new_one", dtype=String)]))
    kinds = {(change.kind, change.what) for change in changes}
    assert kinds == {
        ("added", "session_features:new_one"),
        ("added", "session_ranker_v1 session_features:new_one"),
    }
    refuse_breaking(changes)


def test_removed_and_retyped_features_of_a_versioned_service_are_refused():
    removed = compare(NOW, edited(lambda fields: [field for field in fields if field.name != "click_count"]))
    assert removed[0].used_by == ("session_ranker_v1", "session_ranker_v2")
    with pytest.raises(
        BreakingChangeError, match="removed session_features:click_count.*new version of the service"
    ):
        refuse_breaking(removed)
    retyped = compare(
        NOW,
        edited(
            lambda fields: [
                Field(name=f.name, dtype=Float64 if f.name == "click_count" else f.dtype) for f in fields
            ]
        ),
    )
    with pytest.raises(BreakingChangeError, match="retyped session_features:click_count"):
        refuse_breaking(retyped)


def test_versioned_service_can_neither_shrink_nor_go():
    shrunk = compare(
        NOW, edited(service=FeatureService(name="item_text_v1", features=[definitions.item_text[["text"]]]))
    )
    with pytest.raises(BreakingChangeError, match="item_text_v1 item_text:vector"):
        refuse_breaking(shrunk)
    with pytest.raises(BreakingChangeError, match="removed item_text_v1"):
        refuse_breaking(compare(NOW, edited(without={"item_text_v1"})))


def test_changed_key_is_refused():
    changes = compare(NOW, replace(NOW, keys={**NOW.keys, "session_features": ("session_id Int64",)}))
    assert [(change.kind, change.what, change.used_by) for change in changes] == [
        ("rekeyed", "session_features", ("session_ranker_v1", "session_ranker_v2"))
    ]
    with pytest.raises(BreakingChangeError):
        refuse_breaking(changes)


def test_feature_that_no_service_reads_may_go():
    service_free = shape_of([thing for thing in definitions.OBJECTS if not isinstance(thing, FeatureService)])
    fewer = shape_of(
        [
            thing
            for thing in definitions.OBJECTS
            if not isinstance(thing, FeatureService) and thing.name != "item_popularity"
        ]
    )
    changes = compare(service_free, fewer)
    assert changes
    refuse_breaking(changes)


SNAPSHOT = Path(definitions.__file__).parent / "services.json"


def plan_of(*arguments):
    """Exit code, and what the command printed, of `python -m feature_repo plan` as CI runs it."""
    command = [sys.executable, "-m", "feature_repo", "plan", *map(str, arguments)]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, cwd=SNAPSHOT.parents[1]
    )
    return ran.returncode, ran.stdout + ran.stderr


def test_committed_snapshot_is_what_is_defined():
    assert compare(read_snapshot(SNAPSHOT), NOW) == [], (
        "note the change: python -m feature_repo plan --against feature_repo/services.json --update"
    )


def test_ci_command_fails_when_a_versioned_service_would_break(tmp_path):
    file = tmp_path / "services.json"
    write_snapshot(
        file,
        replace(
            NOW,
            services={
                **NOW.services,
                "item_text_v1": {**NOW.services["item_text_v1"], "item_text:gone": "String"},
            },
        ),
    )
    before = file.read_text(encoding="utf-8")
    code, said = plan_of("--against", file, "--update")
    assert (code, "removed item_text_v1 item_text:gone" in said, file.read_text(encoding="utf-8")) == (
        1,
        True,
        before,
    )


def test_ci_command_passes_and_notes_an_addition(tmp_path):
    file = tmp_path / "services.json"
    write_snapshot(
        file,
        replace(
            NOW,
            services={name: features for name, features in NOW.services.items() if name != "item_text_v1"},
        ),
    )
    code, said = plan_of("--against", file, "--update")
    assert (code, "added    item_text_v1" in said) == (0, True), said
    assert read_snapshot(file) == NOW


def test_file_that_is_no_snapshot_is_named(tmp_path):
    with pytest.raises(SnapshotError, match="services.json is no snapshot"):
        read_snapshot(tmp_path / "services.json")
