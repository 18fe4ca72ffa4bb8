"""Starts, recognises and stops one long-lived child process by pid and start time. Knows neither Kafka nor
valkey.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from feature_repo.contract.files import replace_file

STOP_SECONDS = 20.0  # a broker writes its logs out on SIGTERM; then it is killed
_STEP_SECONDS = 0.05
_STATE, _START_TIME = 0, 19  # fields of /proc/PID/stat after the command name


class ServiceError(RuntimeError):
    """A service did not start or stop; the text names it, its log and the remedy."""


@dataclass(frozen=True)
class ProcessRecord:
    """One running process; the start time (clock ticks since boot) tells it from a later process of the same
    pid.
    """

    pid: int
    started: int

    def alive(self) -> bool:
        """Whether exactly this process still runs (a zombie does not)."""
        return start_time(self.pid) == self.started


def start_time(pid: int) -> int | None:
    """Give when a process started, in clock ticks since boot; None when there is none or it is a zombie."""
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return None if fields[_STATE] in ("Z", "X") else int(fields[_START_TIME])


def free_port() -> int:
    """Give a TCP port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _obey_sigterm() -> None:
    # An ignored signal is inherited, and Dagster gives SIGTERM the answer of SIGINT, which a shell's
    # background job ignores.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def spawn(
    command: list[str], folder: Path, log_file: Path, environment: Mapping[str, str] | None = None
) -> ProcessRecord:
    """Start a process in its own session and process group, output to a file.

    Parameters
    ----------
    command : list of str
        Program and arguments.
    folder : Path
        Working folder.
    log_file : Path
        Gets standard output and error, from the start.
    environment : mapping, optional
        Variables; none = this process's own.

    Returns
    -------
    ProcessRecord
        Of the running process.

    Raises
    ------
    ServiceError
        The program cannot be started.
    """
    try:
        with log_file.open("wb") as log:
            child = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
                preexec_fn=_obey_sigterm,  # one system call, no lock that another thread could hold
            )
    except OSError as error:
        raise ServiceError(
            f"'{command[0]}' cannot be started ({error}); is it installed, and is there room below "
            f"'{folder}'?"
        ) from None
    started = start_time(child.pid)
    child.returncode = 0  # it outlives us on purpose: keep Popen from warning about it
    return ProcessRecord(child.pid, started if started is not None else -1)


def save(file: Path, record: ProcessRecord) -> None:
    """Write a record, atomically."""
    replace_file(file, json.dumps(asdict(record)))


def load(file: Path) -> ProcessRecord | None:
    """Read a record; None when there is none, it is unreadable, or its process is gone."""
    try:
        record = ProcessRecord(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return record if record.alive() else None


def by_argument(argument: str) -> list[ProcessRecord]:
    """Find processes of this user that were started with exactly this argument (a path of ours), whoever
    remembers them.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
                started = start_time(int(entry.name))
                if (
                    argument.encode() in arguments
                    and started is not None
                    and entry.stat().st_uid == os.getuid()
                ):
                    found.append(ProcessRecord(int(entry.name), started))
    return found


def wait_until(ready: Callable[[], bool], seconds: float, alive: Callable[[], bool] = lambda: True) -> bool:
    """Ask until it is ready; False when the time is over or the process is gone."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ready():
            return True
        if not alive():
            return False
        time.sleep(_STEP_SECONDS)
    return False


def stop(record: ProcessRecord, seconds: float = STOP_SECONDS) -> bool:
    """End a process: SIGTERM, and SIGKILL to its group when it does not go.

    Returns
    -------
    bool
        Whether it went by itself.
    """
    if not record.alive():
        return True
    with contextlib.suppress(ProcessLookupError):
        os.kill(record.pid, signal.SIGTERM)
    gentle = wait_until(lambda: not record.alive(), seconds)
    if not gentle:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(record.pid, signal.SIGKILL)
        wait_until(lambda: not record.alive(), STOP_SECONDS)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(record.pid, os.WNOHANG)  # reap it where it was our own child
    return gentle
