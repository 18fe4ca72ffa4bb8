"""`python -m model benchmark`: a dataset folder in; predictions, metrics and a model folder out. No Spark, no
Kafka.
"""

from __future__ import annotations

import json
import logging
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from feature_repo.contract.settings import SessionSettings, Settings
from model.config import ModelConfig
from model.data.folder import Dataset, Protocol, load_folder
from model.evaluate.judge import Evaluation, Ranker, Seen, evaluate, speed
from model.evaluate.metrics import difference
from model.evaluate.predictions import write_predictions
from model.evaluate.slices import sliced
from model.mix import MOST_TEXT_ITEMS
from model.mix.hybrid import NETWORK, Hybrid
from model.recommender import artifact
from model.recommender.recommender import Scorer
from model.recommender.train import ProgressCall, Trained, train, without_seen
from model.study.baselines import baselines
from model.study.case_intents import Source, with_intents
from model.study.plots import history
from model.study.quality import CANDIDATE, GATE_METRICS, QualityRow, best_baseline, warnings
from model.study.verdict import verdict
from model.text.encoder import TextEncoder
from model.text.vector_cache import encoded

log = logging.getLogger("intentstore.model.benchmark")


@dataclass(frozen=True)
class Outcome:
    """What a benchmark made: the metrics as written, and the trained model."""

    metrics: dict[str, Any]
    trained: Trained


def prepare(
    settings: Settings,
    folder: Path,
    protocol: Protocol | None,
    config: ModelConfig,
    source: Source,
    session: SessionSettings | None = None,
) -> tuple[Dataset, str]:
    """Read a dataset folder, encode its titles and attach intents to its cases.

    Sessions are taken as they are, unless ``session`` gives a gap rule: benchmark data come in sessions
    already. Where more rows are refused than ``dataset.max_refused_share``, it stops.

    Returns
    -------
    dataset : Dataset
    encoder : str
        Name of the text encoder, empty where no text is used.
    """
    now_us = time.time_ns() // 1000
    dataset = load_folder(
        folder,
        session,
        protocol=protocol,
        now_us=now_us,
        max_refused_share=settings.dataset.max_refused_share,
    )
    if not dataset.catalogue.has_text:
        log.info("'%s' has no titles: the model works on behaviour alone", folder)
        return dataset, ""
    if not config.text and config.fusion == "none":
        return dataset, ""
    if len(dataset.catalogue) > MOST_TEXT_ITEMS and config.text is not True and config.fusion != "paper":
        log.warning(
            "'%s' has %d items, and titles of more than %d are not read: encoding them takes hours; the "
            "model works on behaviour alone (--set text=true reads them all the same)",
            folder,
            len(dataset.catalogue),
            MOST_TEXT_ITEMS,
        )
        return dataset, ""

    encoder = TextEncoder.load(settings.encoder)
    dataset = dataset.with_catalogue(encoded(dataset.catalogue, encoder, settings.home / "vectors"))
    return with_intents(dataset, settings, source, encoder), encoder.name


def gap_rule(settings: Settings, minutes: float | None) -> SessionSettings | None:
    """Return the gap rule of a command line: the flag's, else that of ``session.gap_minutes`` where somebody
    set it, else none.

    The rule's own default is the lake's alone: dataset folders mostly come in sessions already.
    """
    chosen = (
        minutes
        if minutes is not None or "gap_minutes" not in settings.session.model_fields_set
        else settings.session.gap_minutes
    )
    return None if chosen is None else settings.session.model_copy(update={"gap_minutes": chosen})


def run(
    settings: Settings,
    folder: Path,
    config: ModelConfig,
    out: Path,
    *,
    protocol: Protocol | None = None,
    source: Source = "encoder",
    session: SessionSettings | None = None,
    baselines: bool = False,
    code_commit: str = "",
    progress: ProgressCall | None = None,
) -> Outcome:
    """Train, evaluate once on test, and write ``predictions.jsonl``, ``metrics.json``, ``curves.png`` and
    ``model/`` to ``out``.

    Parameters
    ----------
    settings : Settings
        For sessions, encoder and intents; ``home`` holds the vector cache.
    folder : Path
        Dataset folder.
    config : ModelConfig
    out : Path
        Made when missing. A run that was killed goes on from ``out/checkpoint``.
    protocol : str, optional
        None = by the folder.
    source : str
        Intents of the cases, as in ``model.study.case_intents``.
    session : SessionSettings, optional
        Gap rule and least length; none = one session an id.
    baselines : bool
        Put every baseline of ``model.rankers`` beside the model in metrics.json, with a warning where one of
        them is above it.
    code_commit : str
        For the manifest.
    progress : callable, optional

    Returns
    -------
    Outcome
    """
    dataset, encoder = prepare(settings, folder, protocol, config, source, session)
    out.mkdir(parents=True, exist_ok=True)
    log.info(
        "%s (%s): %d items, %d training clicks in %d sessions, %d validation and %d test cases",
        dataset.name,
        dataset.protocol,
        len(dataset.catalogue),
        dataset.train.clicks,
        len(dataset.train),
        len(dataset.valid),
        len(dataset.test),
    )
    trained = train(dataset, config, checkpoint_dir=out / "checkpoint", progress=progress)
    rule: Seen = "removed" if without_seen(dataset, config) else "kept"
    scorer = Scorer.of(trained, without_seen=rule == "removed")
    evaluation = evaluate(scorer, dataset.test)
    metrics = _figures(trained, dataset, scorer, evaluation, rule)
    metrics["intents"] = with_and_without(trained, dataset, evaluation, rule)
    if baselines:
        metrics |= _baselines(dataset, config, evaluation, rule)
    history(trained.history).savefig(out / "curves.png", dpi=120)
    write_predictions(out / "predictions.jsonl", evaluation, dataset.catalogue.item_ids, rule)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1, ensure_ascii=False), encoding="utf-8")
    artifact.save(
        trained,
        out / "model",
        metrics=metrics["model"],
        code_commit=code_commit,
        without_seen=scorer.without_seen,
        encoder=encoder,
    )
    return Outcome(metrics, trained)


