"""`python -m model study DATASET --out DIR`: the paper's tables and figures on any dataset folder, resumable,
with intervals and controls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from feature_repo.contract import cli
from feature_repo.contract.settings import ASKED_SOURCES, Settings
from model.config import BACKBONES, FUSIONS, base_values, make_config
from model.data.splits import Dataset
from model.study.answers import Answers, Attach
from model.study.benchmark import gap_rule, prepare
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


def run(settings: Settings, given: SimpleNamespace) -> int:
    """Run the study that the verb's options ask for; returns the exit code.

    Parameters
    ----------
    settings : Settings
    given : SimpleNamespace
        Options of the verb `study` of ``model.__main__``.
    """
    config = make_config({**base_values(settings), **dict(_pair(text) for text in given.pairs or ())})
    chosen = _names(given.sections, SECTIONS, "section")
    backbones = _names(given.backbones, BACKBONES, "backbone")
    session = gap_rule(settings, given.gap_minutes)
    dataset, _ = prepare(settings, given.dataset, given.protocol, config, given.intents, session)
    if not len(dataset.test):
        raise ValueError(
            f"dataset '{dataset.name}' has no test case, so there is nothing to compare; test sessions "
            "need two clicks"
        )
    answers = (
        Answers(settings, given.intents, lambda: TextEncoder.load(settings.encoder))
        if given.intents in ASKED_SOURCES  # their answers are texts: asked otherwise, grounded otherwise
        else None
    )
    stored = "" if given.intents in {"encoder", "none"} else given.intents
    study = Study(dataset, config, given.out, stored, answers)
    run_sections(study, chosen, backbones, [int(seed) for seed in given.seeds.split(",")])
    file = write_report(study, given.out)
    text = "\n".join([*(f"note: {note}" for note in dataset.notes), f"written: {file}"])
    cli.show({"notes": list(dataset.notes), "written": str(file)}, text, given.json)
    return cli.DONE


def _names(text: str | None, allowed: Sequence[str], what: str) -> list[str]:
    if text is None:
        return list(allowed)
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
