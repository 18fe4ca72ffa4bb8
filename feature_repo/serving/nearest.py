"""Nearest items and sessions for the shell and for HTTP: indexes that are loaded on first use and again after
a materialisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from feature_repo.contract.lazy import lazy
from feature_repo.contract.settings import Settings
from feature_repo.serving.vectors import Neighbour, VectorError, VectorIndex
from feature_repo.stores.surroundings import online_store_of
from model.text.encoder import TextEncoder

if TYPE_CHECKING:
    from feast import FeatureStore

    from model.intent.ground import live, localiser
else:
    live = lazy("model.intent.ground.live")
    localiser = lazy("model.intent.ground.localiser")

Kind = Literal["items", "sessions"]


@dataclass(frozen=True)
class Place:
    """Where the vectors of a kind are: view, vector, text and category features, the service whose readers
    may search them, the answers' id.
    """

    view: str
    vector: str
    text: str
    category: str | None
    service: str
    key: str


PLACES: dict[str, Place] = {
    "items": Place("item_text", "vector", "text", "category", "item_text_v1", "item_id"),
    "sessions": Place(
        "session_intents", "long_vector", "long_text", None, "session_intents_v1", "session_id"
    ),
}


class Neighbourhood:
    """Answers by vector or text from the online store of a home.

    Parameters
    ----------
    settings : Settings
    store : feast.FeatureStore
    """

    def __init__(self, settings: Settings, store: FeatureStore) -> None:
        self._settings, self._store = settings, store
        self._loaded: dict[str, tuple[dict[str, Any], VectorIndex]] = {}

    def nearest(
        self, query: str | list[float], k: int = 10, *, of: Kind = "items", **filters: Any
    ) -> list[Neighbour]:
        """Find the nearest items, or the sessions of the nearest long intents.

        Parameters
        ----------
        query : str or list of float
            A text, or a vector of the kind's own space: the encoder's for items, the intents' for sessions (a
            text is taken there).
        k : int
            Most answers wanted.
        of : {"items", "sessions"}
        **filters
            ``among``, ``words``, ``category``; see `VectorIndex.nearest`.

        Raises
        ------
        VectorError
            A query or a filter that means nothing, an unknown kind, or no vectors online.
        OnlineStoreError
            The store cannot be reached.
        """
        if of not in PLACES:
            raise VectorError(f"there are no vectors of {of!r}; ask for one of {', '.join(PLACES)}")
        index = self._index(of)
        if not isinstance(query, str):
            return index.nearest(query, k, **filters)
        return index.nearest_to_text(
            query, self._encode if of == "items" else self._encode_intent, k, **filters
        )

    def _index(self, of: Kind) -> VectorIndex:
        place = PLACES[of]
        online = online_store_of(self._store)
        mark = online.watermark(self._store.config, self._store.get_feature_view(place.view))
        known = self._loaded.get(of)
        if known is None or known[0] != mark:
            index = VectorIndex.from_online(self._store, place.view, place.vector, place.text, place.category)
            known = self._loaded[of] = (mark, index)
        return known[1]

    @cached_property
    def _encoder(self) -> Any:
        return TextEncoder.load(self._settings.encoder)

    def _encode(self, texts: list[str]) -> np.ndarray:
        vectors: np.ndarray = self._encoder.encode(texts)
        return vectors

    def _encode_intent(self, texts: list[str]) -> np.ndarray:
        folder = live.live_folder(self._settings)
        if not folder.is_dir():
            raise VectorError(
                f"sessions cannot be found by text: {folder} is missing; run `python -m spark_jobs "
                "intents`, or give a vector"
            )
        return localiser.Localiser.load(folder).space(self._encode(texts))
