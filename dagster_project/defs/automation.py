"""What runs by itself: conditions, sensors, observations of the live half, notices of failure. All on by
default.
"""

import os
from typing import Any

import dagster as dg

from dagster_project.defs import catalogue
from dagster_project.defs.new_items import NEW_ITEMS
from dagster_project.instance import home as instance_home
from dagster_project.instance import notify
from dagster_project.resources import SettingsResource
from dagster_project.run import observe
from dagster_project.run.inputs import online_store
from dagster_project.run.steps import BATCH

WEBHOOK = "DAGSTER_WEBHOOK"  # read here only: Dagster's daemon is the entry point
FIRST_HALF = [dg.AssetKey(name) for name in catalogue.assets_of(BATCH)]
ON = dg.DefaultSensorStatus.RUNNING

conditions = dg.AutomationConditionSensorDefinition(
    "automation",
    target=dg.AssetSelection.all(include_sources=False) - dg.AssetSelection.groups("daily"),
    default_status=ON,
    minimum_interval_seconds=30,
    description=(
        "Carries out the automation conditions: tables nightly after what they read passed its checks, "
        "small assets at once."
    ),
)


@dg.sensor(
    name="new_files",
    asset_selection=[*FIRST_HALF, NEW_ITEMS],
    minimum_interval_seconds=30,
    default_status=ON,
    description="Runs the batch half when the dataset folder changes.",
)
def new_files(
    context: dg.SensorEvaluationContext, settings: SettingsResource
) -> dg.SensorResult | dg.SkipReason:
    """Compare the folder with the last look; the first look only remembers."""
    now = observe.files_cursor(settings.load())
    if not now:
        return dg.SkipReason("no dataset folder of one's own is set (dataset.path); ML-100K does not change")
    if now == context.cursor:
        return dg.SkipReason("nothing new in the dataset folder")
    if context.cursor is None:
        return dg.SensorResult(skip_reason="first look at the dataset folder", cursor=now)
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=now)], cursor=now)


@dg.sensor(
    name="live",
    minimum_interval_seconds=60,
    default_status=ON,
    description="Observes topics, consumer and online store; tells of lag and dead letters.",
)
def live(context: dg.SensorEvaluationContext, settings: SettingsResource) -> dg.SensorResult | dg.SkipReason:
    """Report what runs outside Dagster as observations of its assets."""
    loaded = settings.load()
    state = observe.live_state(loaded)
    if state is None:
        return dg.SkipReason(
            "no broker answers; start one with `python -m streaming up`, or set kafka.bootstrap_servers"
        )
    rates, group = observe.rates(state, context.cursor), state.group
    events = [
        _observation(
            ["kafka", "clicks"], {"records": sum(group.ends.values()), **_only(rates, "clicks_per_second")}
        ),
        _observation(
            ["kafka", "recommendations"], {"records": group.answers, **_only(rates, "answers_per_second")}
        ),
        _observation(
            ["kafka", "dead_letters"],
            {"records": group.dead_letters, **_only(rates, "dead_letters_per_second")},
        ),
        _observation(
            ["live", "consumer"],
            {
                "lag": group.lag,
                **_only(rates, "answers_per_second"),
                **observe.latency(loaded),
                "model_version": state.model_version or "none",
            },
        ),
    ]
    store = online_store(loaded)
    if store is not None:
        events.append(_observation(["online_store"], store))
    for text in observe.troubles(state):
        notify.send("live scoring", text, os.environ.get(WEBHOOK))
    return dg.SensorResult(asset_events=events, cursor=state.cursor())


def _observation(key: list[str], facts: dict[str, Any]) -> dg.AssetObservation:
    return dg.AssetObservation(asset_key=dg.AssetKey(key), metadata=facts)


def _only(rates: dict[str, float], name: str) -> dict[str, float]:
    return {name: rates[name]} if name in rates else {}


@dg.sensor(
    name="quality",
    minimum_interval_seconds=300,
    default_status=ON,
    description="Tells when the model that serves is clearly worse than the one before it.",
)
def quality(context: dg.SensorEvaluationContext, settings: SettingsResource) -> dg.SensorResult:
    """Notify once per drop; going back is a person's decision (job `rollback`)."""
    text = observe.quality_dropped(settings.load())
    if text is None:
        return dg.SensorResult(skip_reason="the serving model is as good as the one before it", cursor="")
    if text != context.cursor:
        notify.send("model quality", text, os.environ.get(WEBHOOK))
    return dg.SensorResult(skip_reason=text, cursor=text)


@dg.run_failure_sensor(
    name="failures",
    default_status=ON,
    minimum_interval_seconds=30,
    description="Every failed run becomes one notice: log, and webhook if DAGSTER_WEBHOOK is set.",
)
def failures(context: dg.RunFailureSensorContext) -> None:
    """Name the run, the step and the first line of what went wrong."""
    steps = [event.step_key or "?" for event in context.get_step_failure_events()]
    text = next(
        (line for line in (context.failure_event.message or "").splitlines() if line.strip()), "no message"
    )
    notify.send(
        (
            f"run {context.dagster_run.run_id[:8]} of {context.dagster_run.job_name} failed at "
            f"{', '.join(steps) or 'start'}"
        ),
        text,
        os.environ.get(WEBHOOK),
    )


@dg.sensor(
    name="lost_runs",
    default_status=ON,
    minimum_interval_seconds=30,
    description=(
        "Marks runs whose process was killed as failed, so that they can be re-executed and their pool is "
        "free."
    ),
)
def lost_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Look at the processes of the runs that have not ended."""
    closed = instance_home.close_lost_runs(context.instance)
    return dg.SkipReason(
        f"marked as failed: {', '.join(run[:8] for run in closed)}"
        if closed
        else "every run that has not ended has its process"
    )


SENSORS: list[dg.SensorDefinition] = [conditions, new_files, live, quality, failures, lost_runs]
SCHEDULES: list[dg.ScheduleDefinition] = [
    dg.ScheduleDefinition(
        name="nightly_live_check",
        job_name="live_check",
        cron_schedule="30 4 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        execution_timezone="UTC",
        description=(
            "Brings the day's live clicks and answers back to the lake and compares live with batch features."
        ),
    )
]
