"""The finished model at work: sessions in, best items with reasons out. One thread, no gradient, no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from model.config import ModelConfig
from model.data.catalogue import Catalogue
from model.data.sequences import Cases, Sequences
from model.evaluate.select import best_items, remove_seen
from model.mix import Votes
from model.mix.hybrid import NETWORK, Hybrid, mixed
from model.network.cold_items import by_stand_ins
from model.network.network import Network
from model.network.scorer import NetworkScorer
from model.network.text_space import TextSpace
from model.recommender.reasons import Explainer
from model.text.stand_ins import stand_ins

if TYPE_CHECKING:
    from model.recommender.train import Trained

SCORES_AT_ONCE = 8_388_608  # 32 MB of float32: larger blocks fall out of the caches without being faster
# the scores of one source then stay in a core's own cache for catalogues of some thousand items
ROWS_AT_ONCE = 128
POPULAR = "popular with everybody"

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
class Scored:
    """An answer, best item first; ``reasons[i]`` says in a few words why ``items[i]`` is there,
    ``because[i]`` which click it goes back to (or is empty).
    """

    items: tuple[str, ...]
    scores: tuple[float, ...]
    reasons: tuple[str, ...]
    because: tuple[str, ...]


@dataclass(frozen=True)
class Scorer:
    """A trained model that answers sessions.

    Attributes
    ----------
    version : str
    config : ModelConfig
    catalogue : Catalogue
        Every item that can be recommended.
    network : NetworkScorer
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
    network: NetworkScorer
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
            trained.network_scorer(),
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

    @property
    def text_dim(self) -> int | None:
        """Length of intent vectors, none where the model knows no text."""
        return None if self.catalogue.vectors is None else int(self.catalogue.vectors.shape[1])

    def scores(self, cases: Cases) -> Floats:
        """Final scores of all items, nothing filtered, float32, shape (cases, n_items); the form that
        `model.evaluate.judge` reads.
        """
        probabilities = self.network.of_cases(cases)
        return probabilities if self.hybrid is None else self.hybrid.scores(cases, probabilities)

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
        with torch.inference_mode():
            return self._score(requests, k)

    def _score(self, requests: Sequence[ScoreRequest], k: int) -> list[Scored]:
        place_of = self.catalogue.index.get
        known = [
            [place for item in request.items if (place := place_of(item)) is not None] for request in requests
        ]
        answers: list[Scored | None] = [None] * len(requests)
        order = sorted(
            (place for place, items in enumerate(known) if items), key=lambda place: len(known[place])
        )
        rows = max(1, min(ROWS_AT_ONCE, SCORES_AT_ONCE // max(1, len(self.catalogue))))
        for start in range(0, len(order), rows):
            block = order[start : start + rows]
            cases = self._cases([known[place] for place in block], [requests[place] for place in block])
            allowed = [requests[place].allowed for place in block]
            for place, answer in zip(block, self._answer(cases, k, allowed), strict=True):
                answers[place] = answer
        popular = self._popular(k) if len(order) < len(requests) else None
        for place, request in enumerate(requests):
            if answers[place] is None:
                answers[place] = popular if request.allowed is None else self._popular(k, request.allowed)
        return answers  # type: ignore[return-value]

    def _cases(self, known: list[list[int]], requests: list[ScoreRequest]) -> Cases:
        keep = max(self.config.max_length, 50)
        cut = [items[-keep:] for items in known]
        lengths = np.array([len(items) for items in cut], dtype=np.int64)
        flat = np.array(list(chain.from_iterable(cut)), dtype=np.int32)
        offsets = np.zeros(len(cut) + 1, dtype=np.int64)
        np.cumsum(lengths, out=offsets[1:])
        none = np.zeros(len(cut), dtype=np.int64)
        prefixes = Sequences([""] * len(cut), flat, offsets, np.zeros(len(flat), dtype=np.int64), none)
        long, short = (
            self._views([getattr(request, view) for request in requests], view) for view in ("long", "short")
        )
        return Cases(prefixes, np.zeros(len(cut), dtype=np.int32), lengths, long, short)

    def _views(self, vectors: list[Floats | None], view: str) -> Floats | None:
        if self.text_dim is None or all(vector is None for vector in vectors):
            return None
        shape = (self.text_dim,)
        for vector in vectors:
            if vector is not None and np.shape(vector) != shape:
                raise ValueError(
                    f"{view} intent vector of shape {np.shape(vector)}; model {self.version} reads "
                    f"{self.text_dim} numbers, use its encoder"
                )
        nothing = np.zeros(shape, dtype=np.float32)
        found = np.array([nothing if vector is None else vector for vector in vectors], dtype=np.float32)
        if not np.isfinite(found).all():
            raise ValueError(f"{view} intent vector holds NaN or infinity; infer the intent again")
        return found

    def _answer(self, cases: Cases, k: int, allowed: Sequence[NDArray[np.bool_] | None] = ()) -> list[Scored]:
        sources = self._sources(cases)
        cold = None if self.hybrid is None else self.hybrid.cold_mix
        total = mixed(sources, cold)
        if self.without_seen:
            remove_seen(total, cases.prefixes)
        for row, mask in enumerate(allowed):
            if mask is not None:
                total[row].masked_fill_(torch.from_numpy(~mask), float("-inf"))
        values, items = best_items(total, k)
        # Only the items of the answer need a reason: what each source gave to them.
        given = [votes.values.gather(1, items).mul_(votes.scale).numpy() for _, votes in sources]
        if cold is not None:
            given = [
                cold.said(name, votes, items.numpy()) for (name, _), votes in zip(sources, given, strict=True)
            ]
        parts = {} if self.hybrid is None else self.hybrid.parts
        said = self._explainer.explain(
            [name for name, _ in sources],
            parts,
            cases,
            items.numpy(),
            np.argmax(np.stack(given, axis=2), axis=2),
        )
        # fewer than k where the session saw nearly all items
        counts = np.isfinite(values.numpy()).sum(axis=1).tolist()
        ids = self._explainer.ids[items.numpy()]
        rows = zip(
            ids.tolist(), values.tolist(), said.texts.tolist(), said.because.tolist(), counts, strict=True
        )
        return [
            Scored(tuple(row[:count]), tuple(scores[:count]), tuple(why[:count]), tuple(click[:count]))
            for row, scores, why, click, count in rows
        ]

    def _sources(self, cases: Cases) -> list[tuple[str, Votes]]:
        """Names and scaled votes by source; each is computed once and serves both the sum and the reasons."""
        if self.hybrid is None:
            return [(NETWORK, Votes(self.network.shares(cases), torch.ones(len(cases), 1)))]
        return self.hybrid.sources(
            cases, self.network.shares(cases) if self.hybrid.weights.get(NETWORK, 0.0) > 0 else None
        )

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
        cases, places = (
            self._cases([known], [request]),
            np.array([self.catalogue.known(items)], dtype=np.int64),
        )
        if self.hybrid is None:
            return [{NETWORK: 1.0} for _ in items]
        found = self.hybrid.shares(
            cases, places, np.take_along_axis(self.network.of_cases(cases), places, axis=1)
        )
        rows = [
            {name: float(share[0, place]) for name, share in found.items()} for place in range(len(items))
        ]
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
        vectors, table = self._new_vectors(new, places)
        old = self.catalogue
        catalogue = Catalogue(
            old.item_ids + [new.item_ids[place] for place in places],
            old.titles + [new.titles[place] for place in places],
            old.categories + [new.categories[place] for place in places],
            None if old.vectors is None else np.concatenate([old.vectors, vectors]),
        )
        inner: Network = self.network.network
        counts = np.concatenate([self.counts, np.zeros(len(places), dtype=np.int64)])
        table = table + self._new_residuals(catalogue, vectors, counts)
        grown = torch.cat([inner.item_table(), torch.from_numpy(table).to(inner.residual.weight.device)])
        network = (
            inner.extended(torch.from_numpy(self.space.centred(vectors))) if self.space is not None else inner
        )
        hybrid = None
        if self.hybrid is not None:
            settings, tensors = self.hybrid.state()
            hybrid = type(self.hybrid).restore(settings, tensors, catalogue)
        return replace(
            self,
            catalogue=catalogue,
            network=NetworkScorer(network, self.config, grown),
            hybrid=hybrid,
            counts=counts,
        )

    def _new_vectors(self, new: Catalogue, places: list[int]) -> tuple[Floats, Floats]:
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
        return by_stand_ins(
            shares,
            self.network.network.residual.weight.detach().cpu().numpy(),
            self.space.centred(vectors) @ self.cold_map,
        )
