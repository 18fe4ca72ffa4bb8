"""Intents without an LLM: the recency-weighted mean of the clicked titles' vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.intent.locate import Grounded, Localiser
from model.intent.types import SessionIntent, ViewIntent, no_view

LONG_HALF_LIFE_RATIO = 8.0  # the long view forgets eight times slower than the short one


class EncoderSource:
    """Recency-weighted title vectors as intents.

    Parameters
    ----------
    localiser : Localiser
        Holds the title vectors of the catalogue.
    half_life : float
        Clicks after which a title's weight halves in the short view; the long view uses eight times that.
    """

    name = "encoder"

    def __init__(self, localiser: Localiser, half_life: float = 3.0) -> None:
        self._localiser = localiser
        self._half_life = half_life

    def infer(self, prefixes: Sequence[Sequence[str]]) -> list[SessionIntent]:
        """Return one intent a prefix.

        Parameters
        ----------
        prefixes : sequence of sequences of item ids
            Oldest click first; ids without a title vector are skipped.

        Returns
        -------
        list of SessionIntent
            The vector is the mean itself; items and cosines are its nearest titles. A prefix of unknown items has the source ``none``.
        """
        if not prefixes:
            return []
        long, short = self.vectors(prefixes)
        views = self.views(np.concatenate([long, short]))
        known = np.abs(long).sum(1) > 0
        return [SessionIntent(views[row], views[len(prefixes) + row], self.name if known[row] else "none") for row in range(len(prefixes))]

    def vectors(self, prefixes: Sequence[Sequence[str]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the long and the short vectors alone, each float32 of shape (len(prefixes), dim), unit rows or zeros."""
        return (
            self._localiser.recency_mean(prefixes, self._half_life * LONG_HALF_LIFE_RATIO),
            self._localiser.recency_mean(prefixes, self._half_life),
        )

    def views(self, vectors: NDArray[np.float32]) -> list[ViewIntent]:
        """Explain vectors of the localiser's space by their nearest titles."""
        found = self._localiser.nearest(vectors, max(1, self._localiser.top_r))
        return [self._view(vector, grounded) for vector, grounded in zip(vectors, found, strict=True)]

    def _view(self, vector: NDArray[np.float32], grounded: Grounded) -> ViewIntent:
        if not np.any(vector):
            return no_view(len(vector))
        items, cosines = grounded
        return ViewIntent(self._localiser.title(items[0]), items, cosines, vector)
