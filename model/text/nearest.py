"""Nearest items by cosine: exact in blocks for batches, and a library's inverted lists for single look-ups in
large catalogues.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from model.evaluate.select import best_items

LARGE_CATALOGUE: Final = 100_000  # items; above this a single exact look-up costs more than 10 ms
ITEM_BLOCK: Final = 16_384  # items of one matrix product: its scores stay in the processor's cache
QUERY_BLOCK: Final = 1_024
CANDIDATES: Final = 12  # extra candidates of the bfloat16 pass, scored again in float32
RESCORED_AT_ONCE: Final = 32  # queries; the vectors of their candidates then stay in a core's own cache
SMALL_BATCH: Final = 32  # queries; above this one pass over all items is cheaper per query than walking lists
FEW_QUERIES: Final = 4
ROUNDING: Final = 1e-5  # of a cosine: what float32 itself may lose, so that a margin stays one
TARGET_RECALL: Final = 0.97
CALIBRATION_QUERIES: Final = 256

log = logging.getLogger("intentstore.intents")

Found = tuple[NDArray[np.int64], NDArray[np.float32]]


class BlockedSearch:
    """Exact nearest rows by cosine.

    A first pass over rounded numbers finds candidates, which are then scored in float32. A few queries read
    8-bit integers where the processor multiplies them in hardware, half as many bytes as bfloat16, and keep
    every row that the rounding could have pushed out of the best: the result is that of a float32 search.
    Many read bfloat16 and keep a few candidates more than asked (recall above 0.999).

    Parameters
    ----------
    vectors : array, float32, shape (n, dim)
        Unit rows.
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors = vectors

    @cached_property
    def _rough(self) -> torch.Tensor:
        fast = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        return torch.from_numpy(self._vectors).to(torch.bfloat16 if fast else torch.float32)

    @cached_property
    def _rounded(self) -> Rounded | None:
        return Rounded.of(self._vectors) if torch.cpu._is_vnni_supported() else None

    def search(self, queries: NDArray[np.float32], k: int) -> Found:
        """Return the ``k`` nearest rows of each query and their cosines, nearest first; arrays of shape
        (n_queries, min(k, n)).
        """
        k = min(k, len(self._vectors))
        if 0 < len(queries) <= FEW_QUERIES and self._rounded is not None:
            return self._near(queries, self._rounded, k)
        rows = np.empty((len(queries), k), np.int64)
        cosines = np.empty((len(queries), k), np.float32)
        for start in range(0, len(queries), QUERY_BLOCK):
            part = slice(start, start + QUERY_BLOCK)
            candidates = self._candidates(queries[part], min(k + CANDIDATES, len(self._vectors)))
            rows[part], cosines[part] = rescored(queries[part], self._vectors, candidates, k)
        return rows, cosines

    def _near(self, queries: NDArray[np.float32], rounded: Rounded, k: int) -> Found:
        """Take all rows that rounding may hide from one of the queries, and score those."""
        rough, margins = rounded.products(queries)
        # The k-th best of some blocks' maxima is at most the k-th best of all, so every row among the true
        # best is within both margins of it.
        blocks = max(k, math.isqrt(rough.shape[1]))
        depth = rough.shape[1] // blocks
        maxima = rough[:, : blocks * depth].reshape(len(rough), depth, blocks).max(axis=1)
        least = np.partition(maxima, blocks - k, axis=1)[:, blocks - k, None] - 2 * margins
        candidates = np.flatnonzero((rough >= least).any(axis=0))
        # row by row: equal rows get equal cosines
        cosines = np.einsum("qd,cd->qc", queries, self._vectors[candidates])
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        return candidates[order], cosines[np.arange(len(queries))[:, None], order]

    def _candidates(self, queries: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        with torch.inference_mode():
            asked = torch.from_numpy(np.ascontiguousarray(queries)).to(self._rough.dtype)
            scores: list[torch.Tensor] = []
            places: list[torch.Tensor] = []
            for start in range(0, len(self._vectors), ITEM_BLOCK):
                items = self._rough[start : start + ITEM_BLOCK]
                # With a few queries the product is a walk over the items, and the other order would copy them
                # all first.
                block = (items @ asked.T).T.contiguous() if len(asked) <= FEW_QUERIES else asked @ items.T
                values, found_here = best_items(block, count)
                scores.append(values)
                places.append(found_here + start)
            if len(places) == 1:
                return np.asarray(places[0].numpy())
            kept = torch.cat(scores, 1).topk(count, dim=1, sorted=False).indices
            found: NDArray[np.int64] = torch.cat(places, 1).gather(1, kept).numpy()
        return found


@dataclass(frozen=True)
class Rounded:
    """Rows as 8-bit integers times a step each, and how far the farthest row was moved by that.

    Attributes
    ----------
    codes : Tensor int8, shape (n, dim)
    steps : ndarray float32, shape (n,)
    error : float
        Length of the longest difference between a row and its rounded form.
    """

    codes: torch.Tensor
    steps: NDArray[np.float32]
    error: float

    @classmethod
    def of(cls, rows: NDArray[np.float32]) -> Rounded:
        """Round rows, each to 127 steps on either side of zero."""
        steps = np.maximum(np.abs(rows).max(axis=1), 1e-12) / np.float32(127)
        codes = np.rint(rows / steps[:, None])
        moved = rows - codes * steps[:, None]
        return cls(
            torch.from_numpy(codes.astype(np.int8)),
            steps,
            float(np.sqrt(np.einsum("nd,nd->n", moved, moved).max(initial=0.0))),
        )

    def products(self, queries: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Multiply queries with all rows, which have length 1 at most.

        Parameters
        ----------
        queries : ndarray float32, shape (n_queries, dim)

        Returns
        -------
        products : ndarray float32, shape (n_queries, n)
            In units of each query's own step, which saves a pass and leaves their order as it is.
        margins : ndarray float32, shape (n_queries, 1)
            How far at most the products are from the true ones: with q' and v' the rounded forms, q.v - q'.v'
            = (q - q').v + q'.(v - v').
        """
        asked = Rounded.of(queries)
        whole = torch._int_mm(asked.codes, self.codes.T).numpy()
        lengths = np.sqrt(np.einsum("qd,qd->q", queries, queries))
        margins = asked.error + (lengths + asked.error) * self.error + ROUNDING * lengths
        return np.multiply(whole, self.steps, dtype=np.float32), (margins / asked.steps)[:, None]


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
