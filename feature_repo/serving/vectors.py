"""Nearest items or sessions to a vector or a text, from the vectors in the online store; every answer's id
belongs to its vector.

Exact up to `APPROXIMATE_FROM` vectors (one matrix product), an HNSW graph of faiss beyond. Feast's own vector
call mixes ids up.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from feature_repo.contract.categories import Categories, CategoryError
from feature_repo.contract.lazy import lazy
from feature_repo.stores.packed.keys import storage_key
from feature_repo.stores.surroundings import online_store_of

if TYPE_CHECKING:
    from feast import FeatureStore

    from feature_repo.stores.online import protos
else:
    protos = lazy("feature_repo.stores.online.protos")

APPROXIMATE_FROM = 100_000  # 150 MB at 384 floats, some 20 ms a query on one core
READ_AT_ONCE = 1000
GRAPH_LINKS, GRAPH_EFFORT = 32, 128
log = logging.getLogger("intentstore.vectors")
Encode = Callable[[list[str]], np.ndarray]


class VectorError(ValueError):
    """A query that cannot be answered; names what is wrong and the remedy."""


@dataclass(frozen=True)
class Neighbour:
    """One answer: the entity's key, and the cosine of its vector to the query, from -1 to 1."""

    key: str
    cosine: float


class VectorIndex:
    """Vectors with their keys.

    Parameters
    ----------
    keys : sequence of str
    vectors : ndarray, shape (n, dim)
        In the order of `keys`; normalised here, zero vectors are left out.
    texts, categories : sequence of str, optional
        What the filters by words and by category look at, in the order of `keys`.
    approximate : bool, optional
        None = exact up to `APPROXIMATE_FROM` vectors.

    Examples
    --------
    >>> index = VectorIndex(
    ...     ["a", "b", "c"],
    ...     np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]]),
    ...     categories=["Toys", "Books", "Old Books"],
    ... )
    >>> [(found.key, round(found.cosine, 3)) for found in index.nearest([0.0, 1.0], k=2)]
    [('b', 1.0), ('c', 0.707)]
    >>> [found.key for found in index.nearest([1.0, 0.0], category="books")]
    ['c', 'b']
    """

    def __init__(
        self,
        keys: Sequence[str],
        vectors: np.ndarray,
        texts: Sequence[str] | None = None,
        *,
        categories: Sequence[str | None] | None = None,
        approximate: bool | None = None,
    ) -> None:
        lengths = np.linalg.norm(vectors, axis=1) if len(keys) else np.zeros(0)
        kept = np.flatnonzero(lengths > 0)
        chosen = kept.tolist()
        self.keys = [keys[number] for number in chosen]
        self.texts = [texts[number].casefold() for number in chosen] if texts is not None else None
        self.categories = (
            Categories([categories[number] for number in chosen]) if categories is not None else None
        )
        self.vectors = (
            np.ascontiguousarray(vectors[kept] / lengths[kept, None], dtype=np.float32)
            if len(kept)
            else np.zeros((0, 0), np.float32)
        )
        self.approximate = len(self.keys) > APPROXIMATE_FROM if approximate is None else approximate
        self._graph = _graph(self.vectors) if self.approximate and len(self.keys) else None

    @classmethod
    def from_online(
        cls,
        store: FeatureStore,
        view: str = "item_text",
        vector: str = "vector",
        text: str | None = "text",
        category: str | None = "category",
    ) -> VectorIndex:
        """Load the vectors of a view out of the online store.

        Parameters
        ----------
        store : feast.FeatureStore
            On a `PackedOnlineStore`.
        view, vector : str
            Feature view with one text key, and its vector feature.
        text, category : str, optional
            Features for the filters by words and by category.

        Raises
        ------
        VectorError
            No vectors of that view are online.
        """
        registered = store.get_feature_view(view)
        client = online_store_of(store).client(store.config)
        names = [vector, *([text] if text else []), *([category] if category else [])]
        stored = sorted(client.keys(storage_key(store.project, view, b"*")))
        keys, rows = _read(client, protos.schema_of(registered), stored, names)
        if not keys:
            raise VectorError(
                f"view '{view}' has no vectors in the online store; run `python -m feature_repo materialize "
                f"--views {view}`"
            )
        columns = {name: list(map(itemgetter(name), rows)) for name in names}
        widths = sorted({len(row) for row in columns[vector]})
        if len(widths) != 1:
            raise VectorError(
                f"view '{view}' holds vectors of the lengths {widths} online; run `python -m feature_repo "
                f"materialize --views {view} --full`"
            )
        return cls(
            keys,
            np.stack(columns[vector]),
            [value or "" for value in columns[text]] if text else None,
            categories=columns[category] if category else None,
        )

    def nearest(
        self,
        query: Sequence[float] | np.ndarray,
        k: int = 10,
        *,
        among: Collection[str] | None = None,
        words: str | None = None,
        category: str | None = None,
    ) -> list[Neighbour]:
        """Find the nearest vectors by cosine.

        Parameters
        ----------
        query : sequence of float, shape (dim,)
        k : int
            Most answers wanted.
        among : collection of str, optional
            Only these keys.
        words : str, optional
            Only entries whose text holds this, in any case.
        category : str, optional
            Only entries whose category is this, or holds it as whole words, in any case: ``Comedy`` finds
            ``Animation Comedy``.

        Returns
        -------
        list of Neighbour
            Nearest first; equal cosines by key. Several filters hold together; what is filtered is exact,
            also beyond `APPROXIMATE_FROM` vectors.

        Raises
        ------
        VectorError
            Wrong dimension, a vector that is zero or not finite, k below 1, or a filter that this index knows
            nothing of.
        """
        target = self._checked(query, k)
        allowed = self._allowed(among, words, category)
        if allowed is None and self._graph is not None:
            cosines, found = self._graph.search(target[None, :], min(k, len(self.keys)))
            pairs = [
                (number, float(cosine))
                for number, cosine in zip(found[0].tolist(), cosines[0].tolist(), strict=True)
                if number >= 0
            ]
        else:
            cosines = self.vectors[allowed] @ target if allowed is not None else self.vectors @ target
            best = (
                np.argpartition(-cosines, min(k, len(cosines)) - 1)[:k]
                if len(cosines)
                else np.zeros(0, np.int64)
            )
            pairs = [
                (int(allowed[place]) if allowed is not None else int(place), float(cosines[place]))
                for place in best.tolist()
            ]
        return [
            Neighbour(self.keys[number], cosine)
            for number, cosine in sorted(pairs, key=lambda pair: (-pair[1], self.keys[pair[0]]))
        ]

    def nearest_to_text(self, text: str, encode: Encode, k: int = 10, **filters: Any) -> list[Neighbour]:
        """Encode a text and find the nearest vectors; `encode` is the encoder of the indexed vectors."""
        if not text.strip():
            raise VectorError("the text is blank; give a few words")
        return self.nearest(encode([text])[0], k, **filters)

    def _checked(self, query: Sequence[float] | np.ndarray, k: int) -> np.ndarray:
        target = np.asarray(query, dtype=np.float32)
        if target.shape != self.vectors.shape[1:]:
            raise VectorError(
                f"the query has shape {target.shape}, the index holds vectors of shape "
                f"{self.vectors.shape[1:]}; use the same encoder"
            )
        length = float(np.linalg.norm(target))
        if not np.isfinite(length) or length == 0:
            raise VectorError("the query vector is zero or not finite; it is near to nothing")
        if k < 1:
            raise VectorError(f"k is {k}; ask for at least one neighbour")
        return target / length

    def _allowed(
        self, among: Collection[str] | None, words: str | None, category: str | None
    ) -> np.ndarray | None:
        """Places of the entries that pass every filter, ascending; none when there is no filter."""
        parts = []
        if among is not None:
            parts.append(
                np.array(sorted(self._place[key] for key in set(among) if key in self._place), dtype=np.int64)
            )
        if words is not None:
            if self.texts is None:
                raise VectorError(
                    "this index holds no texts; load it with the text feature, or filter by keys"
                )
            part = words.casefold()
            parts.append(
                np.flatnonzero(np.fromiter((part in text for text in self.texts), bool, len(self.texts)))
            )
        if category is not None:
            parts.append(self._of_category(category))
        if not parts:
            return None
        allowed = parts[0]
        for more in parts[1:]:
            allowed = np.intersect1d(allowed, more, assume_unique=True)
        return allowed

    def _of_category(self, category: str) -> np.ndarray:
        if self.categories is None:
            raise VectorError(
                "this index holds no categories; load it with the category feature, or filter by words or "
                "keys"
            )
        try:
            return self.categories.places(category)
        except CategoryError as error:
            raise VectorError(str(error)) from None

    @cached_property
    def _place(self) -> dict[str, int]:
        return {key: number for number, key in enumerate(self.keys)}


