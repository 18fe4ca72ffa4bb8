"""Intents of prefixes without an LLM's answer: the student's guess, the encoder's, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.intent.ground.encoder import EncoderSource
from model.intent.ground.localiser import Localiser
from model.intent.ground.student import Student
from model.intent.types import SessionIntent, no_intent

TEXT_DIM = 384  # of a zero vector where there is no catalogue at all: the default encoder's
Vectors = NDArray[np.float32]


class Views(NamedTuple):
    """Vectors of both views, float32, shape (prefixes, dim) each; unit rows, or zeros where nothing is
    known.
    """

    long: Vectors
    short: Vectors


class Fallback:
    """Infers intents without an LLM.

    Parameters
    ----------
    chosen : str
        ``intents.fallback``: ``student``, ``encoder`` or ``none``. Where no student learned anything yet, the
        encoder stands for it.
    localiser : Localiser or None
        None = there are no titles; nothing is known of any prefix then.
    half_life : float
        ``intents.recency_half_life``.
    student : Student, optional
        The one that was trained.
    """

    def __init__(
        self, chosen: str, localiser: Localiser | None, half_life: float, student: Student | None = None
    ) -> None:
        without = localiser is None or chosen == "none"
        self._dim = TEXT_DIM if localiser is None else localiser.dim
        self._encoder = None if localiser is None else EncoderSource(localiser, half_life)
        self._student = student if chosen == "student" else None
        self.source = "none" if without else "encoder" if self._student is None else "student"

    def infer(self, prefixes: Sequence[Sequence[str]]) -> list[SessionIntent]:
        """Return one intent a prefix (item ids, oldest click first); ``none`` where nothing is known."""
        if self._encoder is None or self.source == "none":
            return [no_intent(self._dim) for _ in prefixes]
        if self._student is not None and prefixes:
            return self._student.infer(prefixes, self._encoder)
        return self._encoder.infer(prefixes)

    def vectors(self, prefixes: Sequence[Sequence[str]]) -> Views:
        """Return the vectors alone, which many prefixes get much faster than whole intents."""
        if self._encoder is None or self.source == "none":
            return Views(*(np.zeros((len(prefixes), self._dim), np.float32) for _ in range(2)))
        means = self._encoder.vectors(prefixes)
        return Views(*(means if self._student is None else self._student.predict(*means)))
