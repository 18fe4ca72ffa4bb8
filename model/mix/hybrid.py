"""The hybrid score: network and parts mixed as probabilities, with weights chosen on validation. Knows
nothing of how a network works.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Protocol, runtime_checkable

import numpy as np

from model.data.catalogue import Catalogue
from model.data.sequences import Cases, Sequences
from model.data.splits import Dataset
from model.evaluate.choose import sample
from model.evaluate.judge import Seen, default_seen
from model.mix import KINDS, Part, applicable, fitted
from model.mix.cold_mix import ColdMix
from model.mix.hiding import hidden_trust
from model.mix.mixer import Mixer, Source
from model.mix.pool import doubts, pool
from model.mix.weights import TEXT, Mix, Trust, named, natural, search, unguided
from model.rankers.tables import GivenTable, Table

NETWORK = "network"
VALIDATION_CASES = 25_000  # evenly spread beyond; the same for every seed
TRACE = 1e-4  # a weight that decides between items of which the other sources know nothing
log = logging.getLogger("intentstore.model.hybrid")


class HybridConfig(Protocol):
    """What the hybrid reads of the model's config."""

    @property
    def parts(self) -> tuple[str, ...] | None:
        """Names of ``model.mix.KINDS``; none = all that the data allow."""
        ...

    @property
    def remove_seen(self) -> bool | None:
        """Whether the weights are chosen with seen items taken out; none = by the protocol."""
        ...


@runtime_checkable
class NetworkProbabilities(Protocol):
    """The network as the mix reads it; `model.network.scorer.NetworkScorer` is one."""

    def probabilities(
        self, prefixes: Sequences, long: np.ndarray | None = None, short: np.ndarray | None = None
    ) -> np.ndarray:
        """Return float32, shape (cases, items), rows sum to 1."""
        ...


Network = NetworkProbabilities | Callable[[Cases], np.ndarray]
Blind = Callable[[np.ndarray], Callable[[Cases], np.ndarray]]


