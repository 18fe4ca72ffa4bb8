"""Launches the JVM of a Spark session, and leaves no process behind when the launch is broken off. Knows
nothing of Spark's settings.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from py4j.java_gateway import JavaGateway
    from pyspark import SparkConf


def launch(conf: SparkConf, stream: IO[bytes]) -> JavaGateway:
    """Launch a JVM; all that it prints goes to `stream`.

    It reads a pipe from us and ends when that breaks: whatever ends this process, Ctrl-C to kill -9, takes
    a JVM that has started with it. One that still starts must be ended by hand, since pyspark's launcher
    removes the folder in which it is to leave its port: its main thread would die of that, and the thread
    of its server wait for ever.
    """
    from pyspark.java_gateway import launch_gateway

    before = children(os.getpid())
    try:
        gateway: JavaGateway = launch_gateway(conf, popen_kwargs={"stdout": stream, "stderr": stream})
        return gateway
    except BaseException:
        for pid in children(os.getpid()) - before:
            end_tree(pid)
            with contextlib.suppress(ChildProcessError):  # pyspark has waited for it
                os.waitpid(pid, 0)
        raise


def end_tree(pid: int) -> None:
    """Kill a process and all that it has started; each is stopped first, so that it starts nothing more."""
    with contextlib.suppress(ProcessLookupError):  # it ended by itself
        os.kill(pid, signal.SIGSTOP)
        for child in children(pid):
            end_tree(child)
        os.kill(pid, signal.SIGKILL)


def children(pid: int) -> set[int]:
    """Return the processes that a process has started, known to the kernel from their first instant on."""
    found: set[int] = set()
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has just ended
            found.update(int(child) for child in thread.read_text().split())
    return found
