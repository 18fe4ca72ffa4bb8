"""The near-line intent worker: takes sessions worth an LLM call from a topic, calls within the budget, writes
cache and online store.
"""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any, NamedTuple

import msgspec

from feature_repo.contract.endpoints import online_store_url
from feature_repo.contract.settings import ASKED_SOURCES, Settings
from feature_repo.contract.tables import (
    SESSION_INTENT_NAME_FIELDS,
    SESSION_INTENT_NAMES,
    SESSION_INTENTS,
    SESSION_INTENTS_SCHEMA,
)
from feature_repo.stores.packed.client import PackedClient
from feature_repo.stores.packed.codec import PackedSchema
from feature_repo.stores.packed.keys import entity_key, storage_key
from feature_repo.stores.packed.live import PROJECT, kind_of
from model.intent.ask.answers import Answer, Asker, by_kind
from model.intent.ask.asker import asker_of, recipe_of
from model.intent.ask.loop import Question, ask_missing
from model.intent.ask.spool import Spool, cache_row, spool_folder
from model.intent.ground.grounded import ground_answers
from model.intent.ground.known_titles import KnownTitles
from model.intent.ground.live import (
    ANSWERS_FILE,
    TITLES_FILE,
    LiveIntents,
    answers_table,
    live_folder,
    read_answers,
    write_answers,
)
from model.intent.prompts import recent_titles
from model.intent.types import SessionIntent
from model.text.encoder import TextEncoder
from streaming.clients import TOOL_TIMEOUT_MS, client_options, finish_join
from streaming.errors import StreamingError
from streaming.intents.requests import IntentRequest
from streaming.topics import ensure as topics

log = logging.getLogger("intentstore.near_line")
BATCH = 8  # requests a call: enough for the LLM's batches, few enough that answers come every few seconds
POLL_MS = 500
KEPT_ANSWERS = 50_000  # newest answers in the live file, about 3.5 KB each
_DECODER = msgspec.json.Decoder(IntentRequest)


class Asked(NamedTuple):
    """A request and the question that it comes to."""

    request: IntentRequest
    question: Question


class Answered(NamedTuple):
    """A request and its intent."""

    request: IntentRequest
    intent: SessionIntent


class NearLine:
    """Answers requests.

    Parameters
    ----------
    settings : Settings
        ``intents`` (source, budget), encoder, home.
    asker : Asker, optional
        Whom to ask; none = the LLM of the settings, loaded at the first request.
    max_calls : int, optional
        Instead of ``intents.max_calls``.

    Raises
    ------
    StreamingError
        No LLM is configured, or the `intents` job has not left what live intents need.
    """

    def __init__(self, settings: Settings, asker: Asker | None = None, max_calls: int | None = None) -> None:
        if settings.intents.source not in ASKED_SOURCES:
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
            (live_folder(settings) / TITLES_FILE).read_text(encoding="utf-8")
        )
        self._asker = asker
        self._encoder: TextEncoder | None = None
        self.left = settings.intents.max_calls if max_calls is None else max_calls
        self._client = PackedClient(online_store_url(settings), settings.online.cluster)
        self._schemas = {SESSION_INTENTS: intents_schema(), SESSION_INTENT_NAMES: names_schema()}
        self.answers = read_answers(live_folder(settings) / ANSWERS_FILE, live.localiser.dim)
        self.called = self.cached = 0

    def handle(self, requests: Sequence[IntentRequest]) -> int:
        """Answer some requests: cached ones at once, the others by calls within the budget.

        Returns
        -------
        int
            Calls made.
        """
        known: list[Answered] = []
        asked: dict[str, Asked] = {}
        for request in requests:
            items, titles = recent_titles(request.items, self._titles.get, str, self._recipe.max_items)
            key = self._recipe.key(items, titles) if items else ""
            if key in self.answers:
                self.cached += 1
                known.append(Answered(request, self.answers[key]))
            elif key and key not in asked and len(asked) < self.left:
                asked[key] = Asked(request, Question(key, tuple(items), tuple(titles)))
        rows = self._call([one.question for one in asked.values()])
        if rows:
            self._encoder = self._encoder or TextEncoder.load(self._settings.encoder)
            for intent in ground_answers(self._localiser, self._encoder.encode, self._recipe.source, rows):
                self.answers[intent.cache_key] = intent
                known.append(Answered(asked[intent.cache_key].request, intent))
            folder = live_folder(self._settings)
            newest = list(self.answers.items())[-KEPT_ANSWERS:]
            write_answers(
                folder / ANSWERS_FILE,
                answers_table([key for key, _ in newest], [intent for _, intent in newest]),
            )
        self._write_online(known)
        return len(rows)

    def close(self) -> None:
        """Return the connections."""
        self._client.close()

    def _call(self, questions: Sequence[Question]) -> list[dict[str, Any]]:
        """Call the LLM; each answer is in the spool the moment it is there, and the `intents` job commits it
        to the cache table. Returns the rows of the answers with both views.
        """
        if not questions:
            return []
        spool, rows = Spool(spool_folder(self._settings)), list[dict[str, Any]]()

        def keep(question: Question, answer: Answer) -> None:
            row = cache_row(
                {**vars(answer), "cache_key": question.key, "items": question.items}, self._recipe
            )
            spool.append(row)
            rows.append(row)
            self.left -= 1
            self.called += 1

        try:
            failures = ask_missing(self._loaded_asker, questions, self.answers, keep)
        finally:
            spool.close()
        for _, count, first in by_kind(failure.reason for failure in failures):
            log.warning("%d of %d calls failed: %s", count, len(questions), first)
        return [row for row in rows if row["long_text"] and row["short_text"]]

    def _loaded_asker(self) -> Asker:
        self._asker = self._asker or asker_of(self._settings, KnownTitles(self._titles.values()))
        return self._asker

    def _write_online(self, known: Sequence[Answered]) -> None:
        named = self._live.named([one.intent for one in known], [one.request.items for one in known])
        rows = []
        for (request, _), intent in zip(known, named, strict=True):
            row, entity = intent.to_row(), entity_key({"session_id": request.session_id})
            for view, schema in self._schemas.items():
                values = {name: row[name] for name, _ in schema.fields}
                packed = schema.encode(values, request.event_time_us, time.time_ns() // 1000)
                rows.append((storage_key(PROJECT, view, entity), packed))
        if rows:
            self._client.write(rows, 0)


def intents_schema() -> PackedSchema:
    """Schema of the view `session_intents` as it is packed online, from the contract's fields."""
    names = {name for name, _ in SESSION_INTENT_NAME_FIELDS}
    left_out = {"session_id", "event_timestamp", "created", "session_date", *names}
    return PackedSchema(
        SESSION_INTENTS,
        tuple(
            (field.name, kind_of(field.type))
            for field in SESSION_INTENTS_SCHEMA
            if field.name not in left_out
        ),
    )


def names_schema() -> PackedSchema:
    """Schema of the view `session_intent_names`, from the contract's fields."""
    fields = tuple((name, kind_of(kind)) for name, kind in SESSION_INTENT_NAME_FIELDS)
    return PackedSchema(SESSION_INTENT_NAMES, fields)


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
