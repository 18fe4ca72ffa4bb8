"""The catalogue's text vectors as a network reads them: centred, reduced, scaled; new items go through the
same map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def unit(vectors: Floats) -> Floats:
    """Scale rows to length 1; zero rows stay zero. Shape (rows, dim), float32."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Floats = np.divide(
        vectors, lengths, out=np.zeros_like(vectors, dtype=np.float32), where=lengths > 0
    )
    return scaled


@dataclass(frozen=True)
class TextSpace:
    """A linear map from raw text vectors to the start of item vectors.

    Attributes
    ----------
    centre : ndarray float32, shape (text_dim,)
        Mean of the catalogue's unit vectors.
    directions : ndarray float32, shape (text_dim, dim)
        Principal directions times singular value to the power ``power - 1``, times the scale.
    """

    centre: Floats
    directions: Floats

    @classmethod
    def fit(cls, vectors: Floats, dim: int, power: float = 0.5, scale: float = 0.1) -> TextSpace:
        """Fit the map to a catalogue.

        Parameters
        ----------
        vectors : ndarray float32, shape (items, text_dim)
            Raw text vectors; zero rows (no text) are left out.
        dim : int
            Width of item vectors; surplus columns are zero when the text has fewer directions.
        power : float
            1 keeps the spread of the directions, 0 whitens them.
        scale : float
            Root mean square of a coordinate afterwards.

        Returns
        -------
        TextSpace

        Raises
        ------
        ValueError
            If a vector holds NaN or infinity, or no item has text.

        Examples
        --------
        >>> space = TextSpace.fit(np.eye(4, dtype=np.float32), dim=2)
        >>> space.apply(np.eye(4, dtype=np.float32)).shape
        (4, 2)
        """
        if not np.isfinite(vectors).all():
            row = int(np.flatnonzero(~np.isfinite(vectors).all(1))[0])
            raise ValueError(f"text vector of item {row} holds NaN or infinity; encode the items again")
        known = unit(vectors[np.abs(vectors).sum(1) > 0])
        if not len(known):
            raise ValueError("no item has a text vector; train with text = false")
        centre = known.mean(0, dtype=np.float64).astype(np.float32)
        centred = known - centre
        # Through the small covariance matrix: the catalogue may have millions of rows.
        variances, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred.astype(np.float64))
        order = np.argsort(variances)[::-1][:dim]
        singular = np.sqrt(np.maximum(variances[order], 0.0))
        useful = singular > 1e-6 * max(float(singular[0]), 1e-12)
        stretched = np.where(useful, np.maximum(singular, 1e-12) ** (power - 1.0), 0.0)
        directions = np.zeros((vectors.shape[1], dim), np.float32)
        directions[:, : len(order)] = axes[:, order] * stretched
        size = float(np.sqrt(np.mean((centred @ directions) ** 2, dtype=np.float64)))
        return cls(centre, (directions * (scale / max(size, 1e-12))).astype(np.float32))

    def centred(self, vectors: Floats) -> Floats:
        """Take raw vectors to unit vectors of the centred space; zero rows stay zero. Shape (rows,
        text_dim).
        """
        known = np.abs(vectors).sum(1, keepdims=True) > 0
        return unit(np.where(known, unit(vectors) - self.centre, np.float32(0.0)).astype(np.float32))

    def apply(self, vectors: Floats) -> Floats:
        """Map raw text vectors to the start of item vectors; zero rows stay zero. Shape (rows, dim)."""
        known = np.abs(vectors).sum(1, keepdims=True) > 0
        return np.where(known, (unit(vectors) - self.centre) @ self.directions, np.float32(0.0)).astype(
            np.float32
        )
