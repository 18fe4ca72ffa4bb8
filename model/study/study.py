"""`python -m model study DATASET --out DIR`: the paper's tables and figures on any dataset folder, resumable,
with intervals and controls.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from feature_repo.contract.files import replacing
from feature_repo.contract.settings import load_settings
from model.config import BACKBONES, FUSIONS, ModelConfig, base_values, make_config
from model.data.splits import Dataset
from model.evaluate.judge import SEEN, Seen, default_seen, evaluate
from model.evaluate.metrics import difference
from model.messages import one_line
from model.mix.hybrid import Hybrid
from model.recommender.train import Trained, fit_hybrid, train
from model.study.answers import ASKING, Answers, Attach
from model.study.case_intents import SOURCES
from model.study.controls import STORED, Variant, attached, groundings, sources, views
from model.study.report import write_report

SECTIONS = ("backbones", "paper-losses", "views", "grounding", "sources", "seeds")
PAPER_LOSSES = {
    "alignment and uniformity": (True, True),
    "without alignment": (False, True),
    "without uniformity": (True, False),
    "without either": (False, False),
}
_log = logging.getLogger("intentstore.model.study")


@dataclass(frozen=True)
class Measured:
    """One line of a study: what was run, its ranks on the test cases, and its metrics."""

    section: str
    name: str
    reference: str | None
    ranks: np.ndarray
    body: dict[str, Any]


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
        make: Callable[[], tuple[Any, Dataset, dict[str, Any]]],
        reference: str | None = None,
        identity: str = "",
    ) -> None:
        """Measure one variant, or read it back; ``make`` gives the ranker, the dataset with its cases, and
        facts to note.

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
        _log.info("%s, %s: N@10 %.4f", section, name, known[1]["metrics"]["metrics"]["N@10"]["mean"])

    def trained(self, config: ModelConfig) -> Trained:
        """Return a model of these settings; the network of fusion ``intent`` is that of ``none``, so it is
        trained once for both.
        """
        if config.fusion == "intent" and not config.refit:
            made = replace(self.trained(config.model_copy(update={"fusion": "none"})), config=config)
            return replace(made, hybrid=fit_hybrid(self.dataset, made)) if config.hybrid else made
        key = config.model_dump_json()
        if key not in self.networks:
            _log.info("training %s, fusion %s, seed %d", config.backbone, config.fusion, config.seed)
            # only the latest two: networks are large
            self.networks = dict([*self.networks.items()][-1:]) | {key: train(self.dataset, config)}
        return self.networks[key]

    def network(self, **changes: Any) -> tuple[Any, Dataset, dict[str, Any]]:
        """Train with some settings changed and give the finished model."""
        from model.recommender.recommender import Scorer

        made = self.trained(make_config({**self.config.model_dump(), **changes}))
        weights = {} if made.hybrid is None else made.hybrid.weights
        return (
            Scorer.of(made),
            self.dataset,
            {"best_epoch": made.best_epoch, "train_seconds": round(made.seconds, 1), "weights": weights},
        )

    def intents(self, attach: Attach) -> tuple[Any, Dataset, dict[str, Any]]:
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
        return (
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


def run_sections(study: Study, chosen: Sequence[str], backbones: Sequence[str], seeds: Sequence[int]) -> None:
    """Run the chosen sections in the order of ``SECTIONS``; those about texts are passed over where there are
    none.
    """
    texts = study.dataset.catalogue.vectors is not None
    if "backbones" in chosen:
        for backbone in backbones:
            for fusion in FUSIONS if texts else ("none", "intent"):
                reference = None if fusion == "none" else f"{backbone}, none"
                study.run(
                    "backbones",
                    f"{backbone}, {fusion}",
                    _later(study.network, backbone=backbone, fusion=fusion),
                    reference,
                )
    if "paper-losses" in chosen and texts:
        for name, (align, uniform) in PAPER_LOSSES.items():
            reference = None if align and uniform else next(iter(PAPER_LOSSES))
            study.run(
                "paper-losses",
                name,
                _later(study.network, backbone="srgnn", fusion="paper", align=align, uniform=uniform),
                reference,
            )
    if texts:
        for section, reference in (("views", "both views"), ("grounding", "r = 0"), ("sources", "none")):
            if section in chosen:
                attaches, identity = _attaches(study, section)
                for name, attach in attaches.items():
                    study.run(
                        section,
                        name,
                        _later(study.intents, attach),
                        None if name == reference else reference,
                        identity,
                    )
    if "seeds" in chosen:
        for seed in seeds:
            study.run("seeds", f"seed {seed}", _later(study.network, seed=seed), None)


def _attaches(study: Study, section: str) -> tuple[dict[str, Attach], str]:
    """Return what gives the cases of a section their intents, by name, and the identity of the answers among
    them, empty where there are none.
    """
    if study.answers is not None and section != "sources":
        return (
            study.answers.views() if section == "views" else study.answers.groundings(),
            study.answers.identity(),
        )
    half_life = study.config.recency_half_life
    tables: dict[str, Callable[[Dataset], dict[str, Variant]]] = {
        "views": partial(views, half_life=half_life),
        "grounding": partial(groundings, half_life=half_life),
        "sources": partial(sources, stored=study.stored, half_life=half_life),
    }
    return {
        name: partial(attached, variant=variant) for name, variant in tables[section](study.dataset).items()
    }, ""


def _later(call: Callable[..., Any], *arguments: Any, **settings: Any) -> Callable[[], Any]:
    return lambda: call(*arguments, **settings)


def parser() -> argparse.ArgumentParser:
    """Make the command line's parser."""
    made = argparse.ArgumentParser(
        prog="python -m model study",
        description="The paper's tables and figures on a dataset folder; a killed study goes on.",
    )
    made.add_argument("dataset", type=Path, help="dataset folder")
    made.add_argument("--out", type=Path, required=True, help="folder for study.md, study.json and the plots")
    made.add_argument("--protocol", choices=("leave-one-out", "next-item"))
    made.add_argument(
        "--sections", default=",".join(SECTIONS), help=f"comma-separated, of {', '.join(SECTIONS)}"
    )
    made.add_argument("--backbones", default=",".join(BACKBONES), help="comma-separated")
    made.add_argument("--seeds", default="1,2,3", help="comma-separated")
    made.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any key of model.config.ModelConfig for all variants; lists as JSON",
    )
    whose = (
        "whose intents the cases carry; compared with every control in section sources; of llm and "
        "endpoint also views, a neutral prompt and r"
    )
    made.add_argument("--intents", choices=SOURCES, default="encoder", help=whose)
    made.add_argument(
        "--gap-minutes",
        type=float,
        help="a longer pause starts a new session; default: session.gap_minutes where it is set",
    )
    made.add_argument("--config", type=Path, help="settings file")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    from model.study.benchmark import gap_rule, prepare
    from model.text.encoder import TextEncoder

    arguments = parser().parse_args(argv)
    try:
        settings = load_settings(arguments.config, os.environ)
        config = make_config({**base_values(settings), **dict(_pair(text) for text in arguments.set)})
        chosen, backbones = (
            _names(arguments.sections, SECTIONS, "section"),
            _names(arguments.backbones, BACKBONES, "backbone"),
        )
        session = gap_rule(settings, arguments.gap_minutes)
        dataset, _ = prepare(
            settings, arguments.dataset, arguments.protocol, config, arguments.intents, session
        )
        if not len(dataset.test):
            raise ValueError(
                f"dataset '{dataset.name}' has no test case, so there is nothing to compare; test sessions "
                "need two clicks"
            )
        answers = (
            Answers(settings, arguments.intents, lambda: TextEncoder.load(settings.encoder))
            if arguments.intents in ASKING
            else None
        )
        study = Study(
            dataset,
            config,
            arguments.out,
            "" if arguments.intents in {"encoder", "none"} else arguments.intents,
            answers,
        )
        run_sections(study, chosen, backbones, [int(seed) for seed in arguments.seeds.split(",")])
        file = write_report(study, arguments.out)
    except Exception as error:  # noqa: BLE001 - the last resort of an entry point: one line
        print(f"python -m model study: {one_line(error)}", file=sys.stderr)
        return 2
    for note in dataset.notes:
        print(f"note: {note}")
    print(f"written: {file}")
    return 0


def _names(text: str, allowed: Sequence[str], what: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in allowed:
            raise ValueError(f"{what} '{name}' is unknown; choose among {', '.join(allowed)}")
    return names


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign:
        raise ValueError(f"--set {text}: expected KEY=VALUE, such as --set epochs=5")
    return key, value
