"""Runs the child process of a graph step and turns what it reports into Dagster's events as they come."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from dagster_project import code
from dagster_project.lake.days import ranges
from dagster_project.resources import SettingsResource
from dagster_project.run import child as spark_steps
from dagster_project.run import metadata, steps
from dagster_project.run.memory import Report, StepMemory
from feature_repo.contract import processes as bound
from streaming.topics import watch as kafka_watch

POLL_SECONDS = 0.2  # how late an event may reach the graph
SEVERITY = {True: dg.AssetCheckSeverity.ERROR, False: dg.AssetCheckSeverity.WARN}
# Libraries' progress bars and notes about their own experiments say nothing to who waits for a table.
_QUIET = {"PYTHONWARNINGS": "ignore", "TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error"}
Event = dg.MaterializeResult[None] | dg.AssetCheckResult


def key_text(key: dg.AssetKey) -> str:
    """Write an asset key with slashes."""
    return "/".join(key.path)


def run_family(
    context: dg.AssetExecutionContext,
    resource: SettingsResource,
    family: str,
    *,
    dates: Sequence[str] = (),
    force: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Iterator[Event]:
    """Run the selected steps of a family in one child process, or in none when nothing changed.

    Parameters
    ----------
    context : AssetExecutionContext
        Its selection decides the steps.
    resource : SettingsResource
        Settings, handed on to the child.
    family : str
        ``batch``, ``live`` or ``daily``.
    dates : sequence of str
        Days, for ``daily``.
    force : bool
        Run steps even if nothing changed.
    options : mapping, optional
        For single steps of the child.

    Yields
    ------
    MaterializeResult or AssetCheckResult
        As each step ends.

    Raises
    ------
    dagster.Failure
        A step failed, a blocking check failed, or the child died; one line with the remedy. What was reported
        before stands.
    """
    selected = {key_text(key) for key in context.selected_asset_keys} | {
        key_text(check.asset_key) for check in context.selected_asset_check_keys
    }
    every = {"batch": steps.BATCH, "live": steps.LIVE, "daily": steps.DAILY}[family]
    chosen = [step for step in every if selected.intersection(step.assets)]
    settings = resource.load()
    if not force and not dates:
        known = _nothing_changed(resource, chosen)
        if known is not None:
            for step, report in known:
                outcomes = spark_steps.outcomes_of(step, settings, report)
                yield from _events(context, resource, step, report, outcomes)
                _refuse(step, outcomes)
            return
    extras = {
        "steps": [step.name for step in chosen],
        "family": family,
        "config": resource.config,
        "overrides": resource.overrides(),
        "dates": list(dates),
        "force": force,
        "options": dict(options or {}),
    }
    yield from _child(
        context, resource, {step.name: step for step in chosen}, extras, [str(days) for days in ranges(dates)]
    )


def _nothing_changed(
    resource: SettingsResource, chosen: Sequence[steps.Step]
) -> list[tuple[steps.Step, Report]] | None:
    settings = resource.load()
    memory = StepMemory(settings, lambda: kafka_watch.topic_ends(settings))
    known = []
    for step in chosen:
        report = memory.unchanged(step)
        if report is None:
            return None
        known.append((step, report))
    return known


def _child(
    context: dg.AssetExecutionContext,
    resource: SettingsResource,
    by_name: Mapping[str, steps.Step],
    extras: dict[str, Any],
    parts: list[str],
) -> Iterator[Event]:
    reports = _Reports(context, resource, by_name, parts)
    with dg.open_pipes_session(
        context=context,
        context_injector=dg.PipesTempFileContextInjector(),
        message_reader=dg.PipesTempFileMessageReader(),
        extras=extras,
    ) as session:
        command = [sys.executable, "-m", "dagster_project.run.child"]
        process = bound.start(command, env=_environment(session))
        try:
            while True:
                ended = process.poll() is not None
                yield from reports.new(session.get_custom_messages())
                if ended:
                    break
                time.sleep(POLL_SECONDS)
        finally:
            bound.stop(process)
    # The reader drains the file when the session closes, so the last messages are only there now.
    yield from reports.new(session.get_custom_messages())
    if reports.failed or process.returncode:
        text = reports.failed or (
            f"the child process ended with {process.returncode} (killed, or out of memory); run the "
            "step again: tables are at their last whole version"
        )
        remedy = "Correct what the message names, then 'Re-execute from failure'."
        raise dg.Failure(
            description=text, metadata={"remedy": dg.MetadataValue.text(remedy)}, allow_retries=False
        )


def _environment(session: dg.PipesSession) -> dict[str, str]:
    paths = [str(code.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        **session.get_bootstrap_env_vars(),
        **_QUIET,
        "PYTHONPATH": os.pathsep.join(paths),
    }


@dataclass
class _Reports:
    """What the child has reported: events of each step that is whole, and why it failed.

    Parameters
    ----------
    context, resource, by_name
        As `_child`.
    parts : list of str
        Ranges of days that each step reports, in order; empty = one report a step.
    """

    context: dg.AssetExecutionContext
    resource: SettingsResource
    by_name: Mapping[str, steps.Step]
    parts: list[str]
    failed: str | None = None
    _read: int = 0  # the session keeps its messages, so we count those we have dealt with
    _waiting: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def new(self, messages: Sequence[Any]) -> Iterator[Event]:
        """Yield the events of the messages that have come since the last call."""
        for message in messages[self._read :]:
            self._read += 1
            self.failed = message.get("failed") or self.failed
            if "step" not in message:
                continue
            # a step over several ranges of days is whole with the report of the last one
            name = message["step"]
            self._waiting.setdefault(name, []).append(message)
            if not self.parts or message["days"] == self.parts[-1]:
                yield from _message_events(
                    self.context, self.resource, self.by_name[name], self._waiting.pop(name)
                )


def _message_events(
    context: dg.AssetExecutionContext,
    resource: SettingsResource,
    step: steps.Step,
    messages: list[dict[str, Any]],
) -> Iterator[Event]:
    reports = [Report(**message["report"]) for message in messages]
    report = reports[-1]
    if messages[0]["days"]:
        days = {
            str(message["days"]): {"inserted": day.inserted, "updated": day.updated, "refused": day.refused}
            for message, day in zip(messages, reports, strict=True)
        }
        report = Report(
            report.table,
            report.rows,
            inserted=sum(day.inserted for day in reports),
            updated=sum(day.updated for day in reports),
            refused=sum(day.refused for day in reports),
            delta_version=report.delta_version,
            seconds=sum(day.seconds for day in reports),
            details={**report.details, "days": days},
            skipped=all(day.skipped for day in reports),
        )
    yield from _events(context, resource, step, report, _worst([message["outcomes"] for message in messages]))


def _worst(parts: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return each check's outcome over several ranges of days: the first that failed, else the last."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for outcomes in parts:
        for entry in outcomes:
            known = found.get((entry["asset"], entry["name"]))
            if known is None or known["passed"]:
                found[entry["asset"], entry["name"]] = entry
    return list(found.values())


def _events(
    context: dg.AssetExecutionContext,
    resource: SettingsResource,
    step: steps.Step,
    report: Report,
    outcomes: Sequence[Mapping[str, Any]],
) -> Iterator[Event]:
    settings = resource.load()
    selected = {key_text(key) for key in context.selected_asset_keys}
    checks = {(key_text(check.asset_key), check.name) for check in context.selected_asset_check_keys}
    for asset in step.assets:
        if asset in selected:
            yield dg.MaterializeResult(
                asset_key=dg.AssetKey(asset.split("/")),
                metadata=metadata.run_metadata(asset, settings, report),
                data_version=metadata.data_version(asset, settings, report),
            )
    for entry in outcomes:
        if (entry["asset"], entry["name"]) in checks:
            yield dg.AssetCheckResult(
                asset_key=dg.AssetKey(str(entry["asset"]).split("/")),
                check_name=entry["name"],
                passed=entry["passed"],
                severity=SEVERITY[bool(entry["blocking"])],
                description=entry["text"],
                metadata={name: metadata.figure(value) for name, value in entry["facts"].items()},
            )


def _refuse(step: steps.Step, outcomes: Sequence[Mapping[str, Any]]) -> None:
    for entry in outcomes:
        if entry["blocking"] and not entry["passed"]:
            raise dg.Failure(
                description=f"{step.name}: check {entry['asset']}/{entry['name']} failed: {entry['text']}",
                allow_retries=False,
            )
