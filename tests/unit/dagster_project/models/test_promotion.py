"""Promotion and the way back."""

from __future__ import annotations

import json

import pytest

from dagster_project.models import promotion
from dagster_project.models import train as training_run


@pytest.fixture
def model(settings):
    def make(version, created):
        folder = settings.models_dir / version
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(
            json.dumps({"format": 1, "version": version, "created": created, "sha256": {}}), encoding="utf-8"
        )

    return make


def test_rollback_goes_to_the_version_before(settings, model):
    model("b", "2026-01-01")
    model("a", "2026-01-02")
    assert training_run.versions(settings) == ["b", "a"]
    assert promotion.promote(settings, "b", "first") and promotion.promote(settings, "a", "second")
    assert training_run.promoted_version(settings) == "a"
    assert promotion.previous(settings) == "b"
    assert promotion.promote(settings, "b", "rollback")
    assert [entry["version"] for entry in promotion.history(settings)] == ["b", "a", "b"]


def test_promoting_what_serves_changes_nothing(settings, model):
    model("a", "2026-01-01")
    assert promotion.promote(settings, "a", "x") is True
    assert promotion.promote(settings, "a", "y") is False
    assert len(promotion.history(settings)) == 1


def test_unknown_version_is_refused_by_name(settings, model):
    model("a", "2026-01-01")
    with pytest.raises(promotion.PromotionError, match="'nope'"):
        promotion.promote(settings, "nope", "x")


def test_no_way_back_is_said(settings, model):
    model("a", "2026-01-01")
    promotion.promote(settings, "a", "x")
    with pytest.raises(promotion.PromotionError, match="no earlier model"):
        promotion.previous(settings)
