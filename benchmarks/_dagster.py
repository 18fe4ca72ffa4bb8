"""Shared by the Dagster benchmarks: webserver and daemon on a home, asked through GraphQL as the UI asks
them; a small shop; digests of tables.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# This folder has a streaming.py of its own, which must not stand before the package of that name.
sys.path.append(sys.path.pop(0))

from dagster_project.instance import home as instance_home
from dagster_project.run import steps
from feature_repo.contract import processes as bound
from feature_repo.contract import tables as columns
from feature_repo.contract.settings import Settings
from spark_jobs.lake.log import DeltaLog

ROOT = Path(__file__).resolve().parent.parent
END = {"SUCCESS", "FAILURE", "CANCELED"}
POLL_SECONDS = 0.25
WHERE = {"repositoryLocationName": "intentstore", "repositoryName": "__repository__"}
# When a row was written, or by which model: differs from run to run, and says nothing about what the row
# says. `scores`: sessions that are scored in one batch or in two differ in the last bits; kills.py compares
# them within rounding.
VOLATILE = {
    "created",
    "ingest_time",
    "arrival_time",
    "click_time",
    "scored_at",
    "model_version",
    "seconds",
    "scores",
}
# What a day's clicks go through, and the tables they end in.
DAILY = [asset for step in steps.DAILY for asset in step.assets]
DAILY_TABLES = (
    columns.CLICKS,
    columns.SESSIONS,
    columns.SESSION_TEXT,
    columns.SESSION_INTENTS,
    columns.SESSION_FEATURES,
)
TITLES = (
    "Alien",
    "Aliens",
    "Predator",
    "Terminator",
    "Notting Hill",
    "Love Actually",
    "Bridget Jones",
    "Sleepless in Seattle",
    "Toy Story",
    "Shrek",
    "Nemo",
    "Cars",
)


@dataclass
class Served:
    """Webserver and daemon of one home."""

    address: str
    web: subprocess.Popen[bytes]
    daemon: subprocess.Popen[bytes]
    seconds: dict[str, float] = field(default_factory=dict)

    def ask(self, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the data of a GraphQL request."""
        body = json.dumps({"query": query, "variables": dict(variables or {})}).encode()
        request = urllib.request.Request(
            f"{self.address}/graphql", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            found = json.load(answer)
        if found.get("errors"):
            raise RuntimeError(f"GraphQL: {found['errors'][0]['message']}")
        return dict(found["data"])

    def launch(
        self,
        job: str,
        assets: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
        *,
        day: str | None = None,
    ) -> str:
        """Start a run as the button *Materialize* does, for one day where one is chosen; return its id."""
        selector: dict[str, Any] = {**WHERE, "jobName": job}
        if assets:
            selector["assetSelection"] = [{"path": name.split("/")} for name in assets]
        query = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename ... on LaunchRunSuccess { run { runId } }
            ... on PythonError { message } ... on RunConfigValidationInvalid { errors { message } } } }"""  # noqa: E501
        chosen = {"selector": selector, "runConfigData": json.dumps(config or {}), "mode": "default"}
        if day is not None:
            chosen["executionMetadata"] = {"tags": [{"key": "dagster/partition", "value": day}]}
        found = self.ask(query, {"p": chosen})["launchRun"]
        return _run_id(found)

    def reexecute(self, run: str) -> str:
        """Press *Re-execute from failure* on a run; return the new one's id."""
        query = """mutation($p: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $p) { __typename ... on LaunchRunSuccess { run { runId } }
            ... on PythonError { message } } }"""  # noqa: E501
        return _run_id(
            self.ask(query, {"p": {"parentRunId": run, "strategy": "FROM_FAILURE"}})["launchRunReexecution"]
        )

    def backfill(self, assets: Sequence[str], days: Sequence[str]) -> str:
        """Launch a backfill of assets over days; return its id."""
        query = """mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) { __typename ... on LaunchBackfillSuccess { backfillId }
            ... on PythonError { message } } }"""  # noqa: E501
        given = {
            "assetSelection": [{"path": name.split("/")} for name in assets],
            "partitionNames": list(days),
        }
        found = self.ask(query, {"p": given})["launchPartitionBackfill"]
        if "backfillId" not in found:
            raise RuntimeError(f"the backfill was not started: {found}")
        return str(found["backfillId"])

    def runs_of(self, backfill: str) -> list[dict[str, Any]]:
        """List the runs of a backfill."""
        query = (
            "query($f: RunsFilter!) { runsOrError(filter: $f) { ... on Runs { results { runId status "
            "jobName } } } }"
        )
        return list(
            self.ask(query, {"f": {"tags": [{"key": "dagster/backfill", "value": backfill}]}})["runsOrError"][
                "results"
            ]
        )

    def backfill_run(self, assets: Sequence[str], days: Sequence[str]) -> tuple[str, str]:
        """Launch a backfill of days in a row; return its id and the id of its one run."""
        backfill = self.backfill(assets, days)
        first = wait_for(
            lambda: next(iter(self.runs_of(backfill)), None), f"the run of backfill {backfill}", 120
        )
        return backfill, str(first["runId"])

    def stop_sensor(self, name: str) -> None:
        """Switch a sensor off, so that what is measured is not joined by what it starts."""
        query = (
            "query($s: RepositorySelector!) { sensorsOrError(repositorySelector: $s) { ... on Sensors { "
            "results { id name } } } }"
        )
        found = self.ask(query, {"s": WHERE})["sensorsOrError"]["results"]
        sensor = next(one["id"] for one in found if one["name"] == name)
        self.ask("mutation($i: String!) { stopSensor(id: $i) { __typename } }", {"i": sensor})

    def status(self, run: str) -> str:
        """Return the status of a run."""
        return str(
            self.ask("query($i: ID!) { runOrError(runId: $i) { ... on Run { status } } }", {"i": run})[
                "runOrError"
            ]["status"]
        )

    def wait(self, run: str, timeout_seconds: float = 900) -> str:
        """Wait for a run's end; return its status."""
        return wait_for(
            lambda: status if (status := self.status(run)) in END else None, f"run {run}", timeout_seconds
        )

    def messages(self, run: str, after: str | None = None) -> tuple[list[str], str]:
        """Return the lines of a run's log after a cursor, and the new cursor."""
        query = """query($i: ID!, $c: String) { logsForRun(runId: $i, afterCursor: $c, limit: 500) { ... on EventConnection { cursor
            events { ... on MessageEvent { message } } } } }"""  # noqa: E501
        found = self.ask(query, {"i": run, "c": after})["logsForRun"]
        return [event.get("message") or "" for event in found["events"]], str(found["cursor"])

    def failure(self, run: str) -> str:
        """Return why a run failed: the first line of each failed step."""
        query = """query($i: ID!) { logsForRun(runId: $i, limit: 1000) { ... on EventConnection { events { ... on ExecutionStepFailureEvent { stepKey
            failureMetadata { description } error { message } } } } } }"""  # noqa: E501
        events = self.ask(query, {"i": run})["logsForRun"]["events"]
        texts = [
            (event.get("failureMetadata") or {}).get("description")
            or (event.get("error") or {}).get("message")
            or ""
            for event in events
            if event.get("stepKey")
        ]
        return "; ".join(text.strip().splitlines()[0] for text in texts if text.strip())


