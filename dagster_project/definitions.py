"""The Dagster code location: every step of IntentStore in one graph, with its checks, jobs and sensors."""

from __future__ import annotations

import os
import warnings

import dagster as dg

warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

# after the filters: these use beta features on purpose
from dagster_project.defs import automation, batch, jobs, live, new_items, training  # noqa: E402
from dagster_project.resources import SettingsResource  # noqa: E402

defs = dg.Definitions(
    assets=[*batch.ASSETS, *training.ASSETS, *new_items.ASSETS, *live.ASSETS],
    asset_checks=training.CHECKS,
    jobs=jobs.JOBS,
    schedules=automation.SCHEDULES,
    sensors=automation.SENSORS,
    resources={"settings": SettingsResource(config=os.environ.get("DAGSTER_SETTINGS_FILE"))},
    loggers=jobs.LOGGERS,
    # A process for each op would cost two seconds of imports each; what is heavy (Spark, the consumer) has a
    # child of its own anyway.
    executor=dg.in_process_executor,
)
