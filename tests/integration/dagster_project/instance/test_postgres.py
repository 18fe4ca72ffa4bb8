"""The instance for a team on a real PostgreSQL; collected only where its programs are installed (see
conftest).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import dagster as dg
import pytest
import yaml

from dagster_project.instance import home as instance_home
from streaming.services.processes import free_port

TEMPLATE = instance_home.TEMPLATE.with_name("postgres.yaml")
SUPERUSER = "postgres" if os.getuid() == 0 else None  # PostgreSQL refuses to run as root


@pytest.fixture(scope="module")
def database():
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # pytest's own folders are closed to other users
    programs = postgres_programs()
    port = free_port()
    if SUPERUSER:
        shutil.chown(folder, SUPERUSER)
    data = folder / "data"
    run = {
        "user": SUPERUSER,
        "check": True,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "cwd": folder,
        "timeout": 120,
    }
    subprocess.run([programs / "initdb", "-D", data, "-A", "trust", "-U", "dagster", "--no-sync"], **run)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    subprocess.run(
        [programs / "pg_ctl", "-D", data, "-l", folder / "log", "-o", options, "-w", "start"], **run
    )
    subprocess.run(
        [programs / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "dagster", "dagster"], **run
    )
    yield {"HOST": "127.0.0.1", "PORT": str(port), "USER": "dagster", "PASSWORD": "any", "DB": "dagster"}
    subprocess.run([programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **run)
    shutil.rmtree(folder)


def postgres_programs() -> Path:
    return next(
        path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    )


@pytest.fixture
def instance(database, tmp_path, monkeypatch):
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.copy(TEMPLATE, home / "dagster.yaml")
    for name, value in database.items():
        monkeypatch.setenv(f"DAGSTER_PG_{name}", value)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as found:
        yield found


@dg.asset(pool="spark")
def table(context) -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"run": context.run_id}, data_version=dg.DataVersion("7"))


THREE_RUNS = """
import dagster as dg

@dg.asset(pool="spark")
def table():
    return 1

with dg.DagsterInstance.get() as instance:
    for _ in range(3):
        assert dg.materialize([table], instance=instance).success
"""


def count(database: dict[str, str], rows: str) -> int:
    command = [
        postgres_programs() / "psql",
        "-h",
        database["HOST"],
        "-p",
        database["PORT"],
        "-U",
        database["USER"],
        "-Atc",
        f"SELECT count(*) FROM {rows}",
        database["DB"],
    ]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


def test_template_needs_nothing_but_its_variables(database):
    wanted = {
        value["env"]
        for value in yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))["storage"]["postgres"][
            "postgres_db"
        ].values()
        if isinstance(value, dict)
    }
    assert wanted == {f"DAGSTER_PG_{name}" for name in database}


def test_runs_and_events_are_kept_in_postgres(instance, database):
    result = dg.materialize([table], instance=instance)
    assert result.success
    assert count(database, f"runs WHERE run_id = '{result.run_id}' AND status = 'SUCCESS'") == 1
    assert (
        count(
            database,
            f"event_logs WHERE run_id = '{result.run_id}' AND dagster_event_type = 'ASSET_MATERIALIZATION'",
        )
        == 1
    )
    event = instance.get_latest_materialization_event(dg.AssetKey("table"))
    assert event is not None and event.run_id == result.run_id


def test_runs_of_two_processes_at_once_wait_for_no_lock(instance, database):
    before = count(database, "runs WHERE status = 'SUCCESS'")
    workers = [
        subprocess.Popen([sys.executable, "-c", THREE_RUNS], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    errors = [worker.communicate(timeout=120)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], errors
    assert count(database, "runs WHERE status = 'SUCCESS'") == before + 6
