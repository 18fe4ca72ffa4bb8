"""Children die with their parent, whatever kills it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from feature_repo.contract import processes as bound

# A parent that starts a bound grandchild, tells its pid, and waits; the grandchild holds the write end of our
# pipe until it dies.
PARENT = """
import os, sys
from feature_repo.contract import processes as bound
held = int(sys.argv[1])
code = "import sys, threading; print('up', flush=True); threading.Event().wait()"
os.set_inheritable(held, True)
import subprocess
child = subprocess.Popen([sys.executable, "-m", "feature_repo.contract.processes", str(os.getpid()), "--", sys.executable, "-c", code], pass_fds=[held])
os.close(held)
child.wait()
"""  # noqa: E501


def test_kill_9_of_the_parent_ends_the_child():
    read, write = os.pipe()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(write)], pass_fds=[write], stdout=subprocess.PIPE
    )
    os.close(write)
    assert parent.stdout is not None and parent.stdout.readline() == b"up\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read() == b""  # end of file: nobody holds the other end any more
    parent.stdout.close()


def test_stop_ends_the_whole_group():
    process = bound.start([sys.executable, "-c", "import threading; threading.Event().wait()"])
    bound.stop(process, 5.0)
    assert process.returncode in (-signal.SIGTERM, -signal.SIGKILL)


def test_process_that_ignores_the_request_is_forced(tmp_path):
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    code = (
        f"import signal, threading; signal.signal(signal.SIGTERM, signal.SIG_IGN); open({str(ready)!r}, "
        "'w').close(); threading.Event().wait()"
    )
    process = bound.start([sys.executable, "-c", code])
    Path(ready).read_bytes()
    bound.stop(process, 0.2)
    assert process.returncode == -signal.SIGKILL


def test_parent_that_is_already_gone_is_seen():
    done = subprocess.run(
        [sys.executable, "-m", "feature_repo.contract.processes", "1", "--", "true"], check=False, timeout=60
    )
    assert done.returncode == 1


def test_bad_arguments_are_answered_with_usage(capsys):
    assert bound.main(["1"]) == 2
    assert "usage" in capsys.readouterr().err
