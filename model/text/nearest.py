"""Nearest items by cosine: exact, and a library's inverted lists for single look-ups in large catalogues."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.kernels import nearest
from model.kernels.compiled import flat

LARGE_CATALOGUE: Final = 100_000  # items; above this a single exact look-up costs more than 10 ms
CANDIDATES: Final = 12  # extra candidates of the inverted lists, scored again in float32
RESCORED_AT_ONCE: Final = 32  # queries; the vectors of their candidates then stay in a core's own cache
SMALL_BATCH: Final = 32  # queries; above this one pass over all items is cheaper per query than walking lists
TARGET_RECALL: Final = 0.97
CALIBRATION_QUERIES: Final = 256

log = logging.getLogger("intentstore.intents")

Found = tuple[NDArray[np.int64], NDArray[np.float32]]


class BlockedSearch:
    """Exact nearest rows by cosine; see `model.kernels.nearest`.

    Parameters
    ----------
    vectors : array, float32, shape (n, dim)
        Unit rows.
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors = flat(vectors, np.float32)

    @cached_property
    def _rounded(self) -> tuple[NDArray[np.int8], NDArray[np.float32], float]:
        codes = np.empty(self._vectors.shape, np.int8)
        steps = np.empty(len(codes), np.float32)
        return codes, steps, float(nearest.round_rows(self._vectors, codes, steps))

    def search(self, queries: NDArray[np.float32], k: int) -> Found:
        """Return the ``k`` nearest rows of each query and their cosines, nearest first; arrays of shape
        (n_queries, min(k, n)).
        """
        shape = len(queries), min(k, len(self._vectors))
        places, cosines = np.empty(shape, np.int32), np.empty(shape, np.float32)
        if places.size:
            asked = flat(queries, np.float32)
            nearest.nearest(asked, self._vectors, *self._rounded, places, cosines)
        return places.astype(np.int64), cosines


class ListSearch:
    """Approximate nearest rows by faiss' inverted lists, its effort calibrated against the exact search.

    Parameters
    ----------
    index : faiss index
        Built by ``build`` or read by ``load``.
    vectors : array, float32, shape (n, dim)
        The unit rows it was built from, for the float32 scores.
    """

    def __init__(self, index: Any, vectors: NDArray[np.float32]) -> None:
        self._index = index
        self._vectors = vectors

    @classmethod
    def build(cls, vectors: NDArray[np.float32]) -> ListSearch | None:
        """Build and calibrate an index.

        Parameters
        ----------
        vectors : array, float32, shape (n, dim)
            Unit rows.

        Returns
        -------
        ListSearch or None
            None when faiss is not installed, or when no effort below a quarter of the lists reaches a recall
            of 0.97 on this catalogue (vectors without clusters); the caller then stays with the exact search.
        """
        try:
            import faiss
        except ImportError:
            log.info(
                "faiss is not installed: catalogues above %d items are searched exactly, in blocks",
                LARGE_CATALOGUE,
            )
            return None
        lists = max(16, int(np.sqrt(len(vectors))))
        quantizer = faiss.IndexFlatIP(vectors.shape[1])
        index = faiss.IndexIVFScalarQuantizer(
            quantizer, vectors.shape[1], lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        )
        sample = np.random.default_rng(0).permutation(len(vectors))[: 48 * lists]
        index.train(vectors[sample])
        for start in range(0, len(vectors), 100_000):
            index.add(vectors[start : start + 100_000])
        search = cls(index, vectors)
        return search if search._calibrated(lists) else None

    def _calibrated(self, lists: int) -> bool:
        asked = self._vectors[np.random.default_rng(1).permutation(len(self._vectors))[:CALIBRATION_QUERIES]]
        noise = np.random.default_rng(2).normal(size=asked.shape).astype(np.float32) / np.sqrt(asked.shape[1])
        asked = asked + 0.5 * noise
        asked /= np.linalg.norm(asked, axis=1, keepdims=True)
        exact, _ = BlockedSearch(self._vectors).search(asked, 5)
        effort = 4
        while effort <= max(4, lists // 4):
            self._index.nprobe = effort
            found, _ = self.search(asked, 5)
            recall = float(
                np.mean(
                    [len(np.intersect1d(one, two)) / len(two) for one, two in zip(found, exact, strict=True)]
                )
            )
            if recall >= TARGET_RECALL:
                log.info(
                    "inverted lists: %d lists, %d read per look-up, recall@5 %.3f", lists, effort, recall
                )
                return True
            effort *= 2
        return False

    def search(self, queries: NDArray[np.float32], k: int) -> Found:
        """Return the ``k`` nearest rows found and their float32 cosines, nearest first."""
        k = min(k, len(self._vectors))
        _, candidates = self._index.search(
            np.ascontiguousarray(queries, np.float32), min(k + CANDIDATES, len(self._vectors))
        )
        candidates = np.where(candidates < 0, candidates[:, :1].clip(min=0), candidates)
        return rescored(queries, self._vectors, candidates, k)

    def save(self, path: Path) -> None:
        """Write the index, effort included, to one file."""
        import faiss

        faiss.write_index(self._index, str(path))

    @classmethod
    def load(cls, path: Path, vectors: NDArray[np.float32]) -> ListSearch | None:
        """Read what ``save`` wrote; none when faiss is missing or the file does not fit the vectors."""
        try:
            import faiss
        except ImportError:
            return None
        index = faiss.read_index(str(path))
        return cls(index, vectors) if index.ntotal == len(vectors) else None


def rescored(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], candidates: NDArray[np.int64], k: int
) -> Found:
    """Score candidates again in float32 and keep the best ``k`` of each query, nearest first; shapes
    (n_queries, k).
    """
    cosines = np.empty(candidates.shape, np.float32)
    for start in range(0, len(queries), RESCORED_AT_ONCE):
        part = slice(start, start + RESCORED_AT_ONCE)
        # Summed row by row, as for a few queries: a cosine then does not depend on the batch or on the
        # processor's path.
        cosines[part] = np.einsum("qcd,qd->qc", vectors[candidates[part]], queries[part])
    # Equal cosines (equal titles) keep the catalogue's order, so that every run grounds an answer on the same
    # items.
    order = np.lexsort((candidates, -cosines), axis=1)[:, :k]
    return np.take_along_axis(candidates, order, 1), np.take_along_axis(cosines, order, 1)
