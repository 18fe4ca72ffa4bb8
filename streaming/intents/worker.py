"""The near-line intent worker: takes sessions worth an LLM call from a topic, calls within the budget, writes
cache and online store.
"""

from __future__ import annotations

import datetime
import json
import logging
import signal
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import msgspec

from feature_repo.contract.endpoints import online_store_url
from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import SESSION_INTENTS, SESSION_INTENTS_SCHEMA
from feature_repo.stores.packed.client import PackedClient
from feature_repo.stores.packed.codec import PackedSchema
from feature_repo.stores.packed.keys import entity_key, storage_key
from feature_repo.stores.packed.live import PROJECT, kind_of
from model.intent.ask.asker import asker_of, failure_kind, failure_kinds
from model.intent.ask.local import Answer, recipe_of
from model.intent.ask.spool import Spool
from model.intent.ground.known_titles import KnownTitles
from model.intent.ground.live import (
    ANSWERS_FILE,
    LiveIntents,
    answers_table,
    live_folder,
    read_answers,
    write_answers,
)
from model.intent.prompts import recent_titles
from model.intent.recipe import Recipe
from model.intent.types import SessionIntent, ViewIntent
from model.text.encoder import TextEncoder
from streaming.clients import TOOL_TIMEOUT_MS, client_options, finish_join
from streaming.errors import StreamingError
from streaming.intents.requests import CALLED, IntentRequest
from streaming.topics import ensure as topics

log = logging.getLogger("intentstore.near_line")
BATCH = 8  # requests a call: enough for the LLM's batches, few enough that answers come every few seconds
POLL_MS = 500
KEPT_ANSWERS = 50_000  # newest answers in the live file, about 3.5 KB each
_DECODER = msgspec.json.Decoder(IntentRequest)


