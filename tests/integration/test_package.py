"""The wheel holds every data file; its extra `live` runs in an empty environment and folder."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("intentstore", "feature_repo", "spark_jobs", "streaming", "model", "dagster_project")


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

    there = {path.name for path in (live_environment / "lib" / "python3.11" / "site-packages").iterdir()}
    assert not there & {"torch", "pyspark", "feast", "dagster", "transformers"}
    size = sum(
        path.stat().st_size
        for path in live_environment.rglob("*")
        if path.is_file() and not path.is_symlink()
    )
    assert size < 700_000_000
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
