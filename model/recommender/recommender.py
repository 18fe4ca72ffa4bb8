"""The finished model at work: sessions in, best items with reasons out. One thread, no gradient, no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.config import ModelConfig
from model.data.catalogue import Catalogue
from model.data.sequences import Cases
from model.mix.hybrid import NETWORK, Hybrid
from model.mix.mixer import Mixer, Source
from model.network.compiled import CompiledNetwork
from model.network.text_space import TextSpace
from model.rankers.plan import NO_MASK, NONE, Asked
from model.recommender.reasons import NO_ANSWER, POPULAR, Explainer, Scored
from model.text.stand_ins import by_stand_ins, stand_ins

if TYPE_CHECKING:
    from model.recommender.train import Trained

LONGEST = 50  # clicks; longer prefixes are answered by their newest

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ScoreRequest:
    """One session to be answered.

    Attributes
    ----------
    items : sequence of str
        Clicks, oldest first; ids that the model does not know are skipped.
    long, short : ndarray float32, shape (text_dim,), optional
        Intent vectors; none or zeros = made from the clicked titles.
    allowed : ndarray bool, shape (n_items,), optional
        Items that may be in the answer, over the scorer's catalogue; none = all.
    """

    items: Sequence[str]
    long: Floats | None = None
    short: Floats | None = None
    allowed: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Scorer:
    """A trained model that answers sessions.

    Attributes
    ----------
    version : str
    config : ModelConfig
    catalogue : Catalogue
        Every item that can be recommended.
    network : CompiledNetwork
    hybrid : Hybrid, optional
        Parts beside the network; none = the network alone.
    counts : ndarray int64, shape (n_items,)
        Training clicks; the order of answers to sessions about which nothing is known.
    space : TextSpace, optional
    cold_map : ndarray float32, shape (text_dim, dim), optional
        What makes vectors for items that join later.
    without_seen : bool
        Whether a session's own items are left out of its answer.
    """

    version: str
    config: ModelConfig
    catalogue: Catalogue
    network: CompiledNetwork
    hybrid: Hybrid | None
    counts: NDArray[np.int64]
    space: TextSpace | None = None
    cold_map: Floats | None = None
    without_seen: bool = True
    name: str = field(default="model")

    @classmethod
    def of(cls, trained: Trained, version: str = "unsaved", without_seen: bool = True) -> Scorer:
        """Make a scorer of a model that was just trained."""
        return cls(
            version,
            trained.config,
            trained.catalogue,
            trained.compiled(),
            trained.hybrid,
            trained.counts,
            trained.space,
            trained.cold_map,
            without_seen,
        )

    @property
    def item_ids(self) -> list[str]:
        """Every item that can be recommended."""
        return self.catalogue.item_ids

    @cached_property
    def _explainer(self) -> Explainer:
        return Explainer(self.catalogue)

    @cached_property
    def text_dim(self) -> int | None:
        """Length of intent vectors, none where the model knows no text."""
        return None if self.catalogue.vectors is None else int(self.catalogue.vectors.shape[1])

    @cached_property
    def mixer(self) -> Mixer:
        """All sources of the score, as the compiled kernels read them."""
        if self.hybrid is None:
            return Mixer([Source(NETWORK, 1.0, self.network)], len(self.catalogue))
        return self.hybrid.mixer(self.network)

    def scores(self, cases: Cases) -> Floats:
        """Final scores of all items, nothing filtered, float32, shape (cases, n_items); the form that
        `model.evaluate.judge` reads.
        """
        return self.mixer.scores(cases)

    def warm(self) -> None:
        """Answer once, so that no session waits for a kernel that is compiled or a table that is made."""
        self.score([ScoreRequest([]), ScoreRequest(self.item_ids[:2])], 1)

    def score(self, requests: Sequence[ScoreRequest], k: int = 20) -> list[Scored]:
        """Answer sessions.

        Parameters
        ----------
        requests : sequence of ScoreRequest
            Any number; equal lengths are batched together.
        k : int
            Items wanted; a smaller catalogue gives all it has.

        Returns
        -------
        list of Scored
            In the order of the requests. A session without a known item is answered by popularity.

        Raises
        ------
        ValueError
            If k is below 1, or an intent vector has a wrong length or holds NaN.
        """
        if k < 1:
            raise ValueError(f"k = {k}; ask for at least one item")
        place_of = self.catalogue.index.get
        keep = max(self.config.max_length, LONGEST)
        known = []
        for request in requests:
            found = map(place_of, request.items)
            known.append([place for place in found if place is not None][-keep:])
        places = [place for place, items in enumerate(known) if items]
        answers: list[Scored] = [NO_ANSWER] * len(requests)
        if len(places) < len(requests):
            popular = self._popular(k)
            answers = [
                popular if request.allowed is None else self._popular(k, request.allowed)
                for request in requests
            ]
        for start in range(0, len(places), self.mixer.plan.at_once):
            block = places[start : start + self.mixer.plan.at_once]
            asked = self._asked([known[place] for place in block], [requests[place] for place in block])
            best = self.mixer.plan.best(asked, k, self.without_seen)
            for place, answer in zip(block, self._explainer.put(self.mixer.names, best), strict=True):
                answers[place] = answer
        return answers

    def _asked(self, known: list[list[int]], requests: list[ScoreRequest]) -> Asked:
        return Asked(
            np.array(list(chain.from_iterable(known)), dtype=np.int32),
            np.array([0, *accumulate(map(len, known))], dtype=np.int64),
            np.zeros(len(known), dtype=np.int64),
            self._views([request.long for request in requests], "long"),
            self._views([request.short for request in requests], "short"),
            allowed=self._masks([request.allowed for request in requests]),
        )

    def _masks(self, masks: list[NDArray[np.bool_] | None]) -> NDArray[np.bool_]:
        if all(mask is None for mask in masks):
            return NO_MASK
        everything = np.ones(len(self.catalogue), dtype=np.bool_)
        return np.stack([everything if mask is None else mask for mask in masks])

    def _views(self, vectors: list[Floats | None], view: str) -> Floats:
        given = [vector for vector in vectors if vector is not None]
        if self.text_dim is None or not given:
            return NONE
        for vector in given:
            if np.shape(vector) != (self.text_dim,):
                raise ValueError(
                    f"{view} intent vector of shape {np.shape(vector)}; model {self.version} reads "
                    f"{self.text_dim} numbers, use its encoder"
                )
        if len(given) == len(vectors):
            return np.array(given, dtype=np.float32)
        nothing = np.zeros(self.text_dim, dtype=np.float32)
        return np.array([nothing if vector is None else vector for vector in vectors], dtype=np.float32)

    def shares(self, request: ScoreRequest, items: Sequence[str]) -> list[dict[str, float]]:
        """Say how much of each recommendation's score comes from which source.

        Parameters
        ----------
        request : ScoreRequest
            The session that was answered.
        items : sequence of str
            Recommended items, all of them in the catalogue.

        Returns
        -------
        list of dict
            One an item: source name to its share, largest first; a dict sums to 1, and is empty where
            popularity alone answered.
        """
        known = self.catalogue.known(request.items)
        if not known or not items:
            return [{} for _ in items]
        places = np.array([self.catalogue.known(items)], dtype=np.int64)
        found = self.mixer.shares(self._asked([known], [request]), places)
        columns = [share[0].tolist() for share in found.values()]
        rows = [dict(zip(found, row, strict=True)) for row in zip(*columns, strict=True)]
        return [dict(sorted(row.items(), key=lambda pair: -pair[1])) for row in rows]

    def _popular(self, k: int, allowed: NDArray[np.bool_] | None = None) -> Scored:
        total = max(int(self.counts.sum()), 1)
        places = np.arange(len(self.counts)) if allowed is None else np.flatnonzero(allowed)
        order = places[np.argsort(-self.counts[places], kind="stable")[:k]].tolist()
        ids = tuple(self.catalogue.item_ids[item] for item in order)
        return Scored(
            ids,
            tuple(float(self.counts[item]) / total for item in order),
            (POPULAR,) * len(order),
            ("",) * len(order),
            ("popular",) * len(order),
        )

    def with_items(self, new: Catalogue) -> Scorer:
        """Return a scorer that can also recommend items that joined the catalogue after training.

        Parameters
        ----------
        new : Catalogue
            With text vectors of the same encoder; ids that are known already are left as they are.

        Returns
        -------
        Scorer
            The new items stand behind the known ones and are ranked from their titles at once.

        Raises
        ------
        ValueError
            If the vectors are of another length.
        """
        places = [place for place, item in enumerate(new.item_ids) if item not in self.catalogue.index]
        if not places:
            return self
        vectors, table = self._placed_vectors(new, places)
        old = self.catalogue
        catalogue = Catalogue(
            old.item_ids + [new.item_ids[place] for place in places],
            old.titles + [new.titles[place] for place in places],
            old.categories + [new.categories[place] for place in places],
            None if old.vectors is None else np.concatenate([old.vectors, vectors]),
        )
        counts = np.concatenate([self.counts, np.zeros(len(places), dtype=np.int64)])
        table = table + self._new_residuals(catalogue, vectors, counts)
        network = self.network.extended(table, None if self.space is None else self.space.centred(vectors))
        return replace(
            self, catalogue=catalogue, network=network, hybrid=self._hybrid_over(catalogue), counts=counts
        )

    def retitled(self, changed: Catalogue) -> Scorer:
        """Return a scorer in which some known items have other titles, categories and text vectors; what
        clicks taught about them stays.

        Parameters
        ----------
        changed : Catalogue
            With text vectors of the same encoder; ids that are not known are passed over.

        Raises
        ------
        ValueError
            If the vectors are of another length.
        """
        index, old = self.catalogue.index, self.catalogue
        places = [place for place, item in enumerate(changed.item_ids) if item in index]
        if not places:
            return self
        here = [index[changed.item_ids[place]] for place in places]
        vectors, table = self._placed_vectors(changed, places)
        titles, categories = list(old.titles), list(old.categories)
        for at, place in zip(here, places, strict=True):
            titles[at], categories[at] = changed.titles[place], changed.categories[place]
        before = np.zeros_like(vectors) if old.vectors is None else old.vectors[here]
        whole = None if old.vectors is None else old.vectors.copy()
        if whole is not None:
            whole[here] = vectors
        if self.config.text and self.space is not None:
            table = table - self.space.apply(before)
        catalogue = Catalogue(old.item_ids, titles, categories, whole)
        network = self.network.moved(here, table, None if self.space is None else self.space.centred(vectors))
        return replace(self, catalogue=catalogue, network=network, hybrid=self._hybrid_over(catalogue))

    def _hybrid_over(self, catalogue: Catalogue) -> Hybrid | None:
        if self.hybrid is None:
            return None
        settings, tensors = self.hybrid.state()
        return type(self.hybrid).restore(settings, tensors, catalogue)

    def _placed_vectors(self, new: Catalogue, places: list[int]) -> tuple[Floats, Floats]:
        width = self.text_dim or 0
        vectors = np.zeros((len(places), width), dtype=np.float32)
        table = np.zeros((len(places), self.config.dim), dtype=np.float32)
        if not width or new.vectors is None:
            return vectors, table
        if new.vectors.shape[1] != width:
            raise ValueError(
                f"new items have text vectors of {new.vectors.shape[1]} numbers, model {self.version} reads "
                f"{width}; use its encoder"
            )
        vectors = new.vectors[places]
        if self.config.text and self.space is not None:
            table = self.space.apply(vectors)
        return vectors, table

    def _new_residuals(self, catalogue: Catalogue, vectors: Floats, counts: NDArray[np.int64]) -> Floats:
        """What clicks on like titles taught, for items behind the known ones; shape (new items, dim)."""
        old = len(self.catalogue)
        if self.cold_map is None or self.space is None or not self.config.text:
            return np.zeros((len(vectors), self.config.dim), dtype=np.float32)
        shares = stand_ins(catalogue.texts, np.arange(old, len(catalogue)), counts > 0)[old:, :old]
        learned = self.network.residual
        return by_stand_ins(
            shares,
            np.pad(learned, ((0, old - len(learned)), (0, 0))),  # nobody clicked what joined before
            self.space.centred(vectors) @ self.cold_map,
        )
