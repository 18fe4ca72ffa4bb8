"""The one protocol of everything that infers intents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from model.intent.types import SessionIntent


@runtime_checkable
class IntentSource(Protocol):
    """Infers the intents of session prefixes.

    Attributes
    ----------
    name : str
        What ``SessionIntent.source`` says: ``llm``, ``endpoint``, ``student``, ``encoder``.
    """

    name: str

    def infer(self, prefixes: Sequence[Sequence[str]]) -> list[SessionIntent]:
        """Return one intent a prefix, in order.

        Parameters
        ----------
        prefixes : sequence of sequences of item ids
            Oldest click first; unknown ids are skipped, never an error.
        """
        ...
