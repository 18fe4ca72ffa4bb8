"""The trained network at work: prefixes to shares of all items, by compiled loops over the weights. No torch.

`model.network.network` is the same for training; tests hold one against the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from model.config import ModelConfig
from model.data.recency import HalfLives
from model.data.sequences import Cases
from model.kernels import sources
from model.kernels.compiled import flat
from model.network.kernels import Encoder, Floats, Tables, make_encoder, misshapen, propagated
from model.network.kernels import fusion as gates
from model.network.text_space import TextSpace, unit
from model.rankers.plan import Asked, Plan
from model.rankers.tables import Record, Table


class NetworkError(ValueError):
    """Weights that fit no compiled network; the text says which and the remedy."""


@dataclass(frozen=True)
class CompiledNetwork(Table):
    """A network over a catalogue; votes are the softmax of its scores.

    Attributes
    ----------
    config : ModelConfig
    weights : mapping
        By the names of `model.network.network.Network`, float32; those of the backbone begin with
        ``backbone.``.
    raw : ndarray float32, shape (items, dim)
        Item vectors before the backbone's propagation.
    views : ndarray float32, shape (items, text_dim) or (0, 0)
        Centred unit text vectors, for the paper's fusion.

    Raises
    ------
    NetworkError
        When it first scores: the backbone has no compiled form, or the weights do not fit it.
    """

    config: ModelConfig
    weights: Mapping[str, Floats]
    raw: Floats
    views: Floats

    @classmethod
    def of(
        cls,
        config: ModelConfig,
        weights: Mapping[str, Floats],
        space: TextSpace | None,
        vectors: Floats | None,
    ) -> CompiledNetwork:
        """Put the weights of a trained network over the catalogue that it was trained on.

        Parameters
        ----------
        config : ModelConfig
        weights : mapping
        space : TextSpace, optional
        vectors : ndarray float32, shape (items, text_dim), optional
            Raw text vectors of the catalogue.
        """
        raw = flat(weights["residual.weight"], np.float32)
        inner = {
            name.removeprefix("backbone."): value
            for name, value in weights.items()
            if name.startswith("backbone.")
        }
        wrong = misshapen(config, inner)
        if raw.ndim != 2 or raw.shape[1] != config.dim:
            wrong = f"residual.weight has shape {raw.shape}, the settings say (items, {config.dim})"
        if vectors is not None and len(vectors) != len(raw):
            wrong = f"residual.weight has {len(raw)} items, the text vectors {len(vectors)}"
        if wrong:
            raise NetworkError(f"the network's {wrong}")
        views = np.zeros((0, 0), dtype=np.float32)
        if space is not None and vectors is not None:
            raw = flat(raw + space.apply(vectors), np.float32) if config.text else raw
            views = flat(space.centred(vectors), np.float32) if config.fusion == "paper" else views
        return cls(config, weights, raw, views)

    def extended(self, raw: Floats, views: Floats | None) -> CompiledNetwork:
        """Return the network over a catalogue with more items at its end: their item vectors, shape (new,
        dim), and their centred text vectors, shape (new, text_dim).
        """
        grown = self.views
        if len(grown) and views is not None:
            grown = flat(np.concatenate([grown, views]), np.float32)
        return CompiledNetwork(
            self.config, self.weights, flat(np.concatenate([self.raw, raw]), np.float32), grown
        )

    def moved(self, places: list[int], by: Floats, views: Floats | None) -> CompiledNetwork:
        """Return the network with some item vectors moved, by rows of shape (len(places), dim), and other
        centred text vectors of these items, shape (len(places), text_dim).
        """
        raw, seen = self.raw.copy(), self.views
        raw[places] += by
        if len(seen) and views is not None:
            seen = seen.copy()
            seen[places] = views
        return CompiledNetwork(self.config, self.weights, flat(raw, np.float32), flat(seen, np.float32))

    @property
    def residual(self) -> Floats:
        """What clicks taught about every item of training, float32, shape (items, dim)."""
        return self.weights["residual.weight"]

    @cached_property
    def table(self) -> Floats:
        """Item vectors as prefixes and scores use them, float32, shape (items, dim)."""
        found = propagated(self.config, self._under("backbone."), self.raw)
        return flat(unit(found) if self.config.score == "cosine" else found, np.float32)

    @cached_property
    def silent(self) -> NDArray[np.int64]:
        """Items of which nothing is known, neither clicks nor text: the network must not prefer them to
        disliked ones.
        """
        found = np.flatnonzero(~self.table.any(axis=1))
        return found if len(found) < len(self.table) else found[:0]

    @cached_property
    def encoder(self) -> Encoder:
        """What reads prefixes."""
        tables = Tables(self.raw, self.table)
        try:
            found = make_encoder(self.config, self._under("backbone."), tables)
        except KeyError as error:
            raise NetworkError(f"backbone '{self.config.backbone}' lacks the weights {error}") from None
        if found is None:
            raise NetworkError(
                f"backbone '{self.config.backbone}' has no compiled form; add a module of its name to "
                "model/network/kernels"
            )
        return found

    @cached_property
    def _fusion(self) -> tuple[Floats, ...] | None:
        fusion = self._under("fusion.")
        return tuple(flat(fusion[name], np.float32) for name in gates.NAMES) if fusion else None

    def _under(self, prefix: str) -> dict[str, Floats]:
        return {
            name.removeprefix(prefix): value
            for name, value in self.weights.items()
            if name.startswith(prefix)
        }

    def sessions(self, asked: Asked) -> Floats:
        """Session vectors, float32, shape (sessions, dim), to be multiplied with `table`; not yet brought to
        the length that cosines need.
        """
        whole, local = (np.empty((len(asked), self.config.dim), dtype=np.float32) for _ in range(2))
        self.encoder.encode(asked.items, asked.offsets, whole, local)
        if self._fusion is None:
            found = self.encoder.combine(whole, local)
        else:
            found = np.empty_like(whole)
            switches = np.array([self.config.views in {"both", name} for name in ("long", "short")])
            half_lives = np.array(HalfLives.of(self.config.recency_half_life))
            read = asked.items, asked.offsets, self.config.max_length, self.views, half_lives
            gates.fused(*read, asked.long, asked.short, switches, self._fusion, whole, local, found)
        return found

    def fits(self, items: int) -> bool:
        """See Table.fits."""
        return len(self.table) == items

    @property
    def multiplies(self) -> bool:
        """See Table.multiplies."""
        return True

    @cached_property
    def record(self) -> Record:
        """See Table.record: votes are the softmax of the scores."""
        table, silent = self.table, flat(self.silent, np.int64)
        length = self.config.temperature if self.config.score == "cosine" else 0.0
        return Record.of(sources.NETWORK, table, table.shape[1], silent, len(silent), numbers=(length,))

    @cached_property
    def _alone(self) -> Plan:
        return Plan([self], [1.0], len(self.table))

    def probabilities(self, cases: Cases) -> Floats:
        """Softmax of the scores, float32, shape (cases, items), rows sum to 1."""
        return self._alone.scores(Asked.of(cases))
