"""A 30-day backfill of ML-100K through webserver and daemon on SQLite: killed once, re-executed, run again,
then late data for one day.
"""

from __future__ import annotations

import argparse
import datetime
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from _dagster import (
    DAILY,
    DAILY_TABLES,
    Served,
    add_clicks,
    pids_of,
    rows_of,
    served,
    wait_for,
    write_ml_100k,
)

from _report import write_result
from feature_repo.contract import tables as columns
from feature_repo.contract.settings import Settings, load_settings

FIRST, NUMBER = datetime.date(1997, 9, 20), 30
LATE_DAY = "1997-10-01"
LATE = [
    ["late-visitor", item, f"{LATE_DAY}T12:00:{second:02d}+00:00"]
    for second, item in enumerate(("50", "181", "172"))
]
SETTINGS = """
home = "{home}"
assets = "{assets}"
[dataset]
path = "{folder}"
[intents]
source = "encoder"
[spark]
java_options = "-XX:TieredStopAtLevel=1"
"""


class Log:
    """What the runs' logs say: JVMs started, locked databases."""

    def __init__(self) -> None:
        self.jvms, self.locked = 0, 0

    def read(self, server: Served, run: str) -> list[str]:
        """Take one run's lines in."""
        lines, cursor = [], None
        while True:
            more, cursor = server.messages(run, cursor)
            if not more:
                break
            lines += more
        self.jvms += sum("Spark is up after" in line for line in lines)
        self.locked += sum("database is locked" in line for line in lines)
        return lines


def finish(server: Served, backfill: str, run: str, log: Log) -> dict[str, Any]:
    """Wait for a backfill's run; return what came of it."""
    status = server.wait(run)
    runs = server.runs_of(backfill)
    before = log.jvms
    lines = log.read(server, run)
    return {
        "runs": len(runs),
        "status": status,
        "jvms": log.jvms - before,
        "why": server.failure(run) if status != "SUCCESS" else "",
        "lines": lines,
    }


def changed(before: dict[str, list[str]], after: dict[str, list[str]]) -> dict[str, int]:
    """Count rows that differ between two states of the tables."""
    return {table: len(set(after[table]) ^ set(before[table])) for table in before}


def state(settings: Settings) -> dict[str, list[str]]:
    return {table: rows_of(settings, table) for table in DAILY_TABLES}


def measure(server: Served, settings: Settings, folder: Path) -> tuple[list[dict[str, Any]], Log]:
    """Carry out the four runs."""
    days = [str(FIRST + datetime.timedelta(days=place)) for place in range(NUMBER)]
    log, rows = Log(), []

    def note(what: str, started: float, found: dict[str, Any], **more: Any) -> None:
        rows.append(
            {
                "run": what,
                "seconds": round(time.perf_counter() - started, 1),
                **{key: value for key, value in found.items() if key != "lines"},
                **more,
            }
        )
        print(rows[-1], flush=True)

    # 1 Killed in the middle: its tables are whole, what it did is remembered.
    started = time.perf_counter()
    backfill, run = server.backfill_run(DAILY, days)
    wait_for(
        lambda: True if any(line.startswith("session_text ") for line in server.messages(run)[0]) else None,
        "the step session_text",
        240,
    )
    for pid in pids_of(settings.home, "dagster_project.run.child"):
        os.kill(pid, signal.SIGKILL)
    note("30 days, killed in its third job", started, finish(server, backfill, run, log))
    # 2 The one table that is not daily, which the intents read.
    started = time.perf_counter()
    other = server.launch("__ASSET_JOB", [columns.ITEM_VECTORS])
    note("item_vectors", started, {"runs": 1, "status": server.wait(other), "jvms": 1})
    # 3 Goes on where it stopped.
    started = time.perf_counter()
    again = server.reexecute(run)
    found = finish(server, backfill, again, log)
    note(
        "re-executed from failure",
        started,
        found,
        jobs_unchanged=sum(line.endswith(": unchanged") for line in found["lines"]),
    )
    first = state(settings)
    # 4 Nothing has changed.
    started = time.perf_counter()
    note(
        "the same 30 days again",
        started,
        finish(server, *server.backfill_run(DAILY, days), log),
        rows_changed=sum(changed(first, state(settings)).values()),
    )
    # 5 Late data for one old day.
    add_clicks(folder, LATE)
    started = time.perf_counter()
    result = finish(server, *server.backfill_run(DAILY, [LATE_DAY]), log)
    differing = changed(first, state(settings))
    strangers = [
        row
        for table, after in state(settings).items()
        for row in set(after) ^ set(first[table])
        if "late-visitor" not in row
    ]
    note(
        f"late clicks of {LATE_DAY}",
        started,
        result,
        rows_changed=sum(differing.values()),
        rows_of_others_changed=len(strangers),
    )
    # 6 The whole-table jobs on the same clicks change nothing: days done one range at a time equal a full
    # run.
    started, before = time.perf_counter(), state(settings)
    run = server.launch("__ASSET_JOB", [columns.SESSIONS, columns.SESSION_TEXT, columns.SESSION_FEATURES])
    status = server.wait(run)
    note(
        "the jobs over all days",
        started,
        {"runs": 1, "status": status},
        rows_changed=sum(changed(before, state(settings)).values()),
    )
    return rows, log


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    assets = load_settings(None, os.environ, {}).assets_dir.absolute()
    with tempfile.TemporaryDirectory(prefix="backfill-") as name:
        folder = Path(name)
        config = folder / "settings.toml"
        write_ml_100k(folder / "data", assets)
        config.write_text(SETTINGS.format(home=folder / "home", assets=assets, folder=folder / "data"))
        settings = load_settings(config, {}, {})
        with served(settings, config, folder / "logs") as server:
            server.stop_sensor("new_files")
            rows, log = measure(server, settings, folder / "data")
        locked = log.locked + sum(
            (folder / "logs" / file).read_text(errors="replace").count("database is locked")
            for file in ("web.log", "daemon.log")
        )
        counts = {table: len(found) for table, found in state(settings).items()}
    write_result(
        "backfill",
        rows,
        {"days": NUMBER, "storage": "SQLite", "database_is_locked": locked, "rows_of_tables": counts},
    )


if __name__ == "__main__":
    main()