class NearLine:
    """Answers requests.

    Parameters
    ----------
    settings : Settings
        ``intents`` (source, budget), encoder, home.
    ask : callable
        From lists of titles to answers; calls back with place and answer. None = the configured LLM, loaded
        at the first request.
    max_calls : int, optional
        Instead of ``intents.max_calls``.

    Raises
    ------
    StreamingError
        No LLM is configured, or the `intents` job has not left what live intents need.
    """

    def __init__(
        self, settings: Settings, ask: Callable[..., Any] | None = None, max_calls: int | None = None
    ) -> None:
        if settings.intents.source not in CALLED:
            raise StreamingError(
                f"intents.source = '{settings.intents.source}' calls no LLM; set it to llm or endpoint"
            )
        recipe = recipe_of(settings)
        live = LiveIntents.load(settings)
        if live.localiser is None or live.recipe is None or recipe is None:
            raise StreamingError(
                f"no live intents below '{live_folder(settings)}'; run `python -m spark_jobs intents` first"
            )
        self._settings, self._recipe, self._live, self._localiser = settings, recipe, live, live.localiser
        self._titles: dict[str, str] = json.loads(
            (live_folder(settings) / "prompt_titles.json").read_text(encoding="utf-8")
        )
        self._ask = ask
        self._encoder: TextEncoder | None = None
        self.left = settings.intents.max_calls if max_calls is None else max_calls
        self._client = PackedClient(online_store_url(settings), settings.online.cluster)
        self._schema = intents_schema()
        self.answers = read_answers(live_folder(settings) / ANSWERS_FILE, live.localiser.dim)
        self.called = self.cached = 0

    def handle(self, requests: Sequence[IntentRequest]) -> int:
        """Answer some requests: cached ones at once, the others by calls within the budget.

        Returns
        -------
        int
            Calls made.
        """
        known: list[tuple[IntentRequest, SessionIntent]] = []
        asked: dict[str, tuple[IntentRequest, list[str], list[str]]] = {}
        for request in requests:
            items, titles = recent_titles(request.items, self._titles.get, str, self._recipe.max_items)
            key = self._recipe.key(items, titles) if items else ""
            if key in self.answers:
                self.cached += 1
                known.append((request, self.answers[key]))
            elif key and key not in asked and len(asked) < self.left:
                asked[key] = (request, list(items), list(titles))
        texts = self._call(asked) if asked else {}
        if texts:
            known += self._ground(asked, texts)
            folder = live_folder(self._settings)
            newest = list(self.answers.items())[-KEPT_ANSWERS:]
            write_answers(
                folder / ANSWERS_FILE,
                answers_table([key for key, _ in newest], [intent for _, intent in newest]),
            )
        self._write_online(known)
        return len(texts)

    def close(self) -> None:
        """Return the connections."""
        self._client.close()

    def _call(self, asked: dict[str, tuple[IntentRequest, list[str], list[str]]]) -> dict[str, Answer]:
        """Call the LLM; each answer is in the spool the moment it is there, and the `intents` job commits it
        to the cache table.
        """
        keys, spool = list(asked), Spool(self._settings.home / "intents" / "spool")
        answers: dict[str, Answer] = {}

        def keep(place: int, answer: Answer) -> None:
            key = keys[place]
            answers[key] = answer
            spool.append(cache_row(key, asked[key][1], answer, self._recipe))
            self.left -= 1
            self.called += 1

        try:
            ask = self._ask = self._ask or asker_of(self._settings, KnownTitles(self._titles.values())).ask
            failures = ask([titles for _, _, titles in asked.values()], keep) or []
        finally:
            spool.close()
        for kind, count in failure_kinds(reason for _, reason in failures).items():
            first = next(reason for _, reason in failures if failure_kind(reason) == kind)
            log.warning("%d of %d calls failed: %s", count, len(asked), first)
        return {key: answer for key, answer in answers.items() if answer.long_text and answer.short_text}

    def _ground(
        self, asked: dict[str, tuple[IntentRequest, list[str], list[str]]], texts: dict[str, Answer]
    ) -> list[tuple[IntentRequest, SessionIntent]]:
        self._encoder = self._encoder or TextEncoder.load(self._settings.encoder)
        lines = [answer.long_text for answer in texts.values()] + [
            answer.short_text for answer in texts.values()
        ]
        views = [
            ViewIntent(line, *found)
            for line, found in zip(lines, self._localiser.ground(self._encoder.encode(lines)), strict=True)
        ]
        pairs = []
        for place, key in enumerate(texts):
            self.answers[key] = SessionIntent(
                views[place], views[len(texts) + place], self._recipe.source, key
            )
            pairs.append((asked[key][0], self.answers[key]))
        return pairs

    def _write_online(self, known: Sequence[tuple[IntentRequest, SessionIntent]]) -> None:
        rows = []
        for request, intent in known:
            values: dict[str, Any] = {"source": intent.source, "cache_key": intent.cache_key}
            for name, view in (("long", intent.long), ("short", intent.short)):
                parts: dict[str, Any] = {
                    "text": view.text,
                    "items": list(view.items),
                    "cosines": list(view.cosines),
                    "vector": view.vector,
                }
                values.update({f"{name}_{part}": value for part, value in parts.items()})
            packed = self._schema.encode(values, request.event_time_us, time.time_ns() // 1000)
            rows.append(
                (
                    storage_key(PROJECT, SESSION_INTENTS, entity_key({"session_id": request.session_id})),
                    packed,
                )
            )
        if rows:
            self._client.write(rows, 0)


def intents_schema() -> PackedSchema:
    """Schema of the view `session_intents` as it is packed online, from the contract's fields."""
    left_out = {"session_id", "event_timestamp", "created", "session_date"}
    return PackedSchema(
        SESSION_INTENTS,
        tuple(
            (field.name, kind_of(field.type))
            for field in SESSION_INTENTS_SCHEMA
            if field.name not in left_out
        ),
    )


def cache_row(key: str, items: Sequence[str], answer: Answer, recipe: Recipe) -> dict[str, Any]:
    """Give an answer as a row of `intent_cache`; ``created`` as ISO 8601 text."""
    return {
        **vars(answer),
        "cache_key": key,
        "items": list(items),
        "source": recipe.source,
        "model": recipe.model,
        "prompt_version": recipe.prompt_version,
        "created": datetime.datetime.now(datetime.UTC).isoformat(),
    }


def main(settings: Settings, *, until_idle_seconds: float | None = None, max_calls: int | None = None) -> int:
    """Run the worker until SIGTERM, idle, or the budget is spent; prints one JSON line with what it did.

    Parameters
    ----------
    settings : Settings
        All of it.
    until_idle_seconds : float, optional
        End when nothing came for so long.
    max_calls : int, optional
        Instead of ``intents.max_calls``.

    Returns
    -------
    int
        Exit code.

    Raises
    ------
    StreamingError
        See ``NearLine``; or the broker does not answer.
    """
    from kafka import KafkaConsumer
    from kafka.errors import KafkaError

    worker = NearLine(settings, max_calls=max_calls)
    topics.ensure(settings)
    stopped: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        reader = KafkaConsumer(
            settings.kafka.intent_requests_topic,
            **client_options(settings),
            bootstrap_timeout_ms=TOOL_TIMEOUT_MS,
            group_id=f"{settings.streaming.group}-intents",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=BATCH,
        )
        last = time.monotonic()
        while (
            not stopped
            and worker.left > 0
            and (until_idle_seconds is None or time.monotonic() - last < until_idle_seconds)
        ):
            requests = [
                one
                for batch in reader.poll(timeout_ms=POLL_MS).values()
                for record in batch
                if (one := _request(record.value)) is not None
            ]
            finish_join(reader)
            if requests:
                last = time.monotonic()
                log.info(
                    "%d requests, %d calls, %d left", len(requests), worker.handle(requests), worker.left
                )
                reader.commit()
        reader.close(autocommit=False)
    except KafkaError as error:
        raise StreamingError(
            f"requests for intents cannot be read ({error}); is the broker running?"
        ) from None
    finally:
        worker.close()
    print(json.dumps({"called": worker.called, "cached": worker.cached, "left": worker.left}), flush=True)
    return 0


def _request(value: bytes | None) -> IntentRequest | None:
    try:
        return _DECODER.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        log.warning("a request that is none was left out: %s", error)
        return None
