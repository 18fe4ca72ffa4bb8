"""The command as a process: one line on bad input, and no Java left behind when it is killed."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from feature_repo.contract.cli import INTERRUPTED

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
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, process_group=0
    )


def _children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _gone(pid):
    """Wait for a process that is not ours to wait for: its pidfd becomes readable when it ends."""
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


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:  # it has just ended
        return ""


def _of_home(home):
    """Launcher, its helpers and the JVM all have the home among their arguments."""
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [pid for pid in pids if str(home) in _command(pid)]


MOMENTS = {
    "the launcher has been forked": lambda process, home: _children(process.pid),
    "the JVM builds its own command": lambda process, home: any(
        "launcher.Main" in _command(pid) for pid in _of_home(home)
    ),
    "the JVM has been started": lambda process, home: any(
        "SparkSubmit" in _command(pid) and "java" in _command(pid).split("\0")[0] for pid in _of_home(home)
    ),
    "the session is being made": lambda process, home: any((home / "spark").glob("local-*/blockmgr-*")),
    "the job is at work": lambda process, home: (home / "spark" / "staged").exists(),
}


@pytest.mark.parametrize("to", ["the process", "its group"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_sigterm_at_any_moment_of_the_start_leaves_one_line_and_no_process(tmp_path, assets_dir, moment, to):
    folder, home = tmp_path / "shop", tmp_path / "home"
    folder.mkdir()
    rows = [f"s{row // 4},i{row % 7},{1_709_280_000 + row}\n" for row in range(60)]
    (folder / "clicks.csv").write_text("session_id,item_id,event_time\n" + "".join(rows))
    process = _start(["ingest", "--dataset", str(folder)], home, assets_dir)
    while not MOMENTS[moment](process, home) and process.poll() is None:
        os.sched_yield()
    (os.kill if to == "the process" else os.killpg)(process.pid, signal.SIGTERM)
    left = _of_home(home)
    out, err = process.communicate(timeout=120)
    left += _of_home(home)
    assert process.returncode == INTERRUPTED and out == "", err
    (line,) = [line for line in err.splitlines() if not line.startswith("starting Spark")]
    assert (
        line == "spark_jobs ingest: interrupted; every table is at its last whole version, run the job again"
    )
    assert all(_gone(pid) for pid in left) and not _of_home(home)
