"""Model settings: defaults, refusals, readable errors."""

from __future__ import annotations

import pytest

from model.config import BACKBONES, ConfigError, ModelConfig, make_config


def test_defaults_are_valid_for_every_backbone() -> None:
    assert [make_config({"backbone": name}).backbone for name in BACKBONES] == list(BACKBONES)


def test_none_means_the_default() -> None:
    assert make_config({"dim": None}) == ModelConfig()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"dimm": 3}, "dimm"),
        ({"dropout": 1.0}, "dropout"),
        ({"backbone": "bert"}, "backbone"),
        ({"heads": 3}, "heads = 3"),
    ],
)
def test_errors_name_the_key(values: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        make_config(values)


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        ModelConfig().dim = 3  # type: ignore[misc]