def _run_id(found: Mapping[str, Any]) -> str:
    if "run" not in found:
        raise RuntimeError(f"the run was not started: {found}")
    return str(found["run"]["runId"])


def wait_for(found: Any, what: str, timeout_seconds: float) -> Any:
    """Ask until the answer is not none; raise after the time-out."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        answer = found()
        if answer is not None:
            return answer
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"{what} did not end within {timeout_seconds:.0f} s")


@contextmanager
def served(settings: Settings, config: Path, logs: Path) -> Iterator[Served]:
    """Run webserver and daemon on a home, as `make ui` does but with logs in files."""
    instance_home.prepare(settings)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(settings.home / "dagster"),
        "DAGSTER_SETTINGS_FILE": str(config),
        "INTENTSTORE_HOME": str(settings.home),
    }
    workspace = ["-w", str(ROOT / "workspace.yaml")]
    started = time.perf_counter()
    web = bound.start(
        [sys.executable, "-m", "dagster_webserver", *workspace, "-h", "127.0.0.1", "-p", str(port)],
        env=environment,
        cwd=ROOT,
        log=logs / "web.log",
    )
    daemon = bound.start(
        [sys.executable, "-m", "dagster._daemon", "run", *workspace],
        env=environment,
        cwd=ROOT,
        log=logs / "daemon.log",
    )
    try:
        here = Served(f"http://127.0.0.1:{port}", web, daemon)
        wait_for(lambda: True if answers(f"{here.address}/server_info") else None, "the webserver", 180)
        here.seconds["loaded"] = time.perf_counter() - started
        yield here
    finally:
        bound.stop(daemon, 10)
        bound.stop(web, 10)


def answers(address: str) -> bool:
    """Tell whether an address answers."""
    try:
        with urllib.request.urlopen(address, timeout=2):
            return True
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def write_shop(
    folder: Path, sessions: int, *, days: int, first: datetime.date = datetime.date(2026, 1, 1)
) -> None:
    """Write a shop in which people stay within one of three kinds of film; some days' worth of sessions of
    five clicks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    start = datetime.datetime.combine(first, datetime.time(), datetime.UTC)
    with (folder / "items.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["item_id", "title"], *([f"i{place}", title] for place, title in enumerate(TITLES))]
        )
    with (folder / "clicks.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["session_id", "item_id", "event_time"])
        for session in range(sessions):
            kind, at = rng.randrange(3), start + datetime.timedelta(days=days * session / sessions)
            for place in range(5):
                writer.writerow(
                    [
                        f"s{session % (sessions // 2)}",
                        f"i{4 * kind + rng.randrange(4)}",
                        (at + datetime.timedelta(seconds=20 * place)).isoformat(),
                    ]
                )


def rows_of(settings: Settings, table: str) -> list[str]:
    """Return a table's rows as sorted text, without what differs from run to run."""
    names = [name for name in columns.SCHEMAS[table].names if name not in VOLATILE]
    return sorted(
        json.dumps(row, sort_keys=True, default=str)
        for row in DeltaLog(settings.table(table)).read(names).to_pylist()
    )


def digests(settings: Settings) -> dict[str, str]:
    """Return rows and hash of each table that there is."""
    found = {}
    for table in columns.SCHEMAS:
        if DeltaLog(settings.table(table)).version() >= 0:
            rows = rows_of(settings, table)
            found[table] = f"{len(rows)} rows {hashlib.sha256(chr(10).join(rows).encode()).hexdigest()[:16]}"
    return found


def pids_of(home: Path, word: str) -> list[int]:
    """Return the living processes of a home whose command line holds a word."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words, variables = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            except OSError:
                continue  # it ended while we looked
            if word.encode() in words and str(home).encode() in words + variables:
                found.append(int(entry.name))
    return found


def write_ml_100k(folder: Path, assets: Path, *, before: int | None = None) -> list[list[str]]:
    """Write ML-100K as a dataset folder (a temporary one); with a time in seconds only the clicks before it.
    Returns the clicks left out.
    """
    from feature_repo.contract.assets.fetch import fetch

    source = fetch("ml-100k", assets)
    folder.mkdir(parents=True, exist_ok=True)
    with (source / "ml-100k.inter").open() as file:
        clicks = sorted(
            (int(float(row[3])), row[0], row[1]) for row in list(csv.reader(file, delimiter="\t"))[1:]
        )
    with (source / "ml-100k.item").open(encoding="utf-8") as file:
        items = [
            [row[0], f"{row[1]} ({row[2]})", row[3]] for row in list(csv.reader(file, delimiter="\t"))[1:]
        ]
    rows = [
        [user, item, datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat()]
        for at, user, item in clicks
    ]
    kept = [row for row, click in zip(rows, clicks, strict=True) if before is None or click[0] < before]
    with (folder / "clicks.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["session_id", "item_id", "event_time"], *kept])
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["item_id", "title", "category"], *items])
    return rows[len(kept) :]


def add_clicks(folder: Path, rows: Sequence[Sequence[str]]) -> None:
    """Append clicks to a dataset folder's file."""
    with (folder / "clicks.csv").open("a", newline="") as file:
        csv.writer(file).writerows(rows)
