import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streaming.services import processes
from streaming.services.processes import ProcessRecord, ServiceError


def _sleeper(
    tmp_path: Path, code: str = "import time; print('up', flush=True); time.sleep(60)"
) -> ProcessRecord:
    return processes.spawn([sys.executable, "-c", code], tmp_path, tmp_path / "log")


def test_process_is_recognised_by_pid_and_start_time(tmp_path: Path) -> None:
    record = _sleeper(tmp_path)
    assert processes.wait_until(lambda: b"up" in (tmp_path / "log").read_bytes(), 180)
    processes.save(tmp_path / "process.json", record)
    assert processes.load(tmp_path / "process.json") == record
    assert not ProcessRecord(record.pid, record.started - 1).alive(), (
        "another process of the same pid is not ours"
    )
    assert processes.stop(record)
    assert processes.load(tmp_path / "process.json") is None


def test_process_goes_by_itself_even_if_its_parent_ignores_sigterm(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        record = _sleeper(tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert processes.wait_until(lambda: b"up" in (tmp_path / "log").read_bytes(), 180)
    assert processes.stop(record)


def test_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    record = _sleeper(
        tmp_path,
        (
            "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); "
            "time.sleep(60)"
        ),
    )
    assert processes.wait_until(lambda: b"up" in (tmp_path / "log").read_bytes(), 180)
    assert not processes.stop(record, seconds=0.3)
    assert not record.alive()


def test_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    assert processes.wait_until(lambda: processes.start_time(child.pid) is None, 180)
    child.wait()


def test_process_is_found_by_its_argument_when_nobody_remembers_it(tmp_path: Path) -> None:
    record = processes.spawn(
        [sys.executable, "-c", "import time; time.sleep(60)", str(tmp_path / "mine.conf")],
        tmp_path,
        tmp_path / "log",
    )
    # A new program's arguments can be read only some microseconds after `spawn` comes back; on a busy machine
    # that may be long.
    assert processes.wait_until(lambda: processes.by_argument(str(tmp_path / "mine.conf")) == [record], 180)
    processes.stop(record)


def test_damaged_record_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "process.json").write_text("{")
    assert processes.load(tmp_path / "process.json") is None


def test_missing_program_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="cannot be started"):
        processes.spawn([str(tmp_path / "nothing")], tmp_path, tmp_path / "log")
