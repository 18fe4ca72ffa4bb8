"""What a person at the graph waits for: import, `make ui`, a run in which nothing changed, one more day; and
what the services take of memory.

``--stage prepare`` makes a home with all days of ML-100K but the newest (minutes); ``--stage measure`` works
on it. Without a stage both are done.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _dagster import DAILY, DAILY_TABLES, ROOT, Served, add_clicks, answers, served, wait_for, write_ml_100k

from _report import write_result
from dagster_project.instance import services as services_guard
from feature_repo.contract import tables as columns
from feature_repo.contract.settings import Settings, load_settings
from spark_jobs.lake.log import DeltaLog

NEWEST_DAY = 893203200  # 1998-04-22 00:00 UTC, the last day with clicks
# Its clicks come a month earlier: the newest sessions are held back for the live half, so a newest day would
# not go through the daily steps.
DAY_OF_CLICKS, DAY = "1998-04-22", "1998-03-22"
CHROMIUM = Path("/usr/bin/chromium")
SETTINGS = """
home = "{home}"
assets = "{assets}"
[dataset]
path = "{folder}"
[spark]
java_options = "-XX:TieredStopAtLevel=1"
"""
LIMITS = {"import s": 4.0, "ui s": 25.0, "no-op s": 60.0, "one day s": 90.0, "memory MB": 900.0}
IMPORTS = 5


def import_seconds() -> list[float]:
    """Time a fresh interpreter that imports the definitions, over several starts after a first one that fills
    the file cache.
    """
    found = []
    for _ in range(IMPORTS + 1):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import dagster_project.definitions"], cwd=ROOT, check=True)
        found.append(time.perf_counter() - started)
    return found[1:]


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """Open Chromium, warm, so that its own start is not counted; none where there is no Chromium."""
    if not CHROMIUM.exists():
        yield None
        return
    from playwright.sync_api import sync_playwright

    flags = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-quic",
        "--no-first-run",
        "--disable-dev-shm-usage",
    ]
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=str(CHROMIUM), args=flags)
        yield opened.new_page(viewport={"width": 1500, "height": 900})
        opened.close()


def user_interface(config: Path) -> dict[str, float]:
    """Start `make ui`'s command; time it until the graph is there, and weigh its processes once they are
    quiet.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address, found = f"http://127.0.0.1:{port}", {}
    with browser() as page:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster_project", "ui", "--port", str(port), "--config", str(config)],
            cwd=ROOT,
        )
        try:
            wait_for(lambda: True if answers(f"{address}/server_info") else None, "the webserver", 180)
            found["webserver s"] = time.perf_counter() - started
            here = Served(address, process, process)
            wait_for(lambda: True if _loaded(here) else None, "the code location", 180)
            found["location s"] = time.perf_counter() - started
            if page is not None:
                page.goto(f"{address}/asset-groups")
                page.get_by_text("Materialize all").first.wait_for(timeout=120_000)
                found["graph s"] = time.perf_counter() - started
            time.sleep(45)  # sensors have ticked
            found |= memory(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)  # SIGINT is ignored where this runs as a background job
            process.wait(60)
    return found


def _loaded(server: Served) -> bool:
    found = server.ask(
        "{ assetNodes { id } workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }"
    )
    return [entry["loadStatus"] for entry in found["workspaceOrError"]["locationEntries"]] == [
        "LOADED"
    ] and len(found["assetNodes"]) > 20


def memory(root: int) -> dict[str, float]:
    """Sum the memory of a process and all below it: resident, and proportional (pages that several share
    count once).
    """
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    own = {root}
    while more := {pid for pid, parent in parents.items() if parent in own} - own:
        own |= more
    found = {"memory MB": 0.0, "resident MB": 0.0, "processes": 0.0}
    for pid in own:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            found["memory MB"] += _kilobytes(text, "Pss") / 1024
            found["resident MB"] += _kilobytes(text, "Rss") / 1024
            found["processes"] += 1
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            print(f"  {_kilobytes(text, 'Pss') / 1024:6.0f} MB  {words[:110]}", flush=True)
    return found


