"""The wheel holds every data file; its extras `live` and `features` run in empty environments and folders."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import delta_files
import pyarrow as pa

from feature_repo.contract import tables as columns

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("intentstore", "feature_repo", "spark_jobs", "streaming", "model", "dagster_project")


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def packages_of(folder):
    return {path.name for path in (folder / "lib" / "python3.11" / "site-packages").iterdir()}


def test_the_wheel_holds_every_tracked_file_of_the_packages(wheel):
    listed = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(listed) > 300 and "feature_repo/.feastignore" in listed
    with zipfile.ZipFile(wheel) as archive:
        assert not set(listed) - set(archive.namelist())
        defaults = archive.read("intentstore/defaults.toml").decode()
    assert defaults == (ROOT / "intentstore.toml").read_text()  # a link there, a file here


def test_live_runs_without_torch_pyspark_feast_and_dagster(live_environment, tmp_path):
    def run(*words):
        environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
        command = [live_environment / "bin" / "intentstore", *words]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    assert not packages_of(live_environment) & {"torch", "pyspark", "feast", "dagster", "transformers"}
    assert size_of(live_environment) < 700_000_000
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "clicks.csv").write_text("session_id,item_id,event_time\na,1,1700000000\n")
    assert "next: intentstore demo" in run("init", "data").stdout
    checks = {check["name"]: check for check in json.loads(run("doctor", "--json").stdout)}
    assert "not installed: features, train, batch, dagster" in checks["packages"]["text"]
    assert checks["dataset"]["state"] == "ok" and checks["broker"]["state"] == "warning"
    lag = run("lag")
    assert lag.returncode == 1 and "kafka.bootstrap_servers" in lag.stderr
    for verb, extra in (("ingest", "batch"), ("demo", "dagster")):
        done = run(verb)
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert f"pip install 'intentstore[{extra}]'" in done.stderr


def test_features_read_the_history_of_a_lake_without_java(features_environment, tmp_path):
    assert not packages_of(features_environment) & {"torch", "pyspark", "dagster", "transformers"}
    assert size_of(features_environment) < 600_000_000
    first = datetime(2024, 3, 10, 6, tzinfo=UTC)
    texts = {"last_item": "i", "session_start": first, "event_date": first.date(), "items": ["i"]}
    gaps = ("duration_seconds", "mean_gap_seconds", "last_gap_seconds")
    numbers = (*gaps, "distinct_items", "repeat_share", "late_clicks")
    rows = []
    for number in range(150):
        moment = first + timedelta(minutes=number // 50)
        key = {"session_id": f"s{number % 50}", "event_id": str(number), "click_count": number}
        times = {"event_timestamp": moment, "created": moment}
        rows.append({**texts, **dict.fromkeys(numbers, 0), **key, **times})
    table = pa.Table.from_pylist(rows, schema=columns.SCHEMAS[columns.SESSION_FEATURES])
    delta_files.write(tmp_path / "home" / "lake" / columns.SESSION_FEATURES, [table])
    # a path on which there is no java, and no JAVA_HOME
    surroundings = {"PATH": str(features_environment / "bin"), "INTENTSTORE_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [features_environment / "bin" / "python", ROOT / "tests" / "read_history.py", "10000"],
        cwd=tmp_path,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=1200,  # against hanging; a fresh environment compiles all of Feast first
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["counts"] == [100, 101, 102] and found["versions"] == {"session_features": 0}
    assert not found["pyspark"]
