"""Who answers prefixes: the LLM that ``intents.source`` names, and what its answers depend on."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from feature_repo.contract.settings import ASKED_SOURCES
from model.intent.answer.reading import ANY_TITLE
from model.intent.ask.answers import Asker
from model.intent.ground.known_titles import KnownTitles
from model.intent.prompts import template
from model.intent.recipe import Recipe
from model.text.encoder import encoder_name

if TYPE_CHECKING:
    from feature_repo.contract.settings import Settings


def asker_of(settings: Settings, titles: KnownTitles = ANY_TITLE) -> Asker:
    """Return the LLM that ``intents.source`` names.

    Parameters
    ----------
    settings : Settings
        ``intents.source``, and the section of the source.
    titles : KnownTitles
        Of the catalogue.

    Raises
    ------
    ModelMissingError, EndpointError
        If it is not there.
    """
    asker: Asker = class_of(settings.intents.source)(settings, titles)
    return asker


def recipe_of(settings: Settings) -> Recipe | None:
    """Return what answers under these settings depend on; None when no LLM is configured.

    Raises
    ------
    ModelMissingError, EncoderError, PromptError
        If the LLM, the encoder or the prompt version is missing.
    """
    source = settings.intents.source
    if source not in ASKED_SOURCES:
        return None
    prompt_version = template(settings.intents.prompt_version).version
    encoder = encoder_name(settings.encoder)
    model, decoding = class_of(source).identity(settings)
    shown = settings.intents.max_items
    return Recipe(source, model, settings.llm.revision, prompt_version, decoding, encoder, shown)


def class_of(source: str) -> Any:
    """Return the class of a source: its module has its name. Only that one is imported: one brings
    transformers, another an HTTP client.
    """
    module = importlib.import_module(f"model.intent.ask.{source}")
    return next(
        made
        for made in vars(module).values()
        if isinstance(made, type) and getattr(made, "name", "") == source
    )
