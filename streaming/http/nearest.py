"""Items nearest in meaning to a text or to an item, exact, from the vectors of the model in use; so every id
belongs to its vector.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import msgspec

from feature_repo.contract.categories import plain
from feature_repo.serving.vectors import VectorError, VectorIndex
from streaming.http.wire.errors import ApiError

if TYPE_CHECKING:
    from feature_repo.contract.settings import Settings
    from model.recommender.loaded_model import LoadedModel

MAX_TEXT_CHARACTERS = 2_000


class NearItem(msgspec.Struct, frozen=True):
    """One item and the cosine of its text vector to the query."""

    item_id: str
    title: str
    category: str
    cosine: float


class NearestItems:
    """The vectors of one model's catalogue, and the encoder that made them. Used from worker threads.

    Parameters
    ----------
    settings : Settings
        Of the encoder, which is loaded at the first text (some seconds).
    model : LoadedModel
        Whose catalogue is searched.
    """

    def __init__(self, settings: Settings, model: LoadedModel) -> None:
        self._settings, self._model, self._lock = settings, model, threading.Lock()
        self._index: VectorIndex | None = None
        self._encoder: Any = None

    def __call__(self, text: str | None, item_id: str | None, k: int, category: str | None) -> list[NearItem]:
        """Find the nearest items; exactly one of text and item id is given.

        Parameters
        ----------
        text : str or None
            What the items should mean.
        item_id : str or None
            An item of the catalogue; it is left out of its own answer.
        k : int
            At most so many.
        category : str or None
            Only items whose category holds this as whole words, in any case.

        Raises
        ------
        ApiError
            404 for an unknown item, 400 for an item without text, 503 when the model knows no text vectors or
            another encoder made them.
        """
        catalogue, index = self._model.scorer.catalogue, self._ready_index()
        vectors = catalogue.vectors
        if item_id is not None and item_id not in catalogue.index:
            version = self._model.scorer.version
            raise ApiError(
                404,
                "unknown_item",
                (
                    f"item_id {item_id[:60]!r} is not in the catalogue of model {version}; look it up by "
                    "/v1/items?query="
                ),
            )
        query = (
            self._encode(str(text))
            if item_id is None or vectors is None
            else vectors[catalogue.index[item_id]]
        )
        if category and not plain(category).strip():
            raise ApiError(
                400, "bad_category", f"category {category[:60]!r} holds no letter or digit; name one"
            )
        try:
            found = index.nearest(query, k + 1, category=category or None)
        except VectorError as error:
            raise ApiError(400, "no_direction", str(error)) from None
        places = [(catalogue.index[one.key], one.cosine) for one in found if one.key != item_id][:k]
        return [
            NearItem(catalogue.item_ids[at], catalogue.titles[at], catalogue.categories[at], round(cosine, 6))
            for at, cosine in places
        ]

    def _ready_index(self) -> VectorIndex:
        catalogue = self._model.scorer.catalogue
        if catalogue.vectors is None:
            version = self._model.scorer.version
            raise ApiError(
                503,
                "no_vectors",
                f"model {version} knows no text vectors; give the items titles and train again",
            )
        with self._lock:
            if self._index is None:
                self._index = VectorIndex(
                    catalogue.item_ids,
                    catalogue.vectors,
                    categories=catalogue.categories,
                    approximate=False,
                )
            return self._index

    def _encode(self, text: str) -> Any:
        from model.recommender.artifact import read_manifest
        from model.text.encoder import TextEncoder

        with self._lock:
            if self._encoder is None:
                self._encoder = TextEncoder.load(self._settings.encoder)
            made_by = read_manifest(self._model.path).get("encoder", "")
            if made_by != self._encoder.name:
                problem = (
                    f"the vectors are of encoder {made_by!r}, the settings name {self._encoder.name!r}; set "
                    "encoder.model to the former"
                )
                raise ApiError(503, "other_encoder", problem)
            return self._encoder.encode([text[:MAX_TEXT_CHARACTERS]])[0]
