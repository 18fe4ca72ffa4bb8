"""Puts the HTTP side of one process together from the real parts. Listens nowhere; `serve.py` does."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from feature_repo.contract import endpoints
from feature_repo.contract.session import FoldConfig
from feature_repo.contract.settings import Settings
from model.recommender.loaded_model import LoadedModel, load_model
from model.recommender.stock import Stocks, file_of
from streaming.clients import click_partitioner, client_options
from streaming.http.batcher import Batcher
from streaming.http.board import AnswerBoard, StoredAnswer
from streaming.http.catalogue.updates import ItemSender
from streaming.http.clicks import ClickSender
from streaming.http.engine import Engine
from streaming.http.features import LiveRows
from streaming.http.items import ItemSearch, search_of
from streaming.http.metrics import Metrics
from streaming.http.nearest import NearestItems
from streaming.http.protocol import END_STREAMS
from streaming.http.reader import AnswerReader
from streaming.http.routes import Parts, application
from streaming.http.wire.guard import Guard
from streaming.http.wire.sender import SEND_SECONDS
from streaming.serving.loaded_model import ModelWatch
from streaming.serving.models import finder
from streaming.topics.items import ItemFeed

log = logging.getLogger("intentstore.http")
PROBE_SECONDS = 2.0
SWITCH_SECONDS = 0.0002  # between threads; the default of 5 ms would by itself break a p99 of 5 ms
# a broker that is silent for so long is told as gone; the client's own 30 s would outlast the shop's patience
BROKER_MS = 5_000
ITEMS_SECONDS = (
    10.0  # a model is not used before what may be shown is known, but a broker may be away for long
)
_RECONNECT = {"bootstrap_timeout_ms": BROKER_MS, "reconnect_backoff_max_ms": 1_000}


class Server:
    """All parts of one HTTP side, their threads, and the application in front of them.

    Parameters
    ----------
    settings : Settings
        Addresses, tokens, limits.
    model_dir : Path, optional
        One fixed model folder; none = the promoted one, picked up again at each promotion.
    metrics_dir : Path, optional
        Folder that all workers of this server count in; none = the only process.
    """

    def __init__(
        self, settings: Settings, model_dir: Path | None = None, metrics_dir: Path | None = None
    ) -> None:
        self._settings = settings
        self.metrics, self.board = Metrics(metrics_dir), AnswerBoard()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = threading.Event()
        self.feed = ItemFeed(settings)
        self._stocks = Stocks(file_of(settings), self.feed.now)
        self.watch = ModelWatch(
            finder(settings, model_dir), self._load, self._model_changed, items=self.feed.now
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
        self._item_sender = ItemSender(lambda: _producer(settings), settings.kafka.items_topic)
        self._updates = Batcher(self._item_sender, "item updates")
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
            updates=self._updates,
            stock=self._stocks.now,
        )
        self.api = application(parts, self._lifespan)

    def problems(self) -> dict[str, str]:
        """Say of each part why it is not ready; empty text = ready."""
        model = "" if self.watch.current is not None else self.watch.problem
        return {
            "model": model,
            "online_store": self._store_problem,
            "broker": self.reader.broker_problem,
            "answers": self.reader.problem,
            "catalogue": self.feed.problem,
        }

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[dict[str, object]]:
        self._up()
        try:
            yield {END_STREAMS: self.board.close}
        finally:
            self._down()

    def _up(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        self._loop = asyncio.get_running_loop()
        self._questions.start()
        self._clicks.start()
        self._updates.start()
        self.feed.start()
        self.watch.start(load_first=False)
        self.reader.start()
        self._prober.start()
        # no click: it connects, so that the first one need not wait
        self._connecting = self._loop.create_task(self._clicks.submit([]))

    def _down(self) -> None:
        self._stop.set()
        batchers = self._questions, self._clicks, self._updates
        for part in (
            self.watch,
            self.feed,
            self.reader,
            *batchers,
            self._sender,
            self._item_sender,
            self._rows,
        ):
            part.close()

    def _load(self, path: Path) -> LoadedModel:
        """Load a model, and first what may be shown: a broker that is away leaves what the lake and this home
        know, and /readyz says so.
        """
        if not self.feed.wait(ITEMS_SECONDS):
            log.warning("%s; items are shown as this home knows them", self.feed.problem)
        return load_model(self._settings, path, self._stocks)

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
            self.metrics.streams.set(self.board.open_streams)
            self.metrics.lag.set(self.reader.lag)
            self.metrics.foreign.set(self.reader.foreign)
            for part, problem in self.problems().items():
                self.metrics.ready.labels(part).set(not problem)
            if self._stop.wait(PROBE_SECONDS):
                self._probe_rows.close()
                return


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
