"""Variants of a model that are run once, kept, and compared on the same cases."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from feature_repo.contract.files import replacing
from model.config import ModelConfig, make_config
from model.data.splits import Dataset
from model.evaluate.judge import SEEN, Seen, default_seen, evaluate
from model.evaluate.metrics import difference
from model.mix.hybrid import Hybrid
from model.recommender.recommender import Scorer
from model.recommender.train import Trained, fit_hybrid, train
from model.study.answers import Answers, Attach
from model.study.controls import STORED

log = logging.getLogger("intentstore.model.study")


@dataclass(frozen=True)
class Measured:
    """One line of a study: what was run, its ranks on the test cases, and its metrics."""

    section: str
    name: str
    reference: str | None
    ranks: np.ndarray
    body: dict[str, Any]


class Ranking(NamedTuple):
    """What a variant is measured with: a ranker, the dataset with its cases, and facts to note."""

    ranker: Any
    dataset: Dataset
    facts: dict[str, Any]


class Study:
    """Runs variants, remembers each in a file of its own, and compares them on the same cases.

    Parameters
    ----------
    dataset : Dataset
    config : ModelConfig
        The default model; variants change one thing of it.
    out : Path
        A variant whose file is there is not run again, so a killed study goes on.
    stored : str
        Name of the intents that the dataset's cases carry; empty = the encoder's.
    answers : Answers, optional
        Of the LLM whose intents they are; views and groundings are then those of its answers, else those of
        the encoder.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: ModelConfig,
        out: Path,
        stored: str = STORED,
        answers: Answers | None = None,
    ) -> None:
        self.dataset, self.config, self.out, self.stored, self.answers = dataset, config, out, stored, answers
        self.seen: Seen = (
            default_seen(dataset) if config.remove_seen is None else SEEN[not config.remove_seen]
        )
        self.rows: list[Measured] = []
        self.networks: dict[str, Trained] = {}
        (out / "rows").mkdir(parents=True, exist_ok=True)

    def run(
        self,
        section: str,
        name: str,
        make: Callable[[], Ranking],
        reference: str | None = None,
        identity: str = "",
    ) -> None:
        """Measure one variant, or read it back.

        A row that was measured is read back where settings and ``identity`` (of answers, say) are the same.
        """
        place = len(self.rows)
        file = self.out / "rows" / f"{place:03d}.npz"
        parts = [
            section,
            name,
            self.dataset.name,
            len(self.dataset.test),
            self.stored,
            self.config.model_dump(),
            *([identity] if identity else []),
        ]
        key = json.dumps(parts, sort_keys=True, default=str)
        known = _read(file, key)
        if known is None:
            started = time.perf_counter()
            ranker, dataset, facts = make()
            found = evaluate(ranker, dataset.test, lists=False)
            ranks = found.ranking(self.seen).ranks
            other: Seen = "kept" if self.seen == "removed" else "removed"
            body = {
                "metrics": found.metrics(self.seen).to_dict(),
                "metrics_other_rule": found.metrics(other, samples=0).to_dict(),
                "seconds": round(time.perf_counter() - started, 1),
                **facts,
            }
            _write(file, key, ranks, body)
            known = ranks, body
        self.rows.append(Measured(section, name, reference, *known))
        log.info("%s, %s: N@10 %.4f", section, name, known[1]["metrics"]["metrics"]["N@10"]["mean"])

    def trained(self, config: ModelConfig) -> Trained:
        """Return a model of these settings; the network of fusion ``intent`` is that of ``none``, so it is
        trained once for both.
        """
        if config.fusion == "intent" and not config.refit:
            made = replace(self.trained(config.model_copy(update={"fusion": "none"})), config=config)
            return replace(made, hybrid=fit_hybrid(self.dataset, made)) if config.hybrid else made
        key = config.model_dump_json()
        if key not in self.networks:
            log.info("training %s, fusion %s, seed %d", config.backbone, config.fusion, config.seed)
            # only the latest two: networks are large
            self.networks = dict([*self.networks.items()][-1:]) | {key: train(self.dataset, config)}
        return self.networks[key]

    def network(self, **changes: Any) -> Ranking:
        """Train with some settings changed and give the finished model."""
        made = self.trained(make_config({**self.config.model_dump(), **changes}))
        weights = {} if made.hybrid is None else made.hybrid.weights
        return Ranking(
            Scorer.of(made),
            self.dataset,
            {"best_epoch": made.best_epoch, "train_seconds": round(made.seconds, 1), "weights": weights},
        )

    def intents(self, attach: Attach) -> Ranking:
        """Keep the network and give it other intents, by ``attach``; the weights are chosen again on
        validation with these intents.

        The only part beside the network is the intents' retrieval, so that a difference is theirs alone.
        """
        made = self.trained(make_config({**self.config.model_dump(), "fusion": "none"}))
        dataset = attach(self.dataset)
        scorer = made.network_scorer()
        hybrid = Hybrid.fit(
            dataset, scorer, self.config.model_copy(update={"parts": ("intents",)}), seen=self.seen
        )
        notes = list(dataset.notes[len(self.dataset.notes) :])  # how many cases were answered
        return Ranking(
            hybrid.ranker(scorer, "network and intents"),
            dataset,
            {"weights": hybrid.weights, **({"notes": notes} if notes else {})},
        )

    def differences(self) -> list[dict[str, Any]]:
        """Compare each variant with its reference on the same cases."""
        by_name = {(row.section, row.name): row for row in self.rows}
        found = []
        for row in self.rows:
            other = by_name.get((row.section, row.reference or ""))
            if other is not None:
                gap = difference(row.ranks, other.ranks, self.dataset.test.prefixes.session_ids)
                proven = gap["N@10"].proven
                found.append(
                    {
                        "section": row.section,
                        "name": row.name,
                        "reference": other.name,
                        "proven": proven,
                        **gap.to_dict(),
                    }
                )
        return found


def _read(file: Path, key: str) -> tuple[np.ndarray, dict[str, Any]] | None:
    if not file.exists():
        return None
    with np.load(file, allow_pickle=False) as held:
        if str(held["key"]) != key:
            return None
        return held["ranks"], json.loads(str(held["body"]))


def _write(file: Path, key: str, ranks: np.ndarray, body: dict[str, Any]) -> None:
    with replacing(file) as part, part.open("wb") as sink:
        np.savez_compressed(sink, key=np.array(key), ranks=ranks, body=np.array(json.dumps(body)))