def _kilobytes(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    return int(found.group(1)) if found else 0


def everything(server: Served) -> tuple[float, dict[str, float]]:
    """Press *Materialize all* of the job `everything`; return wall seconds and the seconds of each asset that
    was not unchanged.
    """
    started = time.perf_counter()
    run = server.launch("everything")
    status = server.wait(run, 1800)
    seconds = time.perf_counter() - started
    if status != "SUCCESS":
        raise RuntimeError(f"run {run} ended with {status}: {server.failure(run)}")
    return seconds, spent(server, run)


def one_day(server: Served) -> float:
    """Materialise the daily assets for the one day, as the graph's button does; return wall seconds until
    their run has ended.
    """
    started = time.perf_counter()
    run = server.launch("__ASSET_JOB", DAILY, day=DAY)
    if (status := server.wait(run, 1800)) != "SUCCESS":
        raise RuntimeError(f"run {run} ended with {status}: {server.failure(run)}")
    return time.perf_counter() - started


def rows_there(settings: Settings) -> dict[str, int]:
    """Count the rows of the tables that a day's clicks go into."""
    return {table: DeltaLog(settings.table(table)).snapshot().rows() for table in DAILY_TABLES}


def spent(server: Served, run: str) -> dict[str, float]:
    """Read the seconds of each asset from a run's events."""
    query = """query($i: ID!) { logsForRun(runId: $i, limit: 1000) { ... on EventConnection { events { ... on MaterializationEvent { assetKey { path }
        metadataEntries { label ... on FloatMetadataEntry { floatValue } ... on BoolMetadataEntry { boolValue } } } } } } }"""  # noqa: E501
    found = {}
    for event in server.ask(query, {"i": run})["logsForRun"]["events"]:
        facts = {
            entry["label"]: entry.get("floatValue", entry.get("boolValue"))
            for entry in event.get("metadataEntries") or []
        }
        if (
            event.get("assetKey")
            and facts.get("seconds")
            and not facts.get("unchanged")
            and not facts.get("kept")
        ):
            found["/".join(event["assetKey"]["path"])] = float(facts["seconds"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder",
        type=Path,
        help="where the home lies between the stages; none = a temporary folder, both stages",
    )
    parser.add_argument("--stage", choices=("prepare", "measure", "ui"), help="only this one")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="operate-"))
    assets = load_settings(None, os.environ, {}).assets_dir.absolute()
    config = folder / "settings.toml"
    if not config.exists():
        write_ml_100k(folder / "data", assets, before=NEWEST_DAY)
        config.write_text(SETTINGS.format(home=folder / "home", assets=assets, folder=folder / "data"))
    settings = load_settings(config, {}, {})
    if given.stage in (None, "prepare"):
        # a clean state: no service runs yet
        with services_guard.guarded(settings), served(settings, config, folder / "logs") as server:
            seconds, parts = everything(server)
        (folder / "clean.json").write_text(
            json.dumps({"seconds": round(seconds, 1), "seconds_by_asset": parts})
        )
        print("one click from a clean state", seconds, parts, flush=True)
    if given.stage in (None, "measure", "ui"):
        report(settings, config, folder, assets, only_ui=given.stage == "ui")


def report(settings: Settings, config: Path, folder: Path, assets: Path, *, only_ui: bool) -> None:
    """Measure everything and write the result."""
    imports = import_seconds()
    shown = user_interface(config)
    figures: dict[str, float] = {
        "import s": statistics.median(imports),
        "ui s": shown.get("graph s", shown["location s"]),
        "memory MB": shown["memory MB"],
    }
    print(figures, shown, flush=True)
    if only_ui:
        return
    with services_guard.guarded(settings), served(settings, config, folder / "logs") as server:
        # new_files would start a run of its own for the day that is added below
        for sensor in ("new_files", "automation"):
            server.stop_sensor(sensor)
        for _ in range(3):  # what the live half answered is work for the batch half of the next run
            if not everything(server)[1]:
                break
        figures["no-op s"], _ = everything(server)
        print(figures, flush=True)
        newest = write_ml_100k(folder / "whole", assets, before=NEWEST_DAY)
        add_clicks(
            folder / "data",
            [[user, item, moment.replace(DAY_OF_CLICKS, DAY)] for user, item, moment in newest],
        )
        before = rows_there(settings)
        figures["one day s"] = one_day(server)
        added = {table: rows - before[table] for table, rows in rows_there(settings).items()}
        if added[columns.CLICKS] != len(newest):
            raise RuntimeError(
                f"{len(newest)} clicks of the day were given, {added} rows came: the increment was not "
                "taken in"
            )
    rows = [
        {
            "measured": name,
            "value": round(figures[name], 2),
            "limit": limit,
            "reached": figures[name] <= limit,
        }
        for name, limit in LIMITS.items()
    ]
    clean = json.loads((folder / "clean.json").read_text())
    write_result(
        "operate",
        rows,
        {
            "one_click_from_a_clean_state": clean,
            "imports": imports,
            "ui": shown,
            "clicks_of_the_day": len(newest),
            "rows_added": added,
        },
    )


if __name__ == "__main__":
    main()
