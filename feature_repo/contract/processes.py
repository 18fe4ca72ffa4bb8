"""Runs a command that dies with its parent: `python -m feature_repo.contract.processes PARENT_PID --
COMMAND...`. Knows nothing of Dagster.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>
GRACE_SECONDS = 10.0  # the consumer commits its batch and Spark stops well within this


def bind_to_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when its parent ends, however that ends (kill -9 included).

    Parameters
    ----------
    parent_pid : int
        The parent as it was when it started us; a parent that died before we asked is seen by its changed id.

    Raises
    ------
    SystemExit
        The parent is already gone.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        raise SystemExit(1)


def start(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
    new_group: bool = True,
) -> subprocess.Popen[bytes]:
    """Start a command that cannot outlive this process.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    env : mapping, optional
        Its whole environment; none = ours.
    cwd : Path, optional
        Its working folder.
    log : Path, optional
        File that takes what it prints; none = our own standard streams.
    new_group : bool
        Give it a process group of its own, so that `stop` reaches what it starts in turn.

    Returns
    -------
    subprocess.Popen
        Already running.
    """
    wrapped = [sys.executable, "-m", "feature_repo.contract.processes", str(os.getpid()), "--", *command]
    group = 0 if new_group else None
    environment = None if env is None else dict(env)
    if log is None:
        return subprocess.Popen(
            wrapped, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, process_group=group
        )
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        return subprocess.Popen(
            wrapped,
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            process_group=group,
        )


def stop(process: subprocess.Popen[bytes], grace_seconds: float = GRACE_SECONDS) -> None:
    """End a process of `start` and everything of its group: a request first, force after the grace.

    Parameters
    ----------
    process : subprocess.Popen
        Started with a group of its own.
    grace_seconds : float
        Time between request and force.
    """
    if process.poll() is None:
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):  # the force below is the answer
            process.wait(timeout=grace_seconds)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return  # all of it has ended


def main(arguments: Sequence[str]) -> int:  # noqa: RET503 - execvp does not return
    """Bind to the parent, then become the command.

    Parameters
    ----------
    arguments : sequence of str
        ``PARENT_PID -- COMMAND...``.

    Returns
    -------
    int
        Only on bad arguments (2); otherwise the process becomes the command.
    """
    if len(arguments) < 3 or arguments[1] != "--":
        print(
            "usage: python -m feature_repo.contract.processes PARENT_PID -- COMMAND [ARGUMENT...]",
            file=sys.stderr,
        )
        return 2
    bind_to_parent(int(arguments[0]))
    # ignored signals are inherited, and `stop` asks with this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.execvp(arguments[2], list(arguments[2:]))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
