"""`make demo`: services up, every asset through Dagster, then a summary of exactly what this run produced."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any

from dagster_project.demo import report as demo_report
from dagster_project.demo.interrupts import raise_if_interrupted, shielded_children
from dagster_project.instance import home as instance_home
from dagster_project.instance import services as services_guard
from feature_repo.contract.assets import fetch as assets
from feature_repo.contract.endpoints import EndpointError
from feature_repo.contract.settings import Settings
from streaming.commands import EXPECTED_ERRORS

if TYPE_CHECKING:
    import dagster as dg

JOB = "everything"


def run(settings: Settings, *, config: str | None = None, max_clicks: int = 0) -> int:
    """Do all of it and print the summary.

    Parameters
    ----------
    settings : Settings
        Of the whole system.
    config : str, optional
        Settings file, handed on to what is started.
    max_clicks : int
        Replay at most so many held-out clicks; 0 = all.

    Returns
    -------
    int
        0 when every asset was made and no blocking check failed, else 1 after the first reason.
    """
    started = time.perf_counter()
    _log_to_terminal()
    if not _assets(settings):
        return 1
    instance_home.prepare(settings)
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        for lost in instance_home.close_lost_runs(instance):
            _say(f"an earlier run ({lost[:8]}) was killed; going on from where it stopped")
        try:
            with services_guard.services(settings) as up:
                _say(
                    f"Kafka on {up.bootstrap_servers}, online store up; materialising every asset through "
                    "Dagster"
                )
                with shielded_children():
                    result = _materialise(instance, config, max_clicks)
                raise_if_interrupted(result)
        except (*EXPECTED_ERRORS, EndpointError) as error:
            print(f"dagster_project demo: {error}", file=sys.stderr)
            return 1
    return _finish(settings, result, time.perf_counter() - started)


def _finish(settings: Settings, result: dg.ExecuteInProcessResult, seconds: float) -> int:
    summary = demo_report.collect(settings, result, seconds)
    file = demo_report.write_html(settings, summary)
    print(demo_report.to_text(summary, file), flush=True)
    if not result.success:
        for reason in failures(result):
            print(f"dagster_project demo: {reason}", file=sys.stderr)
        return 1
    return 0


def _materialise(
    instance: dg.DagsterInstance, config: str | None, max_clicks: int
) -> dg.ExecuteInProcessResult:
    from dagster_project.definitions import defs
    from dagster_project.resources import SettingsResource

    job = defs.resolve_job_def(JOB)
    return job.execute_in_process(
        instance=instance,
        raise_on_error=False,
        resources={"settings": SettingsResource(config=config)},
        tags={instance_home.OWNER_TAG: instance_home.own_identity()},
        run_config={
            "loggers": {"console": {}},
            "ops": {"spark_live": {"config": {"max_clicks": max_clicks}}},
        },
    )


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    """List why a run failed, one line a step.

    Parameters
    ----------
    result : ExecuteInProcessResult
        Of a run.

    Returns
    -------
    list of str
        Step and first line of its error, the innermost where Dagster wrapped it.
    """
    found = []
    for event in result.all_events:
        if event.event_type_value != "STEP_FAILURE":
            continue
        data: Any = event.step_failure_data
        text = data.user_failure_data.description if data.user_failure_data else None
        error = data.error
        while text is None and error is not None:
            text, error = (None, error.cause) if error.cause else (error.message, None)
        found.append(
            f"{event.step_key}: "
            f"{next((line.strip() for line in (text or 'failed').splitlines() if line.strip()), 'failed')}"
        )
    return found or ["the run failed before any step; see its log with `make ui`"]


def _assets(settings: Settings) -> bool:
    try:
        assets.ensure_all(settings.assets_dir)
    except (assets.AssetError, OSError) as error:
        print(f"dagster_project demo: {error}", file=sys.stderr)
        return False
    return True


def _say(text: str) -> None:
    print(f"         {text}", file=sys.stderr, flush=True)


def _log_to_terminal() -> None:
    logger = logging.getLogger("intentstore")
    logger.setLevel(logging.INFO)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("         %(message)s"))
    logger.addHandler(handler)
    logger.propagate = False
