"""Dagster's launchpad offers exactly the model's settings."""

from __future__ import annotations

import pytest

from dagster_project.models.config import ModelSettings, merged
from model.config import ConfigError, ModelConfig


def test_mirror_has_the_same_names():
    assert set(ModelSettings.model_fields) == set(ModelConfig.model_fields)


def test_empty_mirror_gives_the_models_defaults():
    assert merged({}, ModelSettings()) == ModelConfig()


def test_every_default_passes_through_the_mirror_unchanged():
    given = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in ModelConfig().model_dump().items()
        if value is not None
    }
    assert merged({}, ModelSettings(**given)) == ModelConfig()


def test_launchpad_wins_over_the_file():
    assert merged({"dim": 32, "seed": 5}, ModelSettings(dim=16)).model_dump(include={"dim", "seed"}) == {
        "dim": 16,
        "seed": 5,
    }


def test_value_out_of_range_is_named():
    with pytest.raises(ConfigError, match="dropout"):
        merged({}, ModelSettings(dropout=3.0))
