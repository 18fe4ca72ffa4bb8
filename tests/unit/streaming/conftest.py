"""The HTTP application on its own event loop, without Kafka, valkey or a trained model. The real parts:
tests/integration.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import NamedTuple

import httpx
import numpy as np
import pytest

from feature_repo.contract.session import FoldConfig
from model.data.catalogue import Catalogue
from model.recommender.limits import Shelf
from model.recommender.loaded_model import LoadedModel
from model.recommender.stock import Stock
from streaming.http.batcher import Batcher
from streaming.http.board import AnswerBoard
from streaming.http.catalogue.updates import ItemResult
from streaming.http.clicks import ClickResult
from streaming.http.engine import Engine, SessionRow
from streaming.http.items import ItemSearch
from streaming.http.metrics import Metrics
from streaming.http.routes import Parts, application
from streaming.http.wire.guard import Guard

PATIENCE_SECONDS = 180.0  # a bound against hanging for ever, not a measure
TITLES = {"1": "Star Wars", "2": "Alien", "3": "<b>Fargo</b>"}
ROW = {
    "items": ["1", "2"],
    "last_item": "2",
    "click_count": 2,
    "distinct_items": 2,
    "repeat_share": 0.0,
    "duration_seconds": 5.0,
    "mean_gap_seconds": 5.0,
    "last_gap_seconds": 5.0,
    "late_clicks": 0,
    "session_start": 1_600_000_000_000_000,
}


class Scored(NamedTuple):
    items: tuple
    scores: tuple
    reasons: tuple
    because: tuple = ()
    sources: tuple = ()


class LastFirst:
    """Ranks the session backwards, so that an answer shows which session was scored."""

    version = "toy"
    item_ids = list(TITLES)
    catalogue = Catalogue.build([*TITLES, "4"], [*TITLES.values(), "Gone"], ["Comedy"] * 3 + ["Gone"])
    counts = np.ones(4, dtype=np.int64)

    def score(self, requests, k):
        ranked = [self.allowed(request)[:k] for request in requests]
        answers = []
        for items in ranked:
            scores = tuple(1.0 / (n + 1) for n in range(len(items)))
            answers.append(Scored(items, scores, ("because",) * len(items), ("",) * len(items)))
        return answers

    def allowed(self, request):
        ranked = tuple(reversed(request.items))
        if request.allowed is None:
            return ranked
        place_of = self.catalogue.index
        return tuple(one for one in ranked if one not in place_of or request.allowed[place_of[one]])


class Rows:
    def __init__(self):
        self.down = False

    def read_rows(self, ids):
        if self.down:
            raise ConnectionError("valkey is gone")
        if "other schema" in ids:
            raise ValueError(
                "the value of 'other schema' was written by another version of the view; materialise it again"
            )
        return [
            SessionRow("PRESENT", 1_600_000_005_000_000, 7, dict(ROW))
            if name in {"s", "a/b c"}
            else SessionRow("NOT_FOUND")
            for name in ids
        ]


class Setting(NamedTuple):
    client: httpx.AsyncClient
    parts: Parts
    rows: Rows
    sent: list


def _drive(
    scenario,
    *,
    tokens=(),
    host="127.0.0.1",
    model=True,
    problems=None,
    send=None,
    waiting=500,
    max_body_bytes=10_000,
    stock=Stock,
):
    """Run a scenario against an application on its own event loop; ``send`` stands in for Kafka."""

    async def run():
        rows, sent = Rows(), []
        shelf = Shelf(LastFirst.catalogue, LastFirst.counts, frozenset({"4"}))
        loaded = LoadedModel(LastFirst(), None, None, SimpleNamespace(now=lambda: shelf)) if model else None
        engine = Engine(rows, lambda: loaded, FoldConfig(gap_us=600_000_000, max_items=3))

        def accept(batches):
            sent.extend(checked for batch in batches for checked in batch)
            return [
                [ClickResult("accepted", checked.click.event_id, 0, n) for n, checked in enumerate(batch)]
                for batch in batches
            ]

        def take_items(batches):
            sent.extend(checked for batch in batches for checked in batch)
            return [
                [ItemResult("accepted", one.update.item_id, 0, n) for n, one in enumerate(batch)]
                for batch in batches
            ]

        search = ItemSearch(Catalogue.build(list(TITLES), list(TITLES.values())))
        parts = Parts(
            Batcher(engine, "q", waiting=waiting),
            Batcher(send or accept, "c", waiting=waiting),
            AnswerBoard(),
            Guard(tokens, host),
            Metrics(),
            lambda: problems or {"model": ""},
            (lambda: search) if model else (lambda: None),
            lambda: None,
            max_body_bytes,
            Batcher(send or take_items, "i", waiting=waiting),
            stock,
        )
        parts.questions.start()
        parts.clicks.start()
        parts.updates.start()
        transport = httpx.ASGITransport(application(parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as connection:
            try:
                return await scenario(Setting(connection, parts, rows, sent))
            finally:
                parts.questions.close()
                parts.clicks.close()
                parts.updates.close()

    return asyncio.run(asyncio.wait_for(run(), PATIENCE_SECONDS))


@pytest.fixture
def drive():
    """Runs a scenario, an async function of a ``Setting``, and gives its result."""
    return _drive


@pytest.fixture
def get():
    """Gives the response to one GET."""

    def one(path, **options):
        async def scenario(setting):
            return await setting.client.get(path)

        return _drive(scenario, **options)

    return one
