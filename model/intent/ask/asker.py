"""Who answers prefixes: the LLM of the settings, local or behind an endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feature_repo.contract.lazy import lazy
from model.intent.answer.reading import ANY_TITLE
from model.intent.ask.answers import Asker
from model.intent.ground.known_titles import KnownTitles

if TYPE_CHECKING:
    from feature_repo.contract.settings import Settings
    from model.intent.ask import endpoint, local
else:
    endpoint = lazy("model.intent.ask.endpoint")
    local = lazy("model.intent.ask.local")


def asker_of(settings: Settings, titles: KnownTitles = ANY_TITLE) -> Asker:
    """Return the LLM that ``intents.source`` names.

    Parameters
    ----------
    settings : Settings
        ``intents.source``, and ``endpoint`` or ``llm``.
    titles : KnownTitles
        Of the catalogue.

    Raises
    ------
    ModelMissingError, EndpointError
        If it is not there.
    """
    if settings.intents.source == "endpoint":
        return endpoint.EndpointLlm(settings, titles)

    return local.LocalLlm(settings, titles)
