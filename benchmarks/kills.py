"""Kills every Spark step of the graph at a random moment, re-executes it from failure, and compares all
tables with those of an undisturbed home.

One kill a step: ten of the batch half, five of single days, five of the live half. Each call works for at
most ``--minutes`` and goes on where the last one stopped, so that the machine is not held for long; the
result is written when all kills are done.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _dagster import Served, digests, pids_of, served, write_shop

from _report import write_result
from dagster_project.instance import services as services_guard
from dagster_project.run import steps
from feature_repo.contract import tables as columns
from feature_repo.contract.settings import Settings, load_settings
from spark_jobs.lake.log import DeltaLog

SETTINGS = """
home = "{home}"
assets = "{assets}"
[dataset]
path = "{folder}"
live_share = 0.1
[intents]
source = "encoder"
[spark]
driver_memory = "1g"
java_options = "-XX:TieredStopAtLevel=1"
shuffle_partitions = 2
[kafka]
partitions = 2
[model]
dim = 16
epochs = 2
"""
SESSIONS, DAYS_OF_CLICKS, LATE_FROM = 120, 40, 30
DAYS = [f"2026-01-{day:02d}" for day in range(31, 32)] + [f"2026-02-{day:02d}" for day in range(1, 6)]
MAX_WAIT_SECONDS = 240.0
ROUNDING = 1e-6
VICTIMS = ("dagster_project.run.child", "org.apache.spark.deploy.SparkSubmit")  # the child process, its JVM


def assets_of(family: Sequence[steps.Step]) -> list[str]:
    return [asset for step in family for asset in step.assets]


# The way of both homes: the first days in batch, the rest by single days, all tables up to date, a model, the
# live half.
PHASES: tuple[tuple[str, str, list[str], tuple[steps.Step, ...]], ...] = (
    ("batch", "__ASSET_JOB", assets_of(steps.BATCH), steps.BATCH),
    ("days", "", assets_of(steps.DAILY), steps.DAILY),
    ("up to date", "__ASSET_JOB", assets_of(steps.BATCH), ()),
    ("train", "train", [], ()),
    ("live", "live", [], steps.LIVE),
)


class Home:
    """One home with its shop, walked through the phases; remembers where it is."""

    def __init__(self, folder: Path, assets: Path) -> None:
        self.folder = folder
        self.file = folder / "state.json"
        self.config = folder / "settings.toml"
        self.state: dict[str, Any] = {"phase": 0, "kills": []}
        if self.file.exists():
            self.state = json.loads(self.file.read_text())
        else:
            folder.mkdir(parents=True)
            write_shop(folder / "all", SESSIONS, days=DAYS_OF_CLICKS)
            shutil.copytree(folder / "all", folder / "shop")
            lines = (folder / "all" / "clicks.csv").read_text().splitlines(keepends=True)
            (folder / "shop" / "clicks.csv").write_text(
                "".join(lines[: len(lines) * LATE_FROM // DAYS_OF_CLICKS])
            )
            self.config.write_text(
                SETTINGS.format(home=folder / "home", assets=assets, folder=folder / "shop")
            )
        self.settings: Settings = load_settings(self.config, {}, {})

    def save(self) -> None:
        """Remember the state."""
        self.file.write_text(json.dumps(self.state))

    def start(self, server: Served, phase: int, *, again: bool = False) -> str:
        """Launch the run of a phase; return its id. Again: although nothing has changed."""
        name, job, assets, _ = PHASES[phase]
        if name == "days":
            shutil.copy(self.folder / "all" / "clicks.csv", self.folder / "shop" / "clicks.csv")
            return server.backfill_run(assets, DAYS)[1]
        force = {"ops": {"spark_live" if name == "live" else "spark_batch": {"config": {"force": True}}}}
        return server.launch(job, assets, force if again else None)


# A run that ended well although it was shot at (the kill came after its last step) is started again, so that
# the steps left are shot at too.
def go(home: Home, server: Served, rng: random.Random | None, deadline: float) -> bool:
    """Walk on; with a random generator each step of a phase is killed once. True when all phases are done."""
    while home.state["phase"] < len(PHASES):
        phase = home.state["phase"]
        name, _, _, targets = PHASES[phase]
        run = home.state.get("run") or home.start(server, phase)
        killed = {entry["step"] for entry in home.state["kills"] if entry["phase"] == name}
        left = [step.name for step in targets if step.name not in killed] if rng else []
        for step in left:
            if time.monotonic() > deadline:
                home.state["run"] = run
                home.save()
                return False
            entry = kill_in(server, home, run, step, rng) if rng else None
            status = server.wait(run)
            if entry is None:
                raise RuntimeError(f"step {step} of phase {name} was not seen; run {run} ended with {status}")
            run = server.reexecute(run) if status == "FAILURE" else home.start(server, phase, again=True)
            home.state["kills"].append({"phase": name, **entry, "run_ended": status})
            home.state["run"] = run
            home.save()
            print(f"  {name}: {home.state['kills'][-1]}", flush=True)
        status = server.wait(run)
        if status != "SUCCESS":
            raise RuntimeError(f"phase {name}: {server.failure(run)}")
        print(f"  {name}: done", flush=True)
        home.state = {**home.state, "phase": phase + 1, "run": None}
        home.save()
    return True


def kill_in(server: Served, home: Home, run: str, step: str, rng: random.Random) -> dict[str, Any] | None:
    """Wait until a step has begun, wait a random part of what it took undisturbed, and kill its process or
    the JVM.
    """
    victim, share = rng.choice(VICTIMS), rng.random()
    seen, cursor = "", None
    until = time.monotonic() + MAX_WAIT_SECONDS
    begun = {
        f"{one.name}{tail}" for one in (*steps.BATCH, *steps.LIVE, *steps.DAILY) for tail in (" ", "...")
    }
    while time.monotonic() < until:
        lines, cursor = server.messages(run, cursor)
        for line in lines:
            if line.endswith("...") and any(line.startswith(word) for word in begun):
                seen = line.split()[0]
        if seen == step:
            break
        if server.status(run) in {"SUCCESS", "FAILURE", "CANCELED"}:
            return None
        time.sleep(0.2)
    usual = float(home.state["seconds"].get(step, 2.0))
    time.sleep(share * usual)
    pids = pids_of(home.settings.home, victim) or pids_of(home.settings.home, VICTIMS[0])
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return {"step": step, "victim": victim.split(".")[-1], "after_seconds": round(share * usual, 2)}


def undisturbed_seconds(settings: Settings) -> dict[str, float]:
    """Read from the steps' memory how long each took."""
    found = {}
    for file in (settings.home / "dagster" / "steps").glob("*.json"):
        report = json.loads(file.read_text())["report"]
        name = file.name.split(".20")[0].removesuffix(".json").replace(".", "/", 1)
        found[steps.step_of(name).name] = max(0.3, float(report["seconds"]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where both homes lie between the calls")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--minutes", type=float, default=7.0)
    given = parser.parse_args()
    deadline = time.monotonic() + given.minutes * 60
    assets = load_settings(None, os.environ, {}).assets_dir.absolute()
    calm, rough = Home(given.folder / "calm", assets), Home(given.folder / "rough", assets)
    for home in (calm, rough):
        if home.state["phase"] == len(PHASES):
            continue
        rng = random.Random(f"{given.seed} {len(home.state['kills'])}") if home is rough else None
        home.state["seconds"] = undisturbed_seconds(calm.settings)
        with (
            served(home.settings, home.config, home.folder / "logs") as server,
            services_guard.services(home.settings),
        ):
            for sensor in ("new_files", "automation"):  # their runs would come between
                server.stop_sensor(sensor)
            if not go(home, server, rng, deadline):
                print(f"{len(home.state['kills'])} kills done; call again to go on")
                return
        if time.monotonic() > deadline:
            print("call again to go on")
            return
    compare(calm, rough, given.seed)


def scores_apart(calm: Settings, rough: Settings) -> float:
    """Return the largest difference of a live score: sessions that are scored in one batch or in two differ
    in the last bits of float32.
    """
    logs = [
        DeltaLog(home.table(columns.SCORE_LOG)).read(["event_id", "scores"]).to_pylist()
        for home in (calm, rough)
    ]
    by_click = [{row["event_id"]: row["scores"] for row in log} for log in logs]
    return max(
        (
            abs(one - other)
            for click, scores in by_click[0].items()
            for one, other in zip(scores, by_click[1][click], strict=True)
        ),
        default=0.0,
    )


def compare(calm: Home, rough: Home, seed: int) -> None:
    """Compare the tables and write the result."""
    wanted, found = digests(calm.settings), digests(rough.settings)
    rows = [
        {
            "table": table,
            "undisturbed": wanted[table],
            "killed": found.get(table, "missing"),
            "equal": wanted[table] == found.get(table),
        }
        for table in wanted
    ]
    apart = scores_apart(calm.settings, rough.settings)
    rows.append(
        {
            "table": "score_log, scores",
            "undisturbed": "",
            "killed": f"at most {apart:.1e} apart",
            "equal": apart <= ROUNDING,
        }
    )
    kills = rough.state["kills"]
    write_result(
        "kills",
        rows,
        {"seed": seed, "kills": kills, "number": len(kills), "all_equal": all(row["equal"] for row in rows)},
    )
    print(f"{len(kills)} kills; tables equal: {sum(row['equal'] for row in rows)} of {len(rows)}")


if __name__ == "__main__":
    main()
