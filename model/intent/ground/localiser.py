"""Intent localisation: free answers become mixes of real items, as LLM4SBR's Top-r step. Knows nothing of how
answers arise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from model.text.nearest import LARGE_CATALOGUE, SMALL_BATCH, BlockedSearch, Found, ListSearch

Mode = Literal["raw", "centred", "whitened"]
Grounded = tuple[tuple[str, ...], tuple[float, ...]]
Grounding = tuple[tuple[str, ...], tuple[float, ...], NDArray[np.float32]]

WHITENING_FLOOR: Final = 0.05  # of the mean variance; keeps directions of pure noise from being blown up
VECTORS_FILE: Final = "title_vectors.safetensors"
ITEMS_FILE: Final = "titles.json"
INDEX_FILE: Final = "title_index.faiss"


class LocaliserError(ValueError):
    """Title vectors or a saved localiser that cannot be used; the text names them and the remedy."""


class Localiser:
    """Grounds answers on the items of a catalogue.

    Parameters
    ----------
    item_ids : sequence of str
        One id a row; rows without a vector (all zeros) are left out.
    titles : sequence of str
        What an item is called, for readable intents.
    vectors : array, float32, shape (n, dim)
        The encoder's vectors of the items' texts.
    mode : str
        ``raw``, ``centred`` (the catalogue's mean taken off) or ``whitened`` (its covariance too).
    top_r : int
        Items an answer is grounded on; 0 = the answer's own vector.
    centre, transform : arrays, optional
        The space to use, of shapes (dim,) and (dim, dim), so that vectors stored earlier stay comparable;
        none = fitted to the vectors.
    in_space : bool
        Whether the vectors lie in that space already, as saved ones do.
    index : Path, optional
        File of inverted lists over these vectors, as `build_index` made them; none = searched in blocks.
    categories : sequence of str, optional
        Of the items, for names of intents; none = without.

    Raises
    ------
    LocaliserError
        If the lengths differ, the mode is unknown or a vector is not finite.

    References
    ----------
    LLM4SBR (arXiv 2402.13840), eq. 3 to 5: the sum of the r nearest item vectors, weighted by their raw
    cosines.
    """

    def __init__(
        self,
        item_ids: Sequence[str],
        titles: Sequence[str],
        vectors: NDArray[np.float32],
        mode: str = "centred",
        top_r: int = 5,
        *,
        centre: NDArray[np.float32] | None = None,
        transform: NDArray[np.float32] | None = None,
        in_space: bool = False,
        index: Path | None = None,
        categories: Sequence[str] | None = None,
    ) -> None:
        vectors = np.asarray(vectors, np.float32)
        if vectors.ndim != 2 or not len(item_ids) == len(titles) == len(vectors):
            raise LocaliserError(
                f"{len(item_ids)} item ids, {len(titles)} titles and vectors of shape {vectors.shape} do "
                "not fit; pass one row of each an item"
            )
        if mode not in ("raw", "centred", "whitened"):
            raise LocaliserError(
                f"vectors mode '{mode}' is unknown; set intents.vectors to raw, centred or whitened"
            )
        if not np.isfinite(vectors).all():
            raise LocaliserError("title vectors hold values that are not finite; run item-vectors again")
        kept = [int(row) for row in np.flatnonzero(np.abs(vectors).sum(1) > 0)]
        self.item_ids = [item_ids[row] for row in kept]
        self.titles = [titles[row] for row in kept]
        self.categories = [categories[row] or "" for row in kept] if categories else [""] * len(kept)
        self.mode = cast(Mode, mode)
        self.top_r = top_r
        self.dim = vectors.shape[1]
        raw = _unit(vectors[kept])
        self.centre, self.transform = (centre, transform) if centre is not None else _fit(raw, self.mode)
        self.vectors = _unit(_unit(raw)) if in_space else self.space(raw)
        self._rows = {item_id: row for row, item_id in enumerate(self.item_ids)}
        self._blocked: BlockedSearch | None = None
        self._lists = ListSearch.load(index, self.vectors) if index is not None else None

    def over(
        self,
        item_ids: Sequence[str],
        titles: Sequence[str],
        categories: Sequence[str],
        vectors: NDArray[np.float32],
    ) -> Localiser:
        """Return a localiser over the same space in which some items are new, or have other titles,
        categories and vectors.

        Parameters
        ----------
        item_ids, titles, categories : sequences of str
            The new and changed items.
        vectors : array, float32, shape (n, dim)
            As the encoder gave them; an item with a row of zeros is left out.
        """
        gone = set(item_ids)
        kept = [row for row, item in enumerate(self.item_ids) if item not in gone]
        return Localiser(
            [*(self.item_ids[row] for row in kept), *item_ids],
            [*(self.titles[row] for row in kept), *titles],
            np.concatenate([self.vectors[kept], self.space(vectors)]),
            self.mode,
            self.top_r,
            centre=self.centre,
            transform=self.transform,
            in_space=True,
            categories=[*(self.categories[row] for row in kept), *categories],
        )

    def __len__(self) -> int:
        return len(self.item_ids)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._rows

    @property
    def rows(self) -> Mapping[str, int]:
        """Item id to the row of its vector."""
        return self._rows

    def title(self, item_id: str) -> str:
        """Return the title of an item, or the id itself where the catalogue has none."""
        row = self._rows.get(item_id)
        return item_id if row is None else self.titles[row]

    def space(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take encoder vectors into this localiser's space.

        Parameters
        ----------
        vectors : array, float32, shape (n, dim)
            Rows of the encoder; an all-zero row stays zero.

        Returns
        -------
        array, float32, shape (n, dim)
            Unit rows.
        """
        vectors = np.asarray(vectors, np.float32)
        known = np.abs(vectors).sum(1, keepdims=True) > 0
        moved = _unit(vectors) - self.centre
        if self.transform is not None:
            moved = moved @ self.transform
        return np.where(known, _unit(moved), np.float32(0.0)).astype(np.float32)

    def ground(self, answer_vectors: NDArray[np.float32], top_r: int | None = None) -> list[Grounding]:
        """Ground answers on the catalogue.

        Parameters
        ----------
        answer_vectors : array, float32, shape (n, dim)
            Answers as the encoder gave them (not yet in this space).
        top_r : int, optional
            Instead of the localiser's own.

        Returns
        -------
        list of (items, cosines, vector)
            Nearest first. The vector is the unit cosine-weighted sum of the items' vectors. With r = 0 it is
            the answer's own vector, and the one nearest item is still named, so that every answer stays
            explainable.
        """
        r = self.top_r if top_r is None else top_r
        asked = self.space(answer_vectors)
        rows, cosines = self.search(asked, max(1, r))
        grounded: list[Grounding] = []
        for own, places, weights in zip(asked, rows, cosines, strict=True):
            mixed = weights @ self.vectors[places] if r else own
            vector = _unit(mixed[None])[0] if len(places) and np.any(own) else own
            grounded.append(
                (
                    tuple(self.item_ids[place] for place in places),
                    tuple(float(weight) for weight in weights),
                    vector,
                )
            )
        return grounded

    def nearest(self, vectors: NDArray[np.float32], k: int) -> list[Grounded]:
        """Return the ids and cosines of the ``k`` items nearest to vectors that are in this space already."""
        rows, cosines = self.search(vectors, k)
        return [
            (tuple(map(self.item_ids.__getitem__, places)), tuple(values))
            for places, values in zip(rows.tolist(), cosines.tolist(), strict=True)
        ]

    def search(self, vectors: NDArray[np.float32], k: int) -> Found:
        """Return rows and cosines of the nearest items; exact, or by inverted lists for few queries where an
        index is built.
        """
        if not len(self):
            return np.zeros((len(vectors), 0), np.int64), np.zeros((len(vectors), 0), np.float32)
        if self._lists is not None and len(vectors) <= SMALL_BATCH:
            return self._lists.search(vectors, k)
        if self._blocked is None:
            self._blocked = BlockedSearch(self.vectors)
        return self._blocked.search(vectors, k)

    def build_index(self, *, at_least: int = LARGE_CATALOGUE) -> bool:
        """Build inverted lists for single look-ups where the catalogue has ``at_least`` items; true when they
        are in use.
        """
        if len(self) >= at_least and self._lists is None:
            self._lists = ListSearch.build(self.vectors)
        return self._lists is not None

    def vectors_of(self, item_ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the items' vectors in this space, float32 of shape (len(item_ids), dim); zeros for unknown
        items.
        """
        found = np.zeros((len(item_ids), self.dim), np.float32)
        for place, item in enumerate(item_ids):
            row = self._rows.get(item)
            if row is not None:
                found[place] = self.vectors[row]
        return found

    def save(self, folder: Path) -> None:
        """Write the localiser to a folder: one safetensors file, one JSON file, and the index where one is
        built.
        """
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        tensors = {"vectors": self.vectors, "centre": self.centre}
        if self.transform is not None:
            tensors["transform"] = self.transform
        save_file(
            {name: np.ascontiguousarray(value) for name, value in tensors.items()}, folder / VECTORS_FILE
        )
        content = {
            "mode": self.mode,
            "top_r": self.top_r,
            "item_ids": self.item_ids,
            "titles": self.titles,
            "categories": self.categories,
        }
        (folder / ITEMS_FILE).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        if self._lists is not None:
            self._lists.save(folder / INDEX_FILE)

    @classmethod
    def load(cls, folder: Path) -> Localiser:
        """Read what ``save`` wrote.

        Raises
        ------
        LocaliserError
            If a file is missing or does not fit the others.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            tensors = load_file(folder / VECTORS_FILE)
            content = json.loads((folder / ITEMS_FILE).read_text(encoding="utf-8"))
            index = folder / INDEX_FILE
            return cls(
                content["item_ids"],
                content["titles"],
                tensors["vectors"],
                content["mode"],
                int(content["top_r"]),
                centre=tensors["centre"],
                transform=tensors.get("transform"),
                in_space=True,
                index=index if index.exists() else None,
                categories=content.get("categories"),
            )
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise LocaliserError(
                f"localiser folder '{folder}' cannot be read ({error}); train and save the model again"
            ) from None


def _fit(raw: NDArray[np.float32], mode: Mode) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    dim = raw.shape[1]
    if mode == "raw" or len(raw) < 2:
        return np.zeros(dim, np.float32), None
    centre = raw.mean(0, dtype=np.float64)
    if mode == "centred":
        return centre.astype(np.float32), None
    moved = raw - centre
    variances, axes = np.linalg.eigh(moved.T @ moved / len(raw))
    floor = WHITENING_FLOOR * max(float(variances.mean()), 1e-12)
    return centre.astype(np.float32), (axes / np.sqrt(np.maximum(variances, 0.0) + floor)).astype(np.float32)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return cast(NDArray[np.float32], np.divide(vectors, lengths, dtype=np.float32))
