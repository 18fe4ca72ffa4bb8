"""Dagster's home under HOME/dagster: made, configured, and cleared of runs whose process is gone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from feature_repo.contract.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

TEMPLATE = Path(__file__).resolve().parents[1] / "instance" / "sqlite.yaml"
OWNER_TAG = "intentstore/pid"


def prepare(settings: Settings) -> Path:
    """Make Dagster's home and tell this process and its children of it.

    Parameters
    ----------
    settings : Settings
        ``home``.

    Returns
    -------
    Path
        ``HOME/dagster``, with a ``dagster.yaml``; an edited one is kept.
    """
    home = settings.home / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        temporary = config.with_suffix(f".{os.getpid()}")
        temporary.write_text(TEMPLATE.read_text(encoding="utf-8"), encoding="utf-8")
        temporary.replace(config)
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["INTENTSTORE_HOME"] = str(settings.home)  # whatever Dagster starts works on the same home
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    return home


def close_lost_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs whose process is gone, so that the graph does not show them as running for ever, and their
    pool is free again.

    Dagster's own monitoring does not see this with the default launcher. Runs of `demo` carry the identity of
    its process; those that webserver and daemon launched have told their pid. Both are of this machine: the
    code server, where this is called, starts the processes of its runs.

    Parameters
    ----------
    instance : DagsterInstance
        Of the home.

    Returns
    -------
    list of str
        Ids of the runs that were marked.
    """
    import dagster as dg

    closed = []
    unfinished = [
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.CANCELING,
    ]
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=unfinished)):
        owner = run.tags.get(OWNER_TAG)
        lost = (
            not _worker_lives(instance, run.run_id)
            if owner is None
            else owner != own_identity() and not _alive(owner)
        )
        if lost:
            instance.report_run_failed(
                run, "the process of this run was killed; run it again, finished steps are not repeated"
            )
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            closed.append(run.run_id)
    return closed


def _worker_lives(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Tell whether a launched run's process lives; true while it has not told its pid."""
    import dagster as dg

    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        told = entry.dagster_event.engine_event_data.metadata.get("pid") if entry.dagster_event else None
        if told is not None:
            try:
                # Another process may have got the number since; one of ours was started with this home.
                return (
                    os.environ.get("DAGSTER_HOME", "").encode()
                    in Path(f"/proc/{told.value}/environ").read_bytes()
                )
            except OSError:
                return False
    return True


def own_identity() -> str:
    """Return pid and start time of this process: a later process may get the same pid, never both."""
    return f"{os.getpid()}:{_start_time(os.getpid())}"


def _alive(identity: str) -> bool:
    pid, _, started = identity.partition(":")
    return pid.isdigit() and _start_time(int(pid)) == started


def _start_time(pid: int) -> str:
    try:
        return (
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()[19]
        )
    except (OSError, IndexError):
        return ""
