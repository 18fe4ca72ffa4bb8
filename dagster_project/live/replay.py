"""Replays held-out clicks while the real consumer answers them, and measures both from the topics
themselves.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dagster_project.live import redate
from dagster_project.live.drawn import Draw, Sent, following
from dagster_project.live.spread import histogram, hit_rates, quantile
from feature_repo.contract import messages as events
from feature_repo.contract import processes as bound
from feature_repo.contract.events.rules import event_type_of
from feature_repo.contract.session import FoldConfig
from feature_repo.contract.settings import Settings
from spark_jobs.ingest.held_out import held_out_file
from spark_jobs.live import replay
from streaming.services import services as broker
from streaming.topics import dead_letters as dlq
from streaming.topics import ensure as topics
from streaming.topics import foreign
from streaming.topics import watch as kafka_watch

log = logging.getLogger("intentstore.live")
READY_SECONDS = 120.0  # loading the model and the encoder on two busy cores
DRAIN_SECONDS = 180.0  # the last answers come within seconds; longer means that the consumer hangs
POLL_SECONDS = 0.25


class LiveError(RuntimeError):
    """The consumer did not start, ended early or did not keep up; the text names the remedy."""


# One replay, in this order; killed at any point it can be run again, because only clicks that the topic does
# not hold yet are sent:
#   1 what is left to send   2 consumer up and assigned   3 replay   4 wait until nothing is left to answer
#                            5 consumer down   6 measure
def replay_and_answer(
    settings: Settings, *, clicks_per_second: float = 150.0, max_clicks: int = 0, config: str | None = None
) -> dict[str, Any]:
    """Replay the clicks that ingest held back and let one consumer answer them.

    Parameters
    ----------
    settings : Settings
        Broker, topics, model.
    clicks_per_second : float
        Pace.
    max_clicks : int
        At most so many; 0 = all.
    config : str, optional
        Settings file, handed on to the consumer.

    Returns
    -------
    dict
        clicks, answers, dead_letters, duplicates, p50_ms, p99_ms (record time of the click to record time of
        its answer), answers_per_second, seconds, model_version, examples and sent_by_this_run; over the whole
        topic when an earlier run had sent a part.

    Raises
    ------
    LiveError
        The consumer failed.
    """
    broker.up(settings)
    topics.ensure(settings)
    before, started = Ends.now(settings), time.perf_counter()
    known = _event_ids(settings)
    left = redate.still_to_send(settings, known)
    state = kafka_watch.group_state(settings)
    details: dict[str, Any] = {}
    if left or state is None or state.lag:
        details = _answer(settings, left, config, clicks_per_second, max_clicks)
    else:
        log.info(
            "all %d held-out clicks are in the topic and answered; measuring from its records", len(known)
        )
    found = measure(settings, Ends({}, {}, {}) if known else before)
    found["seconds"] = round(time.perf_counter() - started, 1)
    return {
        "rows": found["clicks"],
        **found,
        "sent_by_this_run": int(details.get("sent", 0)),
        "replay": details,
    }


def _event_ids(settings: Settings) -> set[str]:
    """Return the event ids that the clicks topic holds; records that are no clicks have none."""
    found = set()
    for record in _records(settings, settings.kafka.clicks_topic, {}):
        with contextlib.suppress(events.ClickError):
            found.add(events.decode_click(record.value, record.key, record.timestamp * 1000).event_id)
    return found


def _answer(
    settings: Settings,
    left: redate.LeftToSend,
    config: str | None,
    clicks_per_second: float,
    max_clicks: int,
) -> dict[str, Any]:
    started, details = time.perf_counter(), dict[str, Any]()
    command = [sys.executable, "-m", "streaming", "consume", *(("--config", config) if config else ())]
    consumer = bound.start(command, env=_environment(settings), log=settings.home / "demo" / "consumer.log")
    try:
        _wait_until_assigned(settings, consumer)
        log.info(
            "the consumer is ready after %.1f s; %d clicks to send, %.0f a second",
            time.perf_counter() - started,
            len(left),
            clicks_per_second,
        )
        sent = 0
        if left:
            result = replay.send(
                settings,
                left,
                rate=clicks_per_second,
                limit=max_clicks or None,
                source=str(held_out_file(settings)),
            )
            sent, details = result.rows, result.details
        _wait_until_answered(settings, consumer)
    finally:
        bound.stop(consumer, settings.streaming.grace_seconds)
    return {"sent": sent, **details}


def _environment(settings: Settings) -> dict[str, str]:
    return {**os.environ, "INTENTSTORE_HOME": str(settings.home)}


@dataclass(frozen=True)
class Ends:
    """Offsets in the topics, partition (as text) to offset."""

    clicks: dict[str, int]
    answers: dict[str, int]
    dead: dict[str, int]

    @classmethod
    def now(cls, settings: Settings) -> Ends:
        """Return the present ends; empty where a topic does not exist yet."""
        kafka = settings.kafka
        topics = (kafka.clicks_topic, kafka.recommendations_topic, kafka.dead_letter_topic)
        return cls(*(kafka_watch.topic_ends(settings, topic) or {} for topic in topics))

    @classmethod
    def before_now(cls, settings: Settings, records: int) -> Ends:
        """Return offsets so many records (of each partition) before the present ends."""
        ends = cls.now(settings)

        def before(offsets: dict[str, int]) -> dict[str, int]:
            return {partition: max(0, end - records) for partition, end in offsets.items()}

        return cls(before(ends.clicks), before(ends.answers), before(ends.dead))


def _last_line(settings: Settings) -> str:
    """Return the last line of the consumer's log, where it says why it ended."""
    lines = (
        (settings.home / "demo" / "consumer.log").read_text(encoding="utf-8", errors="replace").splitlines()
    )
    return lines[-1].removeprefix("error: ") if lines else "its log is empty"


