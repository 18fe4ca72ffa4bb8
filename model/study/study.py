"""`python -m model study DATASET --out DIR`: the paper's tables and figures on any dataset folder, resumable,
with intervals and controls.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from feature_repo.contract.settings import load_settings
from model.config import BACKBONES, FUSIONS, base_values, make_config
from model.data.splits import Dataset
from model.messages import one_line
from model.study.answers import ASKING, Answers, Attach
from model.study.benchmark import gap_rule, prepare
from model.study.case_intents import SOURCES
from model.study.controls import Variant, attached, groundings, sources, views
from model.study.report import write_report
from model.study.variants import Study
from model.text.encoder import TextEncoder

SECTIONS = ("backbones", "paper-losses", "views", "grounding", "sources", "seeds")
PAPER_LOSSES = {
    "alignment and uniformity": (True, True),
    "without alignment": (False, True),
    "without uniformity": (True, False),
    "without either": (False, False),
}


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
