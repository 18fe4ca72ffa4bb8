"""The child process of a run: several Spark steps in one JVM, each checked and reported as it is done."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_pipes import PipesContext, open_dagster_pipes

from dagster_project.checks import expectations
from dagster_project.lake.days import Days, ranges
from dagster_project.live import replay as live_run
from dagster_project.run import steps
from dagster_project.run.memory import Report, StepMemory
from dagster_project.run.progress import Progress, end_of_log
from feature_repo.contract import processes as bound
from feature_repo.contract.settings import Settings, load_settings
from feature_repo.registry import store
from feature_repo.registry.materialize import materialize
from spark_jobs.lake.errors import newest_log, one_line
from spark_jobs.lake.lake import Lake
from spark_jobs.session import spark_session
from streaming.services import services as broker
from streaming.topics import watch as kafka_watch

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger("intentstore.steps")


@dataclass
class Work:
    """What the parent asked for.

    Parameters
    ----------
    settings : Settings
        Read from the file and environment that the parent had.
    names : list of str
        Names of steps, in order.
    family : str
        ``batch``, ``live`` or ``daily``.
    dates : list of str
        Days, for ``daily``.
    force : bool
        Run steps even if nothing changed.
    options : dict
        For single steps: pace and number of the replay.
    config : str, optional
        The settings file, for processes that a step starts.
    """

    settings: Settings
    names: list[str]
    family: str
    dates: list[str]
    force: bool
    options: dict[str, Any]
    config: str | None = None

    @classmethod
    def from_extras(cls, extras: Mapping[str, Any]) -> Work:
        """Read the parent's request."""
        config = extras.get("config")
        settings = load_settings(Path(config) if config else None, os.environ, extras.get("overrides") or {})
        return cls(
            settings,
            list(extras["steps"]),
            extras["family"],
            list(extras.get("dates") or []),
            bool(extras.get("force")),
            dict(extras.get("options") or {}),
            config,
        )

    def plan(self) -> Iterator[tuple[steps.Step, Days | None]]:
        """Yield (step, days or none) in order; days in a row are one range, and all its steps come before the
        next range.
        """
        family = {"batch": steps.BATCH, "live": steps.LIVE, "daily": steps.DAILY}[self.family]
        chosen = [step for step in family if step.name in self.names]
        for days in (*ranges(self.dates),) or (None,):
            for step in chosen:
                yield step, days


class LazySpark:
    """The one Spark session, started by the first step that really runs; its log is named after the run."""

    def __init__(self, settings: Settings, run: str = "") -> None:
        self._settings, self._run = settings, run
        self._spark: SparkSession | None = None

    def __call__(self) -> SparkSession:
        """Return the session."""
        if self._spark is None:
            started = time.perf_counter()
            self._spark = spark_session(self._settings, f"intentstore dagster {self._run}".rstrip())
            log.info("Spark is up after %.1f s", time.perf_counter() - started)
        return self._spark

    @property
    def started(self) -> SparkSession | None:
        """The session, none before the first step that needs it."""
        return self._spark

    def stop(self) -> None:
        """Stop the JVM if there is one."""
        if self._spark is not None:
            self._spark.stop()


def run_step(step: steps.Step, days: Days | None, work: Work, spark: Callable[[], SparkSession]) -> Report:
    """Run one step.

    Parameters
    ----------
    step : Step
        What to run.
    days : Days, optional
        The days to limit it to.
    work : Work
        Settings and options.
    spark : callable
        Gives the Spark session.

    Returns
    -------
    Report
        What the job gave, as plain data.
    """
    started = time.perf_counter()
    if step.name not in _OWN_STEPS:
        module = importlib.import_module(step.module)
        limits: dict[str, Any] = {"date": days.first, "until": days.last} if days else {}
        result = module.run(Lake(spark(), work.settings), **limits, **dict(step.arguments))
        details = {**result.details, **({"days": str(days)} if days else {})}
        return Report(
            result.table,
            result.rows,
            result.inserted,
            result.updated,
            result.refused,
            result.delta_version,
            result.seconds,
            details,
        )
    details = _OWN_STEPS[step.name](work, spark)
    return Report(
        step.assets[0],
        rows=int(details.pop("rows", 0)),
        seconds=time.perf_counter() - started,
        details=details,
    )


def _feature_definitions(work: Work, spark: Callable[[], SparkSession]) -> dict[str, Any]:
    found = store.apply(work.settings)
    return {
        "feature_views": sorted(view.name for view in found.list_feature_views()),
        "feature_services": sorted(service.name for service in found.list_feature_services()),
        "rows": sum(len(view.features) for view in found.list_feature_views()),
    }


def _online_features(work: Work, spark: Callable[[], SparkSession]) -> dict[str, Any]:
    # from a clean state nothing runs yet; services that run or are set by address are left as they are
    broker.up(work.settings)
    written = materialize(work.settings, spark())
    return {
        "rows": sum(part.rows for part in written),
        "rows_by_view": {part.view: part.rows for part in written},
    }