def _wait_until_assigned(settings: Settings, consumer: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if consumer.poll() is not None:
            raise LiveError(
                f"the consumer ended with {consumer.returncode} before it was ready; its log is "
                f"{settings.home / 'demo' / 'consumer.log'}"
            )
        if kafka_watch.members(settings) > 0:
            return
        time.sleep(POLL_SECONDS)
    raise LiveError(
        f"the consumer was not assigned any partition within {READY_SECONDS:.0f} s; look at `python -m "
        "streaming lag`"
    )


def _wait_until_answered(settings: Settings, consumer: subprocess.Popen[bytes]) -> None:
    deadline, least = time.monotonic() + DRAIN_SECONDS, math.inf
    while time.monotonic() < deadline:
        state = kafka_watch.group_state(settings)
        if state is not None and state.lag == 0:
            return
        if consumer.poll() is not None:
            raise LiveError(
                f"the consumer ended with {consumer.returncode} with clicks unanswered "
                f"({_last_line(settings)}); run the step again to go on"
            )
        if state is not None and state.lag < least:
            least, deadline = state.lag, time.monotonic() + DRAIN_SECONDS  # it moves: give it time
        time.sleep(POLL_SECONDS)
    raise LiveError(
        f"{least} clicks are still unanswered after {DRAIN_SECONDS:.0f} s without progress; look at `python "
        "-m streaming lag`"
    )


def measure(settings: Settings, before: Ends) -> dict[str, Any]:
    """Compare clicks and answers that came since some offsets.

    Parameters
    ----------
    settings : Settings
        Topics.
    before : Ends
        Where to begin.

    Returns
    -------
    dict
        Counts, latencies in milliseconds, answered clicks a second; latencies are none when nothing was
        answered. Records that others wrote to the output topics are ``foreign_records``, and nothing else.
    """
    sent: dict[tuple[int, int], int] = {}
    config, aside = FoldConfig.from_settings(settings.session), set[tuple[int, int]]()
    draw = Draw(following(_clicks(settings, before, sent, config, aside), config.gap_us))
    latencies: list[float] = []
    stamps: list[int] = []
    hits: list[bool] = []
    versions: set[str] = set()
    strangers = dead = 0
    for record in _records(settings, settings.kafka.recommendations_topic, before.answers):
        answer = foreign.answer_of(record.key, record.value)
        if answer is None:
            strangers += 1
            continue
        clicked = sent.get((answer.source.partition, answer.source.offset))
        if clicked is not None:
            latencies.append(float(record.timestamp - clicked))
            stamps.append(record.timestamp)
            versions.add(answer.model_version)
            place = (answer.source.partition, answer.source.offset)
            aside.discard(place)
            draw.offer(answer.session_id, place, record.value)
            if (after := draw.followed.get(place)) is not None:
                hits.append(after.item in [item.item_id for item in answer.items])
    for record in _records(settings, settings.kafka.dead_letter_topic, before.dead):
        letter = dlq.letter_of(record, settings.kafka.clicks_topic, settings.kafka.items_topic)
        strangers += letter.reason == dlq.FOREIGN
        dead += letter.reason != dlq.FOREIGN and letter.topic == settings.kafka.clicks_topic
    span = (max(stamps) - min(stamps)) / 1000 if len(stamps) > 1 else 0.0
    return {
        "clicks": len(sent),
        "answers": len(latencies),
        "dead_letters": dead,
        "foreign_records": strangers,
        "aside": len(aside),
        "duplicates": max(0, len(sent) - len(latencies) - dead - len(aside)),
        "p50_ms": quantile(latencies, 0.50),
        "p99_ms": quantile(latencies, 0.99),
        "latency_histogram": histogram(latencies),
        "hit_rates": hit_rates(hits),
        "answers_per_second": round(len(stamps) / span, 1) if span else None,
        "model_version": ", ".join(sorted(versions)) or None,
        "examples": draw.drawn(),
    }


def _clicks(
    settings: Settings,
    before: Ends,
    sent: dict[tuple[int, int], int],
    config: FoldConfig,
    aside: set[tuple[int, int]],
) -> Iterator[Sent]:
    """Yield the valid clicks since some offsets; ``sent`` gets the times of all records, in milliseconds, and
    ``aside`` the places of events that are no clicks.
    """
    for record in _records(settings, settings.kafka.clicks_topic, before.clicks):
        place = (record.partition, record.offset)
        sent[place] = record.timestamp
        with contextlib.suppress(events.ClickError):
            click = events.decode_click(record.value, record.key, record.timestamp * 1000)
            if config.events.of(event_type_of(click.extra)).folded:
                yield Sent(place, click)
            else:
                aside.add(place)


def _records(settings: Settings, topic: str, since: Mapping[str, int]) -> Iterator[Any]:
    """Yield the client's records of a topic from some offsets to its present end; timestamps in
    milliseconds.
    """
    from kafka import KafkaConsumer, TopicPartition

    ends = kafka_watch.topic_ends(settings, topic) or {}
    left = {int(partition): end for partition, end in ends.items() if end > since.get(partition, 0)}
    if not left:
        return
    consumer = KafkaConsumer(**kafka_watch.options(settings), group_id=None)
    try:
        consumer.assign([TopicPartition(topic, partition) for partition in left])
        for partition in left:
            consumer.seek(TopicPartition(topic, partition), since.get(str(partition), 0))
        while left:
            for part, batch in consumer.poll(timeout_ms=1000).items():
                for record in batch:
                    if record.offset < left.get(part.partition, 0):
                        yield record
            for partition in list(left):
                if consumer.position(TopicPartition(topic, partition)) >= left[partition]:
                    del left[partition]
    finally:
        consumer.close()
