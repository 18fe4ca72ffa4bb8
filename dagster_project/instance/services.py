"""Keeps the embedded services up as long as one process lives, and takes them down with it, kill -9
included.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_project.instance import home as instance_home
from feature_repo.contract.settings import Settings, load_settings
from streaming.services import services as broker

if TYPE_CHECKING:
    from streaming.services.services import Services


def _owner_file(home: Path) -> Path:
    return home / "services" / "owner"


@contextmanager
def services(settings: Settings) -> Iterator[Services]:
    """Run broker and online store for the length of a ``with`` block.

    Parameters
    ----------
    settings : Settings
        Where they are, or which others to use.

    Yields
    ------
    Services
        Addresses.
    """
    with guarded(settings):
        yield broker.up(settings)


@contextmanager
def guarded(settings: Settings) -> Iterator[None]:
    """End with a ``with`` block whatever services were started in it, by whomever.

    Services that ran before are left running afterwards. A small process of its own session waits for our end
    on a pipe, so that they also go when we are killed.

    Parameters
    ----------
    settings : Settings
        Where they are.

    Yields
    ------
    None
        Nothing is started here.
    """
    # Another guard's services are taken over: its process is gone or ends before us, and it looks at the
    # owner before it stops anything.
    ours = broker.running(settings) is None or _owner_file(settings.home).exists()
    if ours:
        _owner_file(settings.home).parent.mkdir(parents=True, exist_ok=True)
        _owner_file(settings.home).write_text(instance_home.own_identity(), encoding="utf-8")
    waiter = _start_waiter(settings) if ours else None
    try:
        yield
    finally:
        if waiter is not None and waiter.stdin is not None:
            waiter.stdin.close()
            waiter.wait()


def _start_waiter(settings: Settings) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "INTENTSTORE_HOME": str(settings.home)}
    command = [sys.executable, "-m", "dagster_project.instance.services", instance_home.own_identity()]
    return subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, start_new_session=True)


def main(arguments: Sequence[str]) -> int:
    """Wait until the owner's end of the pipe closes, then stop the services if nobody took them over.

    Parameters
    ----------
    arguments : sequence of str
        Identity of the owner.

    Returns
    -------
    int
        0.
    """
    sys.stdin.buffer.read()
    settings = load_settings(Path(os.devnull), os.environ)
    file = _owner_file(settings.home)
    if file.exists() and file.read_text(encoding="utf-8") == arguments[0]:
        broker.down(settings)
        file.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
