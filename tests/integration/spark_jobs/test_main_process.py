"""The command as a process: one line on bad input, and no Java left behind when it is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def _start(arguments, home, assets_dir, **more):
    environment = {
        **os.environ,
        "INTENTSTORE_HOME": str(home),
        "INTENTSTORE_ASSETS": str(assets_dir),
        "PYTHONPATH": str(ROOT),
        **more,
    }
    command = [sys.executable, "-m", "spark_jobs", *arguments]
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _gone(pid):
    """Wait for a process that is not ours to wait for: its pidfd becomes readable when it ends."""
    import select

    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 60.0)[0])
    finally:
        os.close(handle)


def test_missing_java_is_one_line(tmp_path, assets_dir):
    process = _start(["ingest"], tmp_path, assets_dir, JAVA_HOME=str(tmp_path / "no-java"))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1 and out == ""
    line = err.strip().splitlines()[-1]
    assert "java" in line.lower() and "Traceback" not in err


def test_a_job_killed_while_it_works_leaves_no_java_and_runs_again(tmp_path, assets_dir):
    process = _start(["ingest"], tmp_path, assets_dir)
    scratch = tmp_path / "spark"
    log = iter(process.stderr.readline, "")
    assert "starting Spark" in next(log)
    java = []
    # from here on Spark is up and parsing has begun
    while not (scratch / "staged").exists() and process.poll() is None:
        java = _children(process.pid) or java
        os.sched_yield()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert java and all(_gone(pid) for pid in java)
    again = _start(["ingest", "--json"], tmp_path, assets_dir)
    out, err = again.communicate(timeout=400)
    assert again.returncode == 0, err
    assert '"table": "clicks"' in out and "Traceback" not in err