@dataclass(frozen=True)
class Hybrid:
    """Weights and parts.

    Attributes
    ----------
    weights : dict
        ``network`` and part name to weight; they sum to 1. A part without proven use has weight 0 and is not
        kept.
    parts : dict
        Part name to part, those with weight only.
    counts : ndarray int64, shape (items,)
        Training clicks, 5 for more; empty = nothing is known of them.
    trust : tuple of float
        What text sources and others count for items with few clicks; see `model.mix.cold_mix`.
    shrunk, gained : float
        What the search says of itself; see `model.mix.weights.Mix`.
    """

    weights: dict[str, float]
    parts: dict[str, Part]
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    trust: Trust = (0.0, 0.0)
    shrunk: float = 0.0
    gained: float = 0.0

    @cached_property
    def cold_mix(self) -> ColdMix | None:
        """How items with few clicks are mixed; none where all are known well, or their sources are trusted
        like the others'.
        """
        return ColdMix.of(self.trust, self.counts)

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        network: Network | None,
        config: HybridConfig,
        *,
        seen: Seen | None = None,
        blind: Blind | None = None,
    ) -> Hybrid:
        """Fit the parts on training and choose the weights on validation, starting from the network alone.

        Parameters
        ----------
        dataset : Dataset
            Only ``train``, ``valid`` and the catalogue are read.
        network : NetworkProbabilities, or a function of cases that gives probabilities, or None
            None = parts alone (the no-training blend).
        config : HybridConfig
        seen : str, optional
            Rule under which validation ranks; none = as ``config.remove_seen`` says.
        blind : callable, optional
            Clicks of every item to the network as it would be without those of items that have 0; see
            `model.mix.hiding`.

        Returns
        -------
        Hybrid

        Raises
        ------
        ValueError
            If ``config.parts`` names an unknown part.
        """
        rule = seen or _rule(dataset, config)
        names = applicable(dataset, rule) if config.parts is None else config.parts
        unknown = [name for name in names if name not in KINDS]
        if unknown:
            raise ValueError(
                f"part '{unknown[0]}' of the hybrid score is unknown; choose among {', '.join(KINDS)}"
            )
        blend = f"blend of {', '.join(names)}, seen items {rule}"
        # the report, the training and the benchmark ask for it
        if network is None and blend in dataset.fitted:
            return dataset.fitted[blend]  # type: ignore[no-any-return]
        parts: dict[str, Part] = {name: fitted(name, dataset) for name in names}
        sources: dict[str, Callable[[Cases], np.ndarray]] = (
            {} if network is None else {NETWORK: partial(_ask, network)}
        )
        sources |= {name: part.probabilities for name, part in parts.items()}
        if not sources:
            raise ValueError("the hybrid score has neither a network nor parts; name at least one part")
        if len(dataset.valid) == 0:
            mix = unguided(list(sources))
        else:
            mix = search(
                pool(
                    sources, sample(dataset.valid, VALIDATION_CASES), rule, doubts(dataset.item_counts), TEXT
                )
            )
        mix = _filled(mix)
        log.info("hybrid weights: %s (%.0f %% to the best source)", named(mix.weights), 100 * mix.shrunk)
        # Lent only now: validation rarely has a cold item to tell what lending is worth, and it would move
        # the weights of the others.
        kept = {name: part.lent(dataset) for name, part in parts.items() if mix.weights[name] > 0}
        trust = mix.trust
        if trust == (0.0, 0.0) and not natural(dataset.item_counts[dataset.valid.targets]):
            asked = {name: source for name, source in sources.items() if mix.weights[name] > 0}
            trust = hidden_trust(dataset, asked, kept, mix.weights, rule, blind)
        made = cls(mix.weights, kept, _few(dataset), trust, mix.shrunk, mix.gained)
        if network is None:
            dataset.fitted[blend] = made
        return made

    def refit(self, dataset: Dataset) -> Hybrid:
        """Fit the same parts on other training data, with the same weights and the parts' own settings chosen
        as before.
        """
        return replace(
            self, parts={name: part.refit(dataset) for name, part in self.parts.items()}, counts=_few(dataset)
        )

    def scores(self, cases: Cases, network: np.ndarray | None) -> np.ndarray:
        """Mix.

        Parameters
        ----------
        cases : Cases
            Targets are not read.
        network : ndarray, shape (cases, items), or None
            Probabilities of the network.

        Returns
        -------
        ndarray float32, shape (cases, items)
            Rows sum to 1 where every source knows something.
        """
        return self.mixer(None if network is None else GivenTable(network)).scores(cases)

    def mixer(self, network: Table | None) -> Mixer:
        """Return the mix at work; sources without weight are not asked.

        Parameters
        ----------
        network : Table, optional
            Probabilities of the network.
        """
        sources = []
        if network is not None and self.weights.get(NETWORK, 0.0) > 0:
            sources.append(Source(NETWORK, self.weights[NETWORK], network))
        sources += [
            Source(name, self.weights[name], part.table)
            for name, part in self.parts.items()
            if self.weights[name] > 0
        ]
        if not sources:
            raise ValueError("the hybrid score has no source with a weight; train the model again")
        first = next(iter(self.parts.values()), None)
        items = len(self.counts) if first is None else first.size
        return Mixer(sources, items, self.cold_mix)

    def without(self, name: str) -> Hybrid:
        """Return the same mix with one source switched off (its weight goes to the others in proportion)."""
        rest = {other: weight for other, weight in self.weights.items() if other != name}
        total = sum(rest.values())
        if total <= 0:
            raise ValueError(f"'{name}' is the only source of the hybrid score; it cannot be switched off")
        weights = {other: weight / total for other, weight in rest.items()}
        return replace(
            self, weights=weights, parts={other: part for other, part in self.parts.items() if other != name}
        )

    def ranker(self, network: Network | None, name: str) -> HybridRanker:
        """Return what the judge reads."""
        return HybridRanker(self, network, name)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what to save: plain settings for JSON, and arrays by name."""
        arrays = {
            f"{name}/{key}": value
            for name, part in self.parts.items()
            for key, value in part.arrays().items()
        }
        about = {
            "weights": self.weights,
            "trust": list(self.trust),
            "shrunk": self.shrunk,
            "gained": self.gained,
        }
        return about, arrays | {"cold/counts": self.counts}

    @classmethod
    def restore(
        cls, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray], catalogue: Catalogue
    ) -> Hybrid:
        """Rebuild a saved mix over a catalogue that may have grown at its end; raises ``ValueError`` for a
        part of another version.
        """
        weights = dict(settings["weights"])
        parts: dict[str, Part] = {}
        for name in (name for name, weight in weights.items() if name != NETWORK and weight > 0):
            if name not in KINDS:
                raise ValueError(
                    f"part '{name}' of the saved hybrid score is unknown to this version; train the model "
                    "again"
                )
            own = {
                key.split("/", 1)[1]: np.asarray(value)
                for key, value in arrays.items()
                if key.startswith(f"{name}/")
            }
            parts[name] = KINDS[name].of(own, catalogue)
        counts = np.asarray(arrays.get("cold/counts", np.zeros(0)), dtype=np.int64)
        if not len(counts):
            return cls(weights, parts)
        text, other = settings["trust"]
        joined = np.pad(counts, (0, len(catalogue) - len(counts)))
        return cls(weights, parts, joined, (text, other), settings["shrunk"], settings["gained"])


@dataclass(frozen=True)
class HybridRanker:
    """A hybrid and its network as the judge reads them."""

    hybrid: Hybrid
    network: Network | None
    name: str

    def scores(self, cases: Cases) -> np.ndarray:
        """Return the mixed probabilities, float32, shape (cases, items)."""
        return self.hybrid.scores(cases, None if self.network is None else _ask(self.network, cases))


def _filled(mix: Mix) -> Mix:
    """Return the mix with a trace of a source that ranks all items, so that what a sparse source does not
    name comes in a sensible order.
    """
    name = next((one for one in ("popular", NETWORK) if one in mix.weights), None)
    if name is None or any(mix.weights.get(one, 0.0) > 0 for one in ("popular", NETWORK)):
        return mix
    return replace(mix, weights=mix.weights | {name: TRACE})


def _few(dataset: Dataset) -> np.ndarray:
    return np.asarray(np.minimum(dataset.item_counts, 5))


def _ask(network: Network, cases: Cases) -> np.ndarray:
    found: np.ndarray
    if isinstance(network, NetworkProbabilities):
        found = network.probabilities(cases.prefixes, cases.long, cases.short)
    else:
        found = network(cases)
    return found


def _rule(dataset: Dataset, config: HybridConfig) -> Seen:
    if config.remove_seen is None:
        return default_seen(dataset)
    return "removed" if config.remove_seen else "kept"
