"""Dagster's mirror of the model's settings: the same names, types and words, each empty by default (= as in
the settings file).
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

import dagster as dg
from pydantic import Field, create_model

from model.config import ModelConfig, make_config


def _mirrored_type(annotation: Any) -> Any:
    """Reduce a type of ModelConfig to one that Dagster's launchpad knows.

    Examples
    --------
    >>> _mirrored_type(tuple[str, ...] | None)
    list[str]
    """
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [part for part in get_args(annotation) if part is not type(None)]
        return _mirrored_type(inner[0])
    if get_origin(annotation) is Literal:
        return type(get_args(annotation)[0])
    if get_origin(annotation) is tuple:
        return list[get_args(annotation)[0]]  # type: ignore[misc]
    return annotation


def _description(name: str) -> str:
    field = ModelConfig.model_fields[name]
    choices = (
        f" One of {', '.join(map(str, get_args(field.annotation)))}."
        if get_origin(field.annotation) is Literal
        else ""
    )
    return (
        f"{field.description or name}{choices} Empty = as in the settings' [model], else {field.default!r}."
    )


_FIELDS: dict[str, Any] = {
    name: (_mirrored_type(field.annotation) | None, Field(None, description=_description(name)))
    for name, field in ModelConfig.model_fields.items()
}
# Made from ModelConfig, so that a new setting of the model appears in the launchpad without a second edit.
ModelSettings: type[dg.Config] = create_model("ModelSettings", __base__=dg.Config, **_FIELDS)


def merged(base: Mapping[str, Any], given: dg.Config) -> ModelConfig:
    """Lay a run's settings over those of the settings file.

    Parameters
    ----------
    base : mapping
        The ``[model]`` section.
    given : ModelSettings
        From the launchpad; empty values change nothing.

    Returns
    -------
    ModelConfig
        Checked.

    Raises
    ------
    model.config.ConfigError
        Unknown key or value out of range; names it.

    Examples
    --------
    >>> merged({"dim": 32}, ModelSettings(backbone="srgnn")).dim
    32
    """
    return make_config(
        {**base, **{name: value for name, value in given.model_dump().items() if value is not None}}
    )
