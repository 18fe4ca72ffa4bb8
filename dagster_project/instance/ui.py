"""Starts `dagster dev` on the demo's state and ends all of its processes with it."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

from dagster_project.instance import home as instance_home
from dagster_project.instance import services as services_guard
from feature_repo.contract import processes as bound
from feature_repo.contract.settings import Settings

WORKSPACE = Path(__file__).with_name("workspace.yaml")  # the checkout's own, for `dagster dev`, is at its top
GRACE_SECONDS = 15.0  # Dagster's daemon finishes its tick


def run(settings: Settings, *, host: str, port: int, config: str | None = None) -> int:
    """Serve the graph until interrupted.

    Parameters
    ----------
    settings : Settings
        ``home``: Dagster's home is ``home/dagster``.
    host : str
        Address to listen on.
    port : int
        Port to listen on.
    config : str, optional
        Settings file, handed on.

    Returns
    -------
    int
        0 after an interrupt, the code of `dagster dev` when it ended by itself.
    """
    if not _free(host, port):
        print(
            f"port {port} of {host} is in use; end what listens there, or name another with --port",
            file=sys.stderr,
        )
        return 1
    instance_home.prepare(settings)
    if config:
        os.environ["DAGSTER_SETTINGS_FILE"] = config
    command = [
        sys.executable,
        "-m",
        "dagster",
        "dev",
        "-w",
        str(WORKSPACE),
        "-h",
        host,
        "-p",
        str(port),
    ]
    print(f"Dagster on http://{host}:{port} (state: {settings.home}); Ctrl-C ends it", flush=True)
    signal.signal(signal.SIGTERM, _interrupt)
    process = bound.start(command)  # in the user's folder, where relative paths of the settings lead from
    try:
        # a run of the graph starts broker and online store; they go with the graph
        with services_guard.guarded(settings):
            return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        bound.stop(process, GRACE_SECONDS)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
