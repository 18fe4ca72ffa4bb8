"""Puts the HTTP side together from the real parts and runs it: `python -m streaming serve`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn

from feature_repo.contract import endpoints
from feature_repo.contract.session import FoldConfig
from feature_repo.contract.settings import Settings
from model.recommender.loaded_model import LoadedModel, load_model
from streaming.clients import click_partitioner, client_options
from streaming.errors import StreamingError
from streaming.http.batcher import Batcher
from streaming.http.board import AnswerBoard, StoredAnswer
from streaming.http.clicks import SEND_SECONDS, ClickSender
from streaming.http.engine import Engine
from streaming.http.features import LiveRows
from streaming.http.items import ItemSearch, search_of
from streaming.http.metrics import Metrics
from streaming.http.nearest import NearestItems
from streaming.http.protocol import LimitedProtocol
from streaming.http.reader import AnswerReader
from streaming.http.routes import Api, Parts
from streaming.http.wire import Guard
from streaming.serving.loaded_model import ModelWatch

LOG = logging.getLogger("intentstore.http")
PROBE_SECONDS = 2.0
SWITCH_SECONDS = 0.0002  # between threads; the default of 5 ms would by itself break a p99 of 5 ms
STOP_SECONDS = 5
# a broker that is silent for so long is told as gone; the client's own 30 s would outlast the shop's patience
BROKER_MS = 5_000
_RECONNECT = {"bootstrap_timeout_ms": BROKER_MS, "reconnect_backoff_max_ms": 1_000}


class Server:
    """All parts of one HTTP side, their threads, and the application in front of them.

    Parameters
    ----------
    settings : Settings
        Addresses, tokens, limits.
    model_dir : Path, optional
        One fixed model folder; none = the promoted one, picked up again at each promotion.
    """

    def __init__(self, settings: Settings, model_dir: Path | None = None) -> None:
        self._settings = settings
        self.metrics, self.board = Metrics(), AnswerBoard()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = threading.Event()
        self.watch = ModelWatch(
            _finder(settings, model_dir), lambda path: load_model(settings, path), self._model_changed
        )
        self._items: ItemSearch | None = None
        self._nearest: NearestItems | None = None
        # a connection for each thread
        self._rows, self._probe_rows = (
            LiveRows(lambda: _reader(settings), _max_age_us(settings)) for _ in range(2)
        )
        self._store_problem = "the online store has not answered yet"
        fold = FoldConfig.from_settings(settings.session)
        engine = Engine(self._rows, lambda: self.watch.current, fold, self.metrics.stage_done)
        self._questions = Batcher(engine, "questions", on_batch=self.metrics.batch.observe)
        self._sender = ClickSender(lambda: _producer(settings), settings.kafka.clicks_topic)
        self._clicks = Batcher(self._sender, "clicks")
        self.reader = AnswerReader(
            lambda: _consumer(settings), settings.kafka.recommendations_topic, self._deliver
        )
        self._prober = threading.Thread(target=self._probe, name="readiness", daemon=True)
        guard = Guard([token.get_secret_value() for token in settings.http.tokens], settings.http.host)
        parts = Parts(
            self._questions,
            self._clicks,
            self.board,
            guard,
            self.metrics,
            self.problems,
            items=lambda: self._items,
            nearest=lambda: self._nearest,
            max_body_bytes=settings.http.max_body_bytes,
        )
        self.api = Api(parts, self._up, self._down)

    def problems(self) -> dict[str, str]:
        """Say of each part why it is not ready; empty text = ready."""
        model = "" if self.watch.current is not None else self.watch.problem
        return {
            "model": model,
            "online_store": self._store_problem,
            "broker": self.reader.broker_problem,
            "answers": self.reader.problem,
        }

    def end_streams(self) -> None:
        """Let the open event streams end, so that the server can close."""
        self.board.close()

    def _up(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        self._loop = asyncio.get_running_loop()
        self.watch.start(load_first=False)
        self.reader.start()
        self._prober.start()
        # no click: it connects, so that the first one need not wait
        self._connecting = self._loop.create_task(self._clicks.submit([]))

    def _down(self) -> None:
        self._stop.set()
        for part in (self.watch, self.reader, self._questions, self._clicks, self._sender, self._rows):
            part.close()

    def _model_changed(self, model: LoadedModel) -> None:
        self._items, self._nearest = search_of(model.scorer), NearestItems(self._settings, model)
        self.metrics.model_changed(model.version)

    def _deliver(self, answers: list[StoredAnswer]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.board.put, answers)

    def _probe(self) -> None:
        """Keep readiness and the slow gauges fresh."""
        while True:
            self._store_problem = self._probe_rows.problem()
            self.metrics.sessions.set(len(self.board))
            self.metrics.held.set(self.board.held_bytes)
            self.metrics.lag.set(self.reader.lag)
            self.metrics.foreign.set(self.reader.foreign)
            for part, problem in self.problems().items():
                self.metrics.ready.labels(part).set(not problem)
            if self._stop.wait(PROBE_SECONDS):
                self._probe_rows.close()
                return


class _Uvicorn(uvicorn.Server):
    """Uvicorn that ends our event streams before it waits for connections to close."""

    def __init__(self, config: uvicorn.Config, before_close: Callable[[], None]) -> None:
        super().__init__(config)
        self._before_close = before_close

    async def shutdown(self, sockets: Any = None) -> None:
        """Close in order."""
        self._before_close()
        await super().shutdown(sockets)

    def listen_for_signals(self) -> None:
        """Let SIGTERM and SIGINT end the server in order; only the main thread may."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self.handle_exit)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals as they are; uvicorn raises them again at the end, so that a stop looks like a
        crash.
        """
        yield


def main(settings: Settings, model_dir: Path | None = None) -> int:
    """Serve until SIGTERM or SIGINT.

    Parameters
    ----------
    settings : Settings
        ``http.host`` and ``http.port`` say where (port 0 = any free one, told in the log), ``http.tokens``
        who may ask.
    model_dir : Path, optional
        One fixed model folder; none = the promoted one, followed.

    Returns
    -------
    int
        0 after an orderly stop.

    Raises
    ------
    StreamingError
        The address cannot be bound; says which and why.
    """
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    server = Server(settings, model_dir)
    config = uvicorn.Config(
        server.api,
        host=settings.http.host,
        port=settings.http.port,
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
    if not settings.http.tokens and settings.http.host not in {"127.0.0.1", "localhost", "::1"}:
        LOG.warning(
            (
                "http.host is %s and http.tokens is empty: everybody who reaches this address may ask and "
                "send clicks"
            ),
            settings.http.host,
        )
    try:
        sock = config.bind_socket()
    except (OSError, SystemExit) as error:
        raise StreamingError(
            f"cannot listen on {settings.http.host}:{settings.http.port} ({error}); choose another "
            "http.host or http.port"
        ) from None
    # before the line below, which says that calls are taken: until the loop runs, they wait in the queue
    sock.listen(config.backlog)
    runner = _Uvicorn(config, server.end_streams)
    runner.listen_for_signals()  # also before that line: whoever reads it may stop us
    print(f"serving on http://{settings.http.host}:{sock.getsockname()[1]}", flush=True)
    runner.run(sockets=[sock])
    return 0


def _finder(settings: Settings, model_dir: Path | None) -> Callable[[], Path | None]:
    if model_dir is not None:
        return lambda: model_dir

    def promoted() -> Path | None:
        from model.recommender import artifact

        return artifact.promoted_dir(settings.models_dir)

    return promoted


def _reader(settings: Settings) -> Any:
    from feature_repo.stores.packed.live import LiveFeatureReader

    return LiveFeatureReader(endpoints.online_store_url(settings), cluster=settings.online.cluster)


def _max_age_us(settings: Settings) -> int | None:
    hours = settings.online.ttl_hours
    return None if hours is None else round(hours * 3_600_000_000)


def _producer(settings: Settings) -> Any:
    from kafka import KafkaProducer

    limits = {
        "delivery_timeout_ms": int(SEND_SECONDS * 1000),
        "request_timeout_ms": BROKER_MS,
        "max_block_ms": BROKER_MS,
    }
    return KafkaProducer(
        **client_options(settings),
        **_RECONNECT,
        acks="all",
        linger_ms=0,
        **limits,
        **click_partitioner(settings),
    )


def _consumer(settings: Settings) -> Any:
    from kafka import KafkaConsumer

    from streaming.topics import ensure as topics

    topics.ensure(settings, same_width=False)

    reading = {"enable_auto_commit": False, "isolation_level": "read_committed", "fetch_max_wait_ms": 500}
    return KafkaConsumer(**client_options(settings), **_RECONNECT, **reading)