def with_and_without(trained: Trained, dataset: Dataset, model: Evaluation, rule: Seen) -> dict[str, Any]:
    """Judge the model with its intents switched off on the same cases: metrics, paired difference, and a line
    that says whether it is proven.
    """
    hybrid = trained.hybrid
    if not len(dataset.test) or hybrid is None or "intents" not in hybrid.weights:
        return {"line": "there are no intents to compare with"}
    if not hybrid.weights["intents"]:
        return {"line": "intents: not proven on validation, so no weight; with and without are the same"}
    if len(hybrid.parts) == 1 and not hybrid.weights.get(NETWORK):
        return {"line": "intents are the only source: there is no model without them"}
    without = evaluate(
        Scorer.of(replace(trained, hybrid=hybrid.without("intents")), without_seen=rule == "removed"),
        dataset.test,
        lists=False,
    )
    gaps = difference(
        model.ranking(rule).ranks, without.ranking(rule).ranks, dataset.test.prefixes.session_ids
    )
    lines = [verdict("with intents", "without", metric, gaps[metric]) for metric in GATE_METRICS]
    return {"line": "; ".join(lines), "without": without.to_dict(), "difference": gaps.to_dict()}


def _figures(
    trained: Trained, dataset: Dataset, scorer: Scorer, evaluation: Evaluation, rule: Seen
) -> dict[str, Any]:
    """Return what metrics.json says of the model and of the run; `rule` is the one that is named first."""
    return {
        "dataset": dataset.name,
        "protocol": dataset.protocol,
        "seen_first": rule,
        "predictions": f"seen_{rule}",
        "test_cases": len(dataset.test),
        "model": evaluation.to_dict(),
        "weights": {} if trained.hybrid is None else trained.hybrid.weights,
        "best_epoch": trained.best_epoch,
        "refitted": trained.refitted,
        "train_seconds": round(trained.seconds, 1),
        "peak_memory_mb": _peak_mb(),
        "history": trained.history,
        "notes": list(dataset.notes),
        "refused": dataset.refused,
        "refused_by": dataset.refused_by,
        "own_split": dataset.own_split,
        "config": trained.config.model_dump(),
        "tuning": [asdict(trial) for trial in trained.trials],
        "speed": speed(scorer, dataset.test) if len(dataset.test) else {},
        "slices": sliced(evaluation, dataset.item_counts, rule) if len(dataset.test) else {},
    }


def _baselines(dataset: Dataset, config: ModelConfig, model: Evaluation, rule: Seen) -> dict[str, Any]:
    """Fit and judge every baseline on the same test cases: role to metrics under both rules, and what must be
    said where one of them is above the model.
    """
    fits: dict[str, Callable[[], Ranker]] = {
        baseline.role: partial(baseline.fit, dataset) for baseline in baselines(dataset)
    }
    fits["no-training-blend"] = lambda: Hybrid.fit(dataset, None, config).ranker(None, "no-training blend")
    found = {role: evaluate(fit(), dataset.test, lists=False) for role, fit in fits.items()}
    rows = [
        QualityRow(one.name, role, one.metrics(rule), one.metrics(rule), one.seconds)
        for role, one in (found | {CANDIDATE: model}).items()
    ]
    lines = []
    for metric in GATE_METRICS if len(dataset.test) else ():
        best = found[best_baseline(rows, metric)]
        own, other = (one.ranking(rule).ranks for one in (model, best))
        gap = difference(own, other, dataset.test.prefixes.session_ids)[metric]
        lines.append(verdict("model", f"best baseline, {best.name}", metric, gap))
    return {
        "baselines": {role: one.to_dict() for role, one in found.items()},
        "warnings": list(warnings(rows)),
        "verdicts": lines,
    }


def _peak_mb() -> float:
    """Largest memory of this process so far, MB (Linux counts KB)."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, 1)