def _replay(work: Work, spark: Callable[[], SparkSession]) -> dict[str, Any]:
    return live_run.replay_and_answer(work.settings, config=work.config, **work.options.get("replay", {}))


_OWN_STEPS: dict[str, Callable[[Work, Callable[[], SparkSession]], dict[str, Any]]] = {
    "feature_definitions": _feature_definitions,
    "online_features": _online_features,
    "replay": _replay,
}


# One step, in this order; a crash after any of them is repaired by running the step again, because each job
# is idempotent:
#   1 fingerprint of the inputs   2 job (one Delta commit)   3 checks   4 remember   5 report
def carry_out(
    step: steps.Step, days: Days | None, work: Work, memory: StepMemory, spark: Callable[[], SparkSession]
) -> tuple[Report, list[dict[str, Any]]]:
    """Run, check and remember one step.

    Parameters
    ----------
    step, days, work, spark
        As `run_step`.
    memory : StepMemory
        Knows whether anything changed.

    Returns
    -------
    tuple of Report and list of dict
        What the step gave and the outcome of each check.
    """
    known = None if work.force else memory.unchanged(step, days)
    inputs = memory.now(step, days)
    report = known or run_step(step, days, work, spark)
    outcomes = outcomes_of(step, work.settings, report)
    stopped = any(entry["blocking"] and not entry["passed"] for entry in outcomes)
    # calls that failed are made again by the next run
    if known is None and not stopped and not report.details.get("failed"):
        # These two change what they look at themselves (the topic's end, the store's being filled), so theirs
        # is taken afterwards.
        memory.remember(
            step,
            memory.now(step, days) if step.name in {"replay", "online_features"} else inputs,
            report,
            days,
        )
    return report, outcomes


def outcomes_of(step: steps.Step, settings: Settings, report: Report) -> list[dict[str, Any]]:
    """Run the checks of a step's assets and return them as plain data."""
    found = []
    for entry in expectations.of(step.assets):
        outcome = expectations.verify(entry, settings, report.details)
        found.append(
            {
                "asset": entry.asset,
                "name": entry.name,
                "blocking": entry.blocking,
                "passed": outcome.passed,
                "text": outcome.text,
                "facts": outcome.facts,
            }
        )
    return found


def _work_through(pipes: PipesContext, work: Work) -> str | None:
    memory = StepMemory(work.settings, lambda: kafka_watch.topic_ends(work.settings))
    spark = LazySpark(work.settings, pipes.run_id)
    try:
        for step, days in work.plan():
            shown = f"{step.name} {days}" if days else step.name
            log.info("%s ...", shown)
            try:
                with Progress(shown, lambda: spark.started, log.info), memory.alone(step):
                    report, outcomes = carry_out(step, days, work, memory, spark)
            except Exception as error:
                # The child's last resort: whatever a job raises ends as one line in the graph, its trace in
                # the log.
                log.exception("%s failed", shown)
                if spark.started is not None and (said := end_of_log(work.settings.home)):
                    log.warning("Spark's own log (%s) ends with:\n%s", newest_log(work.settings.home), said)
                return f"{shown}: {one_line(error)}"
            log.info(
                "%s: unchanged" if report.skipped else "%s: %d rows in %.1f s",
                shown,
                *(() if report.skipped else (report.rows, report.seconds)),
            )
            pipes.report_custom_message(
                {
                    "step": step.name,
                    "days": str(days) if days else None,
                    "report": vars(report),
                    "outcomes": outcomes,
                }
            )
            bad = [entry for entry in outcomes if entry["blocking"] and not entry["passed"]]
            if bad:
                return f"{shown}: check {bad[0]['asset']}/{bad[0]['name']} failed: {bad[0]['text']}"
        return None
    finally:
        spark.stop()


class _ToPipes(logging.Handler):
    """Sends what the jobs log to the run's log in the graph."""

    def __init__(self, pipes: PipesContext) -> None:
        super().__init__(logging.INFO)
        self._pipes = pipes

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        send = (
            self._pipes.log.error
            if record.levelno >= logging.ERROR
            else self._pipes.log.warning
            if record.levelno >= logging.WARNING
            else self._pipes.log.info
        )
        send(self.format(record))


def main() -> int:
    """Do what the parent asks through Pipes.

    Returns
    -------
    int
        0 all steps done; 1 one failed, after a message that says which and why.
    """
    with open_dagster_pipes() as pipes:
        logger = logging.getLogger("intentstore")
        logger.setLevel(logging.INFO)
        logger.addHandler(_ToPipes(pipes))
        logger.propagate = False
        # libraries that set their own warning filters are not stopped by PYTHONWARNINGS
        logging.captureWarnings(True)
        logging.getLogger("py.warnings").addHandler(logging.NullHandler())
        logging.getLogger("py.warnings").propagate = False
        for noisy in ("py4j", "kafka", "feast"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        failed = _work_through(pipes, Work.from_extras(pipes.extras))
        if failed:
            pipes.report_custom_message({"failed": failed})
        return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--parent"]:
        bound.bind_to_parent(int(sys.argv[2]))
    raise SystemExit(main())
