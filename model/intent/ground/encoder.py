"""Intents without an LLM: the recency-weighted mean of the clicked titles' vectors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from model.data.recency import SHORT_HALF_LIFE, HalfLives
from model.intent.ground.localiser import Localiser
from model.intent.types import SessionIntent, ViewIntent, no_view
from model.kernels import nearest
from model.kernels.compiled import flat

Vectors = NDArray[np.float32]

CANDIDATES = 12  # beyond the titles that are kept: two products of one pair may differ in the last place
FURTHER = 16  # items beyond those that are kept, from which a view's shown ones are chosen
SMALL_CATALOGUE = 2_048  # items; 17 MB of products


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

    def __init__(self, localiser: Localiser, half_life: float = SHORT_HALF_LIFE) -> None:
        self._localiser = localiser
        self._half_lives = np.array(HalfLives.of(half_life), dtype=np.float64)
        self._kept = max(1, localiser.top_r)
        self._nowhere = SessionIntent(no_view(localiser.dim), no_view(localiser.dim), "none")

    def infer(self, prefixes: Sequence[Sequence[str]]) -> list[SessionIntent]:
        """Return one intent a prefix.

        Parameters
        ----------
        prefixes : sequence of sequences of item ids
            Oldest click first; ids without a title vector are skipped.

        Returns
        -------
        list of SessionIntent
            The vector is the mean itself; items and cosines are its nearest titles. A prefix of unknown items
            has the source ``none``.
        """
        if not prefixes:
            return []
        if not len(self._localiser):
            return [self._nowhere] * len(prefixes)
        rows, offsets = self._clicks(prefixes)
        if self.products is None:
            views = self.views(self._means(rows, offsets).reshape(2 * len(prefixes), -1))
        else:
            shape = 2, len(prefixes), min(self._kept + FURTHER, len(self.products))
            places, cosines = np.empty(shape, np.int32), np.empty(shape, np.float32)
            means = np.empty((2, len(prefixes), self._localiser.dim), np.float32)
            read = rows, offsets, self._half_lives, self._localiser.vectors, self.products, CANDIDATES
            nearest.nearest_of_means(*read, means, places, cosines)
            views = [
                *self._explained(means[0], places[0].tolist(), cosines[0].tolist()),
                *self._explained(means[1], places[1].tolist(), cosines[1].tolist()),
            ]
        pairs = zip(views[: len(prefixes)], views[len(prefixes) :], strict=True)
        return [
            SessionIntent(first, second, self.name) if first.items else self._nowhere
            for first, second in pairs
        ]

    @cached_property
    def products(self) -> Vectors | None:
        """Cosines of all pairs of titles for small catalogues, float32, shape (items, items); none for large
        ones.

        The cosines of a mean of titles with all others are the mean of their rows here: for one session that
        reads a few rows, where a product with all title vectors would bring all of them through a cache that
        other work has filled meanwhile.
        """
        vectors = self._localiser.vectors
        small = 0 < len(vectors) <= SMALL_CATALOGUE
        return flat(vectors @ vectors.T, np.float32) if small else None

    def vectors(self, prefixes: Sequence[Sequence[str]]) -> tuple[Vectors, Vectors]:
        """Return the long and the short vectors alone, each float32 of shape (len(prefixes), dim), unit rows
        or zeros.
        """
        means = self._means(*self._clicks(prefixes))
        return means[0], means[1]

    def _clicks(self, prefixes: Sequence[Sequence[str]]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Rows of all clicks, -1 for unknown ones, and the bounds of the prefixes in them."""
        row_of = self._localiser.rows.get
        rows = np.array([row_of(item, -1) for prefix in prefixes for item in prefix], dtype=np.int32)
        offsets = np.array([0, *accumulate(map(len, prefixes))], dtype=np.int64)
        return rows, offsets

    def _means(self, rows: NDArray[np.int32], offsets: NDArray[np.int64]) -> Vectors:
        """Recency-weighted title means, unit rows, float32, shape (2, prefixes, dim)."""
        means = np.empty((2, len(offsets) - 1, self._localiser.dim), np.float32)
        nearest.title_means(rows, offsets, self._half_lives, self._localiser.vectors, means)
        return means

    def views(self, vectors: Vectors) -> list[ViewIntent]:
        """Explain vectors of the localiser's space by their nearest titles; a row of zeros has nothing to
        explain.
        """
        places, cosines = self._localiser.search(vectors, self._kept + FURTHER)
        places[~np.any(vectors, axis=1)] = -1
        return self._explained(vectors, places.tolist(), cosines.tolist())

    def _explained(
        self, vectors: Vectors, places: list[list[int]], cosines: list[list[float]]
    ) -> list[ViewIntent]:
        """Nearest titles of each vector; none where the first place is -1."""
        ids, titles, kept = self._localiser.item_ids, self._localiser.titles, self._kept
        nothing = no_view(self._localiser.dim)
        return [
            ViewIntent(
                titles[near[0]],
                tuple(map(ids.__getitem__, near[:kept])),
                tuple(close[:kept]),
                vector,
                further=tuple(map(ids.__getitem__, near[kept:])),
            )
            if near[0] >= 0
            else nothing
            for vector, near, close in zip(vectors, places, cosines, strict=True)
        ]
