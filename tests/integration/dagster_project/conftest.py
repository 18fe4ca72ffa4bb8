"""One home on which `python -m dagster_project demo` was interrupted, killed, and then ran to its end, shared
by the tests of this folder.
"""

from __future__ import annotations

import csv
import datetime
import functools
import logging
import os
import pwd
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import dagster_pipes
import pytest

from dagster_project.defs.batch import spark_batch, spark_daily
from dagster_project.defs.live import spark_live
from dagster_project.defs.training import candidate_model
from dagster_project.resources import SettingsResource
from dagster_project.run import child as spark_steps
from feature_repo.contract import processes as bound

ROOT = Path(__file__).resolve().parents[3]
CHROMIUM = Path("/usr/bin/chromium")
# PostgreSQL refuses to run as root, for whom the package's own user runs it.
POSTGRES = any(Path("/usr/lib/postgresql").glob("*/bin/initdb")) and (
    os.getuid() != 0 or any(entry.pw_name == "postgres" for entry in pwd.getpwall())
)


_NEEDS = (("instance/test_ui.py", CHROMIUM.exists()), ("instance/test_postgres.py", POSTGRES))
collect_ignore = [name for name, possible in _NEEDS if not possible]
TITLES = [
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
]
SETTINGS = """
home = "{home}"
assets = "{assets}"
[dataset]
path = "{folder}"
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


@dataclass(frozen=True)
class Demo:
    """What the demo left."""

    home: Path
    folder: Path
    config: Path
    interrupted: tuple[int, str]
    after_interrupt: list[str]
    killed: str
    after_kill: list[str]
    output: str
    errors: str
    code: int


def write_shop(folder: Path, sessions: int = 60) -> None:
    """A shop in which people stay within one of three kinds of film."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    with (folder / "items.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["item_id", "title"], *([f"i{place}", title] for place, title in enumerate(TITLES))]
        )
    with (folder / "clicks.csv").open("w", newline="") as file:
        rows: list[list[str]] = [["session_id", "item_id", "event_time"]]
        for session in range(sessions):
            kind, at = rng.randrange(3), start + datetime.timedelta(minutes=120 * session)
            rows += [
                [
                    f"s{session}",
                    f"i{4 * kind + rng.randrange(4)}",
                    (at + datetime.timedelta(seconds=20 * place)).isoformat(),
                ]
                for place in range(5)
            ]
        csv.writer(file).writerows(rows)


def processes_of(home: Path) -> list[str]:
    """Command lines of living processes that name this home in arguments or environment, this process and its
    parents left out.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in {os.getpid(), os.getppid()}:
            continue
        try:
            words, variables = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        except OSError:
            continue  # it ended while we looked, or is another user's
        if str(home).encode() in words + variables and words:
            found.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return found


def stopped_at(command: list[str], words: str, stop: Callable[[int], None]) -> tuple[str, int, str]:
    """Start a command, stop it when it says some words, and wait until every process that writes to its
    terminal has ended.
    """
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        line = next((line for line in process.stderr if words in line), "")
        stop(process.pid)
        rest = process.stderr.read()
    return line, process.returncode, rest


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, assets_dir: Path) -> Iterator[Demo]:
    base = tmp_path_factory.mktemp("demo")
    home, folder, config = base / "home", base / "shop", base / "settings.toml"
    write_shop(folder)
    config.write_text(SETTINGS.format(home=home, assets=assets_dir, folder=folder), encoding="utf-8")
    command = [sys.executable, "-m", "dagster_project", "demo", "--config", str(config)]
    # what a terminal's Ctrl-C does
    _, code, said = stopped_at(command, "starting Spark", lambda pid: os.killpg(pid, signal.SIGINT))
    after_interrupt = processes_of(home)
    # in the middle of the Spark steps
    killed, _, _ = stopped_at(command, "done   clicks", lambda pid: os.kill(pid, signal.SIGKILL))
    left = [
        line
        for line in processes_of(home)
        if "services_guard" not in line and "kafka" not in line.lower() and "valkey" not in line
    ]
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500, check=False)
    yield Demo(
        home,
        folder,
        config,
        (code, said),
        after_interrupt,
        killed,
        left,
        again.stdout,
        again.stderr,
        again.returncode,
    )
    subprocess.run(
        [sys.executable, "-m", "streaming", "down", "--config", str(config)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        timeout=60,
    )


class Child:
    """The child process of a run, in a thread of this process."""

    pid = 0
    returncode: int | None = None

    def __init__(self, environment):
        os.environ.update(
            {name: value for name, value in environment.items() if name.startswith("DAGSTER_PIPES")}
        )
        dagster_pipes.PipesContext._instance = None  # one a process, usually
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def _work(self):
        logger = logging.getLogger("intentstore")
        before = list(logger.handlers)
        code = 1
        try:
            code = spark_steps.main()
        finally:
            logger.handlers[:] = before  # the child's own sends to a parent that listens no more
            logger.propagate = True
            self.returncode = code

    def poll(self):
        self.thread.join(0.05)
        return self.returncode if not self.thread.is_alive() else None


@pytest.fixture
def graph(monkeypatch, spark, tmp_path, settings, assets_dir):
    """Materialise assets by name; returns success, failure texts, and what was made."""
    monkeypatch.setattr(spark_steps.LazySpark, "__call__", lambda self: spark)
    monkeypatch.setattr(spark_steps.LazySpark, "stop", lambda self: None)
    monkeypatch.setattr(bound, "start", lambda command, env=None, **options: Child(env))
    monkeypatch.setattr(bound, "stop", lambda process, *grace: process.thread.join())
    for name in ("DAGSTER_PIPES_CONTEXT", "DAGSTER_PIPES_MESSAGES"):
        monkeypatch.setenv(name, "")
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "items.csv").write_text("item_id,title\ni0,Alien\ni1,Aliens\ni2,Shrek\n", encoding="utf-8")
    write_clicks(shop)
    config = tmp_path / "settings.toml"

    def run(*assets, more="", day=None, until=None):
        text = (
            f'home = "{settings.home}"\nassets = "{assets_dir}"\n[dataset]\npath = "{shop}"\nlive_share = '
            f"0.0\n{more}"
        )
        config.write_text(text, encoding="utf-8")
        # as a backfill's one run has them
        days = {"dagster/asset_partition_range_start": day, "dagster/asset_partition_range_end": until}
        assets = [dg.AssetKey(name.split("/")) for name in assets]
        given = {"partition_key": day} if until is None else {"tags": days}
        with dg.DagsterInstance.ephemeral() as instance:
            resources = {"settings": SettingsResource(config=str(config))}
            parts = [spark_batch, spark_daily, spark_live, candidate_model]
            result = dg.materialize(
                parts, selection=assets, instance=instance, raise_on_error=False, resources=resources, **given
            )
        failures = [
            event.step_failure_data for event in result.all_events if event.event_type_value == "STEP_FAILURE"
        ]
        texts = [
            found.user_failure_data.description if found.user_failure_data else found.error.message
            for found in failures
        ]
        return (
            result.success,
            " ".join(texts),
            {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()},
        )

    run.shop, run.settings, run.write_clicks = shop, settings, functools.partial(write_clicks, shop)
    return run


def write_clicks(shop, head="session_id,item_id,event_time"):
    # the 1st and the 3rd, not the 2nd
    rows = [
        f"s{number % 6},i{number % 3},2026-01-0{1 + 2 * (number % 2)}T10:{number:02d}:00"
        for number in range(40)
    ]
    (shop / "clicks.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