def _read(
    client: Any, schema: Any, stored: list[bytes], names: list[str]
) -> tuple[list[str], list[dict[str, Any]]]:
    keys, rows = [], []
    for start in range(0, len(stored), READ_AT_ONCE):
        part = stored[start : start + READ_AT_ONCE]
        for key, value in zip(part, client.read(part), strict=True):
            if value is None or schema.check(value).deleted:
                continue
            row = schema.decode(value, names)
            if row[names[0]] is not None:
                keys.append(_entity_of(key))
                rows.append(row)
    return keys, rows


def _entity_of(key: bytes) -> str:
    """The text value of a storage key with one text join key (see `stores.keys`)."""
    entity = key[key.index(b"{") + 1 : -1]
    (name_length,) = struct.unpack_from("<I", entity, 8)
    return entity[12 + name_length + 8 :].decode()


def _graph(vectors: np.ndarray) -> Any:
    """Build the graph of near vectors; None where faiss is not installed, and all are compared then."""
    try:
        import faiss
    except ImportError:
        log.info("faiss is not installed: every question is compared with all %d vectors", len(vectors))
        return None
    graph = faiss.IndexHNSWFlat(vectors.shape[1], GRAPH_LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efSearch = GRAPH_EFFORT
    graph.add(vectors)
    return graph
