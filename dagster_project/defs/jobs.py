"""Jobs: what a person starts by hand, by name."""

from typing import Any

import dagster as dg
from pydantic import Field

from dagster_project.defs.training import PROMOTED
from dagster_project.instance.console import short_console
from dagster_project.models import new_items, promotion
from dagster_project.resources import SettingsResource
from dagster_project.run import steps

LOGGERS = {"console": short_console}
_DAILY = dg.AssetSelection.groups("daily")
_EVERYTHING = dg.AssetSelection.all(include_sources=False) - _DAILY
_LIVE = dg.AssetSelection.assets(
    *(dg.AssetKey(name.split("/")) for step in steps.LIVE for name in step.assets),
)
_BACK = _LIVE - dg.AssetSelection.assets(
    dg.AssetKey(["live", "replay"]), dg.AssetKey(["live", "recommendations"])
)
_TRAINING = dg.AssetSelection.groups("training")


class RollbackConfig(dg.Config):
    """Settings of a rollback."""

    version: str = Field(
        "", description="Model version to go back to; empty = the one that served before the present one."
    )
    why: str = Field("rollback", description="Kept in the record of promotions.")


@dg.op
def switch_back(context: dg.OpExecutionContext, config: RollbackConfig, settings: SettingsResource) -> None:
    """Let an earlier model serve again."""
    loaded = settings.load()
    try:
        version = config.version or promotion.previous(loaded)
        promotion.promote(loaded, version, config.why)
    except promotion.PromotionError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    context.log.info(f"model {version} serves again")
    try:
        new_items.update(loaded)  # an earlier model knows fewer items
    except new_items.ERRORS as error:
        context.log.warning(f"new items stay as they were: {error}")
    context.log_event(
        dg.AssetMaterialization(
            PROMOTED, metadata={"version": version, "why": config.why}, tags={"dagster/data_version": version}
        )
    )


@dg.job(
    description=(
        "Let the model serve that served before (or a named version). The consumer picks it up without a "
        "restart."
    )
)
def rollback() -> None:
    """Switch `models/promoted` back."""
    switch_back()


JOBS: list[Any] = [
    dg.define_asset_job(
        "everything",
        _EVERYTHING,
        description=(
            "All that `make demo` does: files to live answers and parity. On this page: 'Materialize all'."
        ),
    ),
    dg.define_asset_job(
        "batch",
        _EVERYTHING - _LIVE - _TRAINING,
        description="Files to training set and online store, in one JVM.",
    ),
    dg.define_asset_job("train", _TRAINING, description="Candidate, its gates, promotion, model card."),
    dg.define_asset_job(
        "live",
        _LIVE,
        description="Replay through Kafka, answers, and the comparison of live with batch features.",
    ),
    dg.define_asset_job(
        "live_check",
        _BACK,
        description="Live clicks and answers back to the lake, and the comparison, without a replay.",
    ),
    dg.define_asset_job(
        "days",
        _DAILY,
        description="Single days through the Spark jobs; backfill a range here: one run, one JVM.",
    ),
    rollback,
]
