"""Training, its gates, promotion and the model card as assets."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from dagster_project.checks.tables import Outcome
from dagster_project.defs import catalogue
from dagster_project.models import candidates, gates, plots, promotion
from dagster_project.models import card as model_card
from dagster_project.models import train as training_run
from dagster_project.models.config import ModelSettings, merged
from dagster_project.resources import SettingsResource
from dagster_project.run import metadata
from feature_repo.contract.lazy import lazy
from model.config import base_values
from model.study.plots import history

if TYPE_CHECKING:
    from model.recommender import artifact, new_items, recommender
else:
    artifact = lazy("model.recommender.artifact")
    new_items = lazy("model.recommender.new_items")
    recommender = lazy("model.recommender.recommender")

CANDIDATE = dg.AssetKey("candidate_model")
PROMOTED = dg.AssetKey("promoted_model")
MIN_GROWTH = 0.10  # a model of 10 % fewer cases is as good within its intervals; training costs minutes
_CODE = training_run.code_version()
_NIGHTLY = (
    dg.AutomationCondition.on_cron("0 3 * * *") & dg.AutomationCondition.all_deps_blocking_checks_passed()
)
_AFTER = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()
_FRESH: dict[str, Any] = {"freshness_policy": catalogue.MODEL_FRESHNESS}


class TrainingConfig(dg.Config):
    """Settings of a training; `model` mirrors `model.config.ModelConfig`."""

    model: ModelSettings = Field(
        default_factory=ModelSettings, description="Its settings; empty = as in the file."
    )  # type: ignore[valid-type]
    force: bool = Field(
        False, description="Train even if code, settings and data are those of the latest candidate."
    )
    min_growth: float = Field(
        MIN_GROWTH,
        ge=0,
        description="Share of new cases from which on the latest candidate is not kept but trained anew.",
    )


@dg.asset(
    key=CANDIDATE,
    group_name="training",
    kinds={"pytorch"},
    owners=list(catalogue.OWNERS),
    code_version=_CODE,
    pool="training",
    deps=[dg.AssetKey(name) for name in training_run.READS],
    automation_condition=_NIGHTLY,
    **_FRESH,
)
def candidate_model(
    context: dg.AssetExecutionContext, config: TrainingConfig, settings: SettingsResource
) -> dg.MaterializeResult[None]:
    """Train backbone and intents on pinned table versions, measure them against popularity, Markov, V-SKNN
    and shuffled intents, save the model.

    When code, settings and data are those of the latest candidate (or fewer than `min_growth` of the cases
    are new), that one is kept.
    """
    loaded = settings.load()
    chosen = merged(base_values(loaded), config.model)
    found = None if config.force else training_run.reusable(loaded, chosen, config.min_growth)
    if found is not None:
        context.log.info(f"kept model {found.version}: same code and settings, {found.growth:.1%} new cases")
    made = found or training_run.train_candidate(loaded, chosen, progress=context.log.info)
    own = made.metric(gates.CANDIDATE, gates.METRIC) or made.metric("backbone", gates.METRIC) or {"mean": 0.0}
    shown: dict[str, Any] = {
        "version": made.version,
        "seconds": round(made.seconds, 1),
        "kept": made.reused,
        "cases": made.cases,
        "new_cases_share": made.growth,
        "delta_versions": made.delta_versions,
        gates.METRIC: own["mean"],
        "folder": str(loaded.models_dir / made.version),
        "settings": chosen.model_dump(mode="json"),
    }
    return dg.MaterializeResult(
        metadata={name: metadata.figure(value) for name, value in shown.items()} | _pictures(made),
        data_version=dg.DataVersion(made.version),
    )


def _pictures(made: training_run.Candidate) -> dict[str, dg.MetadataValue[Any]]:
    found: dict[str, dg.MetadataValue[Any]] = {
        "quality": dg.MetadataValue.md(model_card.quality_markdown(made.report))
    }
    if made.report.get("rows"):
        found["quality_plot"] = metadata.picture(
            plots.quality(made.report["rows"]), "quality with 95 % intervals"
        )
    if made.report.get("history"):
        found["training_curve"] = metadata.picture(history(made.report["history"]), "training curve")
    slices: Mapping[str, Any] = made.report.get("slices") or {}
    for name, chosen in (("long_tail", True), ("kinds_of_case", False)):
        part = {text: values for text, values in slices.items() if text.startswith("target") == chosen}
        if part:
            found[name] = metadata.picture(plots.slices(part), f"{name}: quality by kind of case")
    if (made.report.get("calibration") or {}).get("bins"):
        found["calibration"] = metadata.picture(
            plots.calibration(made.report["calibration"]), "scores against share of hits"
        )
    return found


@dg.asset(
    key="model_quality",
    group_name="training",
    kinds={"python"},
    owners=list(catalogue.OWNERS),
    deps=[CANDIDATE],
    automation_condition=_AFTER,
    **_FRESH,
)
def model_quality(settings: SettingsResource) -> dg.MaterializeResult[None]:
    """Every model version on disk side by side: what it was made of and what it reached."""
    found = candidates.listed(settings.load())
    drawn = candidates.rows_to_draw(found)
    pictures = (
        {"side_by_side": metadata.picture(plots.quality(drawn), "candidates side by side")} if drawn else {}
    )
    return dg.MaterializeResult(
        metadata={
            "candidates": dg.MetadataValue.md(candidates.markdown(found)),
            "dagster/row_count": len(found),
            **pictures,
        }
    )


@dg.asset(
    key=PROMOTED,
    group_name="training",
    kinds={"pytorch"},
    owners=list(catalogue.OWNERS),
    deps=[CANDIDATE],
    automation_condition=_AFTER,
    **_FRESH,
)
def promoted_model(
    context: dg.AssetExecutionContext, settings: SettingsResource
) -> dg.MaterializeResult[None]:
    """Switch `models/promoted` to the candidate that passed its checks; the consumer picks it up without a
    restart. Back with the job `rollback`.
    """
    loaded = settings.load()
    made = training_run.latest(loaded)
    if made is None:
        raise dg.Failure(
            "there is no candidate to promote; materialise `candidate_model` first", allow_retries=False
        )
    changed = promotion.promote(loaded, made.version, f"run {context.run_id}")
    context.log.info(f"model {made.version} {'serves now' if changed else 'served already'}")
    return dg.MaterializeResult(
        metadata={"version": made.version, "changed": changed, "history": promotion.history(loaded)[-10:]},
        data_version=dg.DataVersion(made.version),
    )


@dg.asset(
    key="model_card",
    group_name="training",
    kinds={"markdown"},
    owners=list(catalogue.OWNERS),
    deps=[PROMOTED],
    automation_condition=_AFTER,
    **_FRESH,
)
def card(settings: SettingsResource) -> dg.MaterializeResult[None]:
    """The card of the latest candidate: data, settings, quality, limits; also as `card.md` beside the
    model.
    """
    loaded = settings.load()
    made = training_run.latest(loaded)
    if made is None:
        raise dg.Failure(
            "there is no model to describe; materialise `candidate_model` first", allow_retries=False
        )
    text = model_card.write(made, training_run.manifest(loaded, made.version))
    (loaded.models_dir / made.version / "card.md").write_text(text, encoding="utf-8")
    return dg.MaterializeResult(
        metadata={"card": dg.MetadataValue.md(text), "version": made.version},
        data_version=dg.DataVersion(made.version),
    )


def _result(
    outcome: Outcome, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=outcome.passed,
        severity=severity,
        description=outcome.text,
        metadata={name: metadata.figure(value) for name, value in outcome.facts.items()},
    )


def _judged(settings: SettingsResource) -> training_run.Candidate:
    made = training_run.latest(settings.load())
    if made is None:
        raise dg.Failure(
            "there is no candidate to judge; materialise `candidate_model` first", allow_retries=False
        )
    return made


def _gate_check(gate: gates.Gate) -> dg.AssetChecksDefinition:
    @dg.asset_check(name=gate.name, asset=CANDIDATE, description=gate.text, blocking=True)
    def judge(settings: SettingsResource) -> dg.AssetCheckResult:
        return _result(gates.judge(gate, _judged(settings)))

    return judge


@dg.asset_check(
    asset=CANDIDATE,
    blocking=True,
    description="The candidate is not worse than the model that serves now, by its interval.",
)
def not_worse_than_promoted(settings: SettingsResource) -> dg.AssetCheckResult:
    """Compare with the model that served when the candidate was made, measured on the same cases."""
    made = _judged(settings)
    return _result(
        gates.compare(made, made.metric("promoted", gates.METRIC), "the model that serves, on the same cases")
    )


@dg.asset_check(
    asset=CANDIDATE, blocking=True, description="No baseline is proven better than the candidate."
)
def not_below_best_baseline(settings: SettingsResource) -> dg.AssetCheckResult:
    """Refuse a candidate below the best baseline, beyond chance."""
    return _result(gates.not_below_best_baseline(_judged(settings)))


@dg.asset_check(asset=CANDIDATE, description="No baseline has a higher mean than the candidate.")
def best_of_all(settings: SettingsResource) -> dg.AssetCheckResult:
    """Warn of each metric on which a baseline is ahead."""
    return _result(gates.best_of_all(_judged(settings)), dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset=PROMOTED, description="The promoted folder can be loaded and ranks items.")
def loads_and_ranks(settings: SettingsResource) -> dg.AssetCheckResult:
    """Load the promoted model as the consumer does and score one session."""
    loaded = settings.load()
    folder = artifact.promoted_dir(loaded.models_dir)
    if folder is None:
        return _result(Outcome(False, "no model is promoted; materialise `promoted_model`"))
    scorer = new_items.load(folder)
    found = scorer.score([recommender.ScoreRequest(items=list(scorer.item_ids[:1]))], 5)[0]
    return _result(
        Outcome(
            len(found.items) > 0,
            f"{len(found.items)} items for a session of one click",
            {"items": list(found.items)},
        )
    )


ASSETS = [candidate_model, model_quality, promoted_model, card]
CHECKS = [
    *map(_gate_check, gates.GATES),
    not_worse_than_promoted,
    not_below_best_baseline,
    best_of_all,
    loads_and_ranks,
]
