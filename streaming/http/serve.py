"""`python -m streaming serve`: listens, and runs one HTTP side in this process or one in each of several
workers behind the same port.
"""

from __future__ import annotations

import functools
import logging
import multiprocessing
import os
import signal
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from feature_repo.contract.settings import Settings
from streaming.errors import StreamingError
from streaming.http.protocol import LimitedProtocol
from streaming.http.wire.guard import LOCAL
from streaming.logs import configure_logging

if TYPE_CHECKING:
    from starlette.applications import Starlette

log = logging.getLogger("intentstore.http")
STOP_SECONDS = 5  # for requests under way
# A worker that answers its supervisor no more for so long is replaced; importing the model's libraries on a
# busy machine holds the interpreter for some seconds at a time.
HUNG_SECONDS = 20


def main(settings: Settings, model_dir: Path | None = None) -> int:
    """Serve until SIGTERM or SIGINT.

    Parameters
    ----------
    settings : Settings
        ``http.host`` and ``http.port`` say where (port 0 = any free one, told on standard output),
        ``http.tokens`` who may ask, ``http.workers`` how many processes answer.
    model_dir : Path, optional
        One fixed model folder; none = the promoted one, followed.

    Returns
    -------
    int
        0 after an orderly stop.

    Raises
    ------
    StreamingError
        The address cannot be bound, or a worker cannot start; says which and why.
    """
    http = settings.http
    if not http.tokens and http.host not in LOCAL:
        reach = "everybody who reaches this address may ask and send clicks"
        log.warning("http.host is %s and http.tokens is empty: %s", http.host, reach)
    if http.workers == 1:
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        _serve(_config(settings, functools.partial(_alone, settings, model_dir)))
        return 0
    with tempfile.TemporaryDirectory(prefix="intentstore-metrics-") as folder:
        # read by the client library of Prometheus as it is imported in the workers, which inherit it
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        _serve(_config(settings, functools.partial(_worker, settings, model_dir, Path(folder))))
    return 0


def _config(settings: Settings, factory: functools.partial[Starlette]) -> uvicorn.Config:
    return uvicorn.Config(
        factory,
        factory=True,
        host=settings.http.host,
        port=settings.http.port,
        workers=settings.http.workers,
        timeout_worker_healthcheck=HUNG_SECONDS,
        loop="uvloop",
        http=LimitedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=STOP_SECONDS,
        backlog=2048,
        proxy_headers=False,
    )


def _serve(config: uvicorn.Config) -> None:
    """Listen, say where, and answer until told to stop."""
    try:
        sock = config.bind_socket()
    except (OSError, SystemExit) as error:
        raise StreamingError(
            f"cannot listen on {config.host}:{config.port} ({error}); choose another http.host or http.port"
        ) from None
    # Both before the line below, which says that calls are taken and after which we may be stopped: until a
    # process accepts, calls wait in the queue, which all workers share, so that none is lost with a worker.
    sock.listen(config.backlog)
    where = f"serving on http://{config.host}:{sock.getsockname()[1]}"
    if config.workers > 1:
        workers = Multiprocess(config, sockets=[sock])
        print(where, flush=True)
        workers.run()
        if any(process.exitcode == STARTUP_FAILURE for process in workers.processes):
            raise StreamingError("a worker of the HTTP side could not start; the lines above say why")
        return
    server = uvicorn.Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):  # ours, so that an orderly stop does not look like a crash
        signal.signal(number, server.handle_exit)
    print(where, flush=True)
    server.run(sockets=[sock])


def _alone(settings: Settings, model_dir: Path | None) -> Starlette:
    from streaming.http.server import Server

    return Server(settings, model_dir).api


def _worker(settings: Settings, model_dir: Path | None, metrics_dir: Path) -> Starlette:
    """Make the application of one worker, in its process."""
    configure_logging(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    log.info("worker %d starts", os.getpid())
    threading.Thread(target=_end_with_supervisor, name="supervisor-watch", daemon=True).start()
    from streaming.http.server import Server

    return Server(settings, model_dir, metrics_dir).api


def _end_with_supervisor() -> None:
    """Stop in order when the supervisor is killed: nobody else would."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)
