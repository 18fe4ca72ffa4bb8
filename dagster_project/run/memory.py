"""Remembers what each step read when it last ended well, so that a run in which nothing changed starts no
JVM.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from dagster_project.lake.days import Days, clicks_digest
from dagster_project.run import steps
from dagster_project.run.inputs import files_in, input_files, online_store
from feature_repo.contract.files import only_writer, replace_file
from feature_repo.contract.settings import Settings
from spark_jobs.ingest.held_out import held_out_file
from spark_jobs.lake.log import DeltaLog


@dataclass(frozen=True)
class Report:
    """What one run of a step gave; the plain-JSON twin of `spark_jobs.job.JobResult`.

    Parameters
    ----------
    table : str
        Table or topic that was written or checked.
    rows, inserted, updated, refused, delta_version : int
        As in `JobResult`.
    seconds : float
        Wall time; that of the remembered run when `skipped`.
    details : dict
        Further figures by name.
    skipped : bool
        True when nothing had changed and the step did not run.
    """

    table: str
    rows: int = 0
    inserted: int = 0
    updated: int = 0
    refused: int = 0
    delta_version: int = -1
    seconds: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)
    skipped: bool = False


def plain(value: Any) -> Any:
    """Turn settings into JSON values; a secret is represented by its hash, never by itself.

    Examples
    --------
    >>> plain({"path": Path("a/b")})
    {'path': 'a/b'}
    """
    if isinstance(value, SecretStr):
        return hashlib.sha256(value.get_secret_value().encode()).hexdigest()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def fingerprint(
    settings: Settings, step: steps.Step, days: Days | None, topic_ends: Mapping[str, int] | None
) -> str:
    """Hash everything that a step's outcome rests on.

    Parameters
    ----------
    settings : Settings
        The sections that the step names go in.
    step : Step
        What is read.
    days : Days, optional
        The days that the step is limited to; of the lake, their clicks alone then count.
    topic_ends : mapping, optional
        End offset of each partition of the clicks topic; only steps that read it take it in.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    resting_on = steps.with_upstream(step) if days else [step]
    names = {name for upstream in resting_on for name in upstream.sections}
    sections = {name: plain(getattr(settings, name).model_dump()) for name in sorted(names)}
    code = [upstream.code_version() for upstream in resting_on]
    reads: dict[str, Any] = {
        name: DeltaLog(settings.table(steps.TABLES[name])).version()
        for name in step.reads
        if name in steps.TABLES and not name.startswith("daily/")
    }
    if days and len(resting_on) > 1:
        reads["clicks of the days"] = clicks_digest(settings, days)
    facts: dict[str, Any] = {
        "code": code,
        "settings": sections,
        "tables": reads,
        "arguments": list(step.arguments),
        "days": str(days or ""),
    }
    if "click_files" in step.reads:
        facts["files"] = input_files(settings)
    if "live/recommendations" in step.reads:
        facts["score_log"] = files_in(settings.home / "score_log")
    if "live/recommendations" in step.assets:
        held_out = held_out_file(settings)
        facts["held_out"] = [file for file in files_in(held_out.parent) if file.path == held_out.name]
    if "kafka/clicks" in step.reads:
        facts["topic"] = dict(topic_ends) if topic_ends is not None else None
    if "online_features" in step.assets:
        facts["online_store_filled"] = bool((online_store(settings) or {}).get("keys"))
    if "promoted_model" in step.reads:
        promoted = settings.models_dir / "promoted"
        facts["model"] = (
            os.path.realpath(promoted) if not promoted.is_file() else promoted.read_text(encoding="utf-8")
        )
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class StepMemory:
    """One small JSON file a step under ``HOME/dagster/steps``; losing them costs a rerun, nothing else.

    Parameters
    ----------
    settings : Settings
        Where the files and the tables are.
    topic_ends : callable, optional
        Returns end offsets of the clicks topic; asked only for steps that read it.
    """

    def __init__(
        self, settings: Settings, topic_ends: Callable[[], Mapping[str, int] | None] | None = None
    ) -> None:
        self._settings = settings
        self._topic_ends = topic_ends
        self._folder = settings.home / "dagster" / "steps"

    def alone(self, step: steps.Step) -> AbstractContextManager[None]:
        """Wait until no other process of this home works on the step's table, and keep others out for the
        length of the block.

        The pool `spark` keeps runs of one instance apart; this also keeps apart a `demo` beside `make ui`,
        and a job at the command line.
        """
        return only_writer(self._settings, steps.TABLES.get(step.assets[0], step.name))

    def now(self, step: steps.Step, days: Days | None = None) -> str:
        """Return the fingerprint of a step's inputs as they are."""
        ends = self._topic_ends() if self._topic_ends and "kafka/clicks" in step.reads else None
        return fingerprint(self._settings, step, days, ends)

    def unchanged(self, step: steps.Step, days: Days | None = None) -> Report | None:
        """Return what the step gave last time if it would read the same now and its tables are still there.

        Parameters
        ----------
        step : Step
            The step.
        days : Days, optional
            The days that it is limited to.

        Returns
        -------
        Report or None
            With ``skipped=True``; none when the step has to run.
        """
        file = self._file(step, days)
        if not file.exists():
            return None
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
            same = known["fingerprint"] == self.now(step, days) and self._tables_stand(known["versions"])
            return Report(**{**known["report"], "skipped": True}) if same else None
        except (ValueError, KeyError, TypeError):
            return None  # a file of another version of this code: run the step, which writes it anew

    def remember(self, step: steps.Step, inputs: str, report: Report, days: Days | None = None) -> None:
        """Store a step's end, atomically.

        Parameters
        ----------
        step : Step
            The step that ended well.
        inputs : str
            Its fingerprint taken before it ran, so that what changed meanwhile is seen next time.
        report : Report
            What it gave.
        days : Days, optional
            The days that it was limited to.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        versions = {
            name: DeltaLog(self._settings.table(steps.TABLES[name])).version()
            for name in step.assets
            if name in steps.TABLES
        }
        text = json.dumps({"fingerprint": inputs, "versions": versions, "report": vars(report)}, default=str)
        replace_file(self._file(step, days), text)

    def _file(self, step: steps.Step, days: Days | None) -> Path:
        return self._folder / f"{step.assets[0].replace('/', '.')}{f'.{days}' if days else ''}.json"

    def _tables_stand(self, versions: Mapping[str, int]) -> bool:
        return all(
            DeltaLog(self._settings.table(steps.TABLES[name])).version() >= version
            for name, version in versions.items()
        )
