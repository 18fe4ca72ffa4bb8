"""The machine: Python and packages, Java, disk, memory, ports."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

from feature_repo.contract.assets.java import JavaError, find_java
from feature_repo.contract.settings import Settings
from intentstore.doctor.check import Check, said

GIB = 1 << 30
LEAST_DISK = 1 * GIB  # the demo's home with its assets
GOOD_DISK = 5 * GIB  # a lake of some million clicks, with the versions of 30 days
LEAST_MEMORY = 2 * GIB  # the driver's JVM beside one Python process
# One module of each extra that no other brings.
SIGNS = {
    "live": "rocksdict",
    "features": "feast",
    "train": "torch",
    "batch": "pyspark",
    "dagster": "dagster",
}


def python(settings: Settings) -> Check:
    """Look at Python's version."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] != (3, 11):
        return Check("python", "error", f"version {version}", "make an environment of Python 3.11")
    return Check("python", "ok", f"version {version} ({sys.executable})")


def packages(settings: Settings) -> Check:
    """Look at which extras are installed."""
    there = [extra for extra, module in SIGNS.items() if find_spec(module) is not None]
    absent = [extra for extra in SIGNS if extra not in there]
    text = f"extras: {', '.join(there) or 'none'}"
    if not absent:
        return Check("packages", "ok", text)
    remedy = f"for the verbs that need them: pip install 'intentstore[{','.join(absent)}]'"
    return Check("packages", "warning", f"{text}; not installed: {', '.join(absent)}", remedy)


def java(settings: Settings) -> Check:
    """Look at Java, which Spark and the embedded broker need."""
    try:
        found = find_java(os.environ.get("JAVA_HOME"))
    except JavaError as error:
        text, remedy = said(error)
        needed = find_spec(SIGNS["batch"]) is not None or settings.kafka.bootstrap_servers is None
        if needed:
            return Check("java", "error", text, remedy)
        return Check("java", "warning", f"{text} (the verbs installed here need none)", remedy)
    return Check("java", "ok", str(found))


def disk(settings: Settings) -> Check:
    """Look at the room below the home, and whether it can be written."""
    place = settings.home
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        remedy = "correct its rights, or name another home (INTENTSTORE_HOME)"
        return Check("disk", "error", f"'{place}' cannot be written", remedy)
    free = shutil.disk_usage(place).free
    text = f"{free / GIB:.1f} GiB free below {settings.home}"
    remedy = "make room, or name a home on another disk (INTENTSTORE_HOME)"
    if free < LEAST_DISK:
        return Check("disk", "error", text, remedy)
    return Check("disk", "warning", text, remedy) if free < GOOD_DISK else Check("disk", "ok", text)


def memory(settings: Settings) -> Check:
    """Look at the memory that is free, beside what Spark's driver may take."""
    free = available_memory()
    text = f"{free / GIB:.1f} GiB free, spark.driver_memory = {settings.spark.driver_memory}"
    if free < LEAST_MEMORY:
        remedy = "end other programs, or use a larger machine; batch jobs would be killed"
        return Check("memory", "error", text, remedy)
    if free < driver_bytes(settings.spark.driver_memory) + GIB:
        return Check("memory", "warning", text, "lower spark.driver_memory, or end other programs")
    return Check("memory", "ok", text)


def available_memory(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Return the bytes that a new program may use, of the machine or of this container.

    Parameters
    ----------
    meminfo : Path
    """
    lines = dict(line.split(":", 1) for line in meminfo.read_text(encoding="utf-8").splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if limit.exists() and (bound := limit.read_text(encoding="utf-8").strip()).isdigit():
        free = min(free, int(bound) - int(used.read_text(encoding="utf-8")))
    return free


def driver_bytes(text: str) -> int:
    """Read a size as the JVM writes it.

    Examples
    --------
    >>> driver_bytes("4g") == 4 * GIB, driver_bytes("512m"), driver_bytes("1024")
    (True, 536870912, 1024)
    """
    units = {"k": 1 << 10, "m": 1 << 20, "g": GIB, "t": GIB << 10}
    number = text.lower().removesuffix("b")
    return int(number[:-1]) * units[number[-1]] if number[-1:] in units else int(number)


def ports(settings: Settings) -> Check:
    """Look at whether the ports that `serve` and the metrics want are free."""
    wanted = {"http.port": (settings.http.host, settings.http.port)}
    if settings.streaming.metrics_port:
        wanted["streaming.metrics_port"] = ("127.0.0.1", settings.streaming.metrics_port)
    taken = [f"{name} {port}" for name, (host, port) in wanted.items() if port and not _free(host, port)]
    shown = ", ".join(f"{name} {port}" for name, (_, port) in wanted.items())
    if not taken:
        return Check("ports", "ok", f"free: {shown}")
    remedy = "fine if that is `intentstore serve` itself; else end what listens there, or set another"
    return Check("ports", "warning", f"in use: {', '.join(taken)}", remedy)


def _free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
