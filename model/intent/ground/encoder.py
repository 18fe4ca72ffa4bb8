"""Intents without an LLM: the recency-weighted mean of the clicked titles' vectors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from model.data.recency import SHORT_HALF_LIFE, Clicked, HalfLives, recency_mean
from model.intent.ground.localiser import Localiser
from model.intent.types import SessionIntent, ViewIntent, no_view
from model.text.nearest import CANDIDATES, Found, rescored

Vectors = NDArray[np.float32]

FEW_PREFIXES = 4
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
        self._half_lives = HalfLives.of(half_life)
        self._kept = max(1, localiser.top_r)
        self._table = torch.from_numpy(localiser.vectors)

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
        views = (
            self._few(prefixes)
            if len(prefixes) <= FEW_PREFIXES
            else self.views(np.concatenate(self.vectors(prefixes)))
        )
        nowhere = SessionIntent(no_view(self._localiser.dim), no_view(self._localiser.dim), "none")
        pairs = zip(views[: len(prefixes)], views[len(prefixes) :], strict=True)
        return [
            SessionIntent(first, second, self.name) if first.items else nowhere for first, second in pairs
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
        return np.asarray(vectors @ vectors.T) if 0 < len(vectors) <= SMALL_CATALOGUE else None

    def vectors(self, prefixes: Sequence[Sequence[str]]) -> tuple[Vectors, Vectors]:
        """Return the long and the short vectors alone, each float32 of shape (len(prefixes), dim), unit rows
        or zeros.
        """
        if not len(self._localiser):
            nothing = np.zeros((len(prefixes), self._localiser.dim), np.float32)
            return nothing, nothing.copy()
        row_of = self._localiser.rows.get
        rows = np.array([row_of(item, -1) for prefix in prefixes for item in prefix], dtype=np.int64)
        lengths = np.array([len(prefix) for prefix in prefixes], dtype=np.int64)
        offsets = np.zeros(len(prefixes) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        # clicks after each, those on unknown items too
        ages = np.repeat(offsets[1:] - 1, lengths) - np.arange(len(rows))
        known = rows >= 0
        if not known.all():
            offsets = np.concatenate([[0], np.cumsum(known)])[offsets]
            rows, ages = rows[known], ages[known]
        clicked, (long, short) = Clicked(rows, offsets, ages), self._half_lives
        return recency_mean(clicked, long, self._table), recency_mean(clicked, short, self._table)

    def _few(self, prefixes: Sequence[Sequence[str]]) -> list[ViewIntent]:
        """Make the views of a few prefixes, long ones first, by a few calls of numpy: on ten clicks those of
        torch cost more than the numbers.
        """
        row_of, count = self._localiser.rows.get, len(prefixes)
        known = [
            (owner, age, row)
            for owner, items in enumerate(prefixes)
            for age, item in enumerate(reversed(items))
            if (row := row_of(item)) is not None
        ]
        weights = np.zeros((2 * count, len(known)), np.float32)
        for place, (owner, age, _) in enumerate(known):
            weights[owner, place] = 0.5 ** (age / self._half_lives.long)
            weights[owner + count, place] = 0.5 ** (age / self._half_lives.short)
        rows = np.array([row for _, _, row in known], dtype=np.int64)
        sums = weights @ self._localiser.vectors[rows]
        sums /= np.maximum(np.sqrt(np.einsum("pd,pd->p", sums, sums)), 1e-12)[:, None]
        if self.products is None:
            return self.views(sums)
        scores = torch.from_numpy(weights @ self.products[rows])  # the cosines up to the length of each sum
        best = torch.topk(scores, min(self._kept + CANDIDATES, scores.shape[1]), dim=1).indices.numpy()
        return self._explained(
            sums, rescored(sums, self._localiser.vectors, best, min(self._kept, scores.shape[1]))
        )

    def views(self, vectors: Vectors) -> list[ViewIntent]:
        """Explain vectors of the localiser's space by their nearest titles; a row of zeros has nothing to
        explain.
        """
        return self._explained(vectors, self._localiser.search(vectors, self._kept))

    def _explained(self, vectors: Vectors, found: Found) -> list[ViewIntent]:
        item, title = self._localiser.item_ids.__getitem__, self._localiser.titles.__getitem__
        nothing = no_view(self._localiser.dim)
        rows = zip(
            vectors, np.any(vectors, axis=1).tolist(), found[0].tolist(), found[1].tolist(), strict=True
        )
        return [
            ViewIntent(title(near[0]), tuple(map(item, near)), tuple(cosines), vector) if known else nothing
            for vector, known, near, cosines in rows
        ]
