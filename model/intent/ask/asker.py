"""Who answers prefixes: the LLM of the settings, local or behind an endpoint, asked in one way."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from model.intent.answer.reading import ANY_TITLE
from model.intent.ground.known_titles import KnownTitles

if TYPE_CHECKING:
    from feature_repo.contract.settings import Settings
    from model.intent.ask.local import Answer


class Asker(Protocol):
    """Asks an LLM about prefixes."""

    def ask(
        self, prefixes: Sequence[Sequence[str]], keep: Callable[[int, Answer], None]
    ) -> list[tuple[int, str]]:
        """Hand every answer to ``keep`` at once, and return place and reason of the prefixes without one."""


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
        from model.intent.ask.endpoint import EndpointLlm

        return EndpointLlm(settings, titles)
    from model.intent.ask.local import LocalLlm

    return LocalLlm(settings, titles)


def failure_kind(reason: str) -> str:
    """Return what a reason has in common with others of its kind: no quotes of one answer, no remedy.

    Examples
    --------
    >>> failure_kind("the endpoint refused with status 401 (no such key); set endpoint.api_key")
    'the endpoint refused with status 401'
    """
    return re.split(r" \(|: |; ", reason, maxsplit=1)[0]


def failure_kinds(reasons: Iterable[str]) -> dict[str, int]:
    """Count reasons by kind, most frequent first."""
    return dict(Counter(map(failure_kind, reasons)).most_common())
