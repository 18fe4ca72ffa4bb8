"""The words of the command line: every job with its flags, the table that it writes and an example. Runs
none of them.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer


@dataclass(frozen=True)
class Flag:
    """One flag of a job; `setting` = dotted setting it overrides, none = handed to the job's ``run`` by its
    name.
    """

    name: str
    help: str
    kind: Callable[[str], Any] = str  # str, int, float, bool, Path, or `date_of`
    setting: str | None = None


@dataclass(frozen=True)
class Job:
    """One word of the command line: the module with ``run``, its flags, the table that it writes, and whether
    it needs Spark.
    """

    module: str
    help: str
    flags: tuple[Flag, ...] = ()
    table: str | None = None
    spark: bool = True
    actions: tuple[str, ...] = ()  # a word behind the job, which does this alone


def date_of(text: str | None) -> datetime.date | None:
    """Read the value of a flag as a date; None stays None."""
    try:
        return None if text is None else datetime.date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no date; expected YYYY-MM-DD") from None


_UNTIL = Flag("until", "with --date: the last of several days, YYYY-MM-DD", date_of)
_BROKER = Flag(
    "bootstrap-servers",
    "Kafka broker, host:port[,host:port]; none = the embedded one",
    setting="kafka.bootstrap_servers",
)
JOBS: dict[str, Job] = {
    "ingest": Job(
        "ingest.job",
        "clicks and items of a dataset folder, ML-100K or Kafka into Delta",
        (
            Flag("dataset", "dataset folder (clicks.*, items.*); none = ML-100K", Path, "dataset.path"),
            Flag("kafka", "read the clicks topic from where the table stops, instead of files", bool),
            Flag("items", "read the items topic from where the table stops: the live catalogue", bool),
            Flag(
                "score-log", "commit what the consumer served (HOME/score_log) to the table score_log", bool
            ),
            Flag("max-offsets", "with --kafka or --items: at most so many records of each partition", int),
            _BROKER,
            _UNTIL,
        ),
        "clicks",
    ),
    "quarantine": Job(
        "ingest.quarantine",
        "print the rows that ingest refused, by reason (starts no Spark)",
        (Flag("reason", "only rows whose reason holds this text", str),),
        spark=False,
    ),
    "sessionise": Job("sessions.cut", "sessions by the gap rule, split by time", (_UNTIL,), "sessions"),
    "item-vectors": Job("items.vectors", "title vectors of the text encoder", table="item_vectors"),
    "session-text": Job("sessions.text", "long and short prompts of each session", (_UNTIL,), "session_text"),
    "intents": Job(
        "intents.job",
        "long and short intents: LLM under a budget, cached, grounded on items",
        (
            Flag("max-calls", "at most so many sessions are sent to the LLM", int, "intents.max_calls"),
            Flag("source", "llm, endpoint, encoder or none", str, "intents.source"),
            Flag("explain", "print prompt, answer, grounding and cache key of one session", str),
            Flag("prune", "drop cached answers that no table refers to", bool),
            Flag(
                "misread",
                (
                    "drop cached answers that older versions misread (thinking, preambles, refusals); they "
                    "are asked again"
                ),
                bool,
            ),
            _UNTIL,
        ),
        "session_intents",
        actions=("prune",),
    ),
    "intents-report": Job("intents.report", "what the intents run did: calls, cached, grounded, copied"),
    "session-features": Job(
        "sessions.features", "features after each click, by the one fold", (_UNTIL,), "session_features"
    ),
    "item-popularity": Job(
        "items.popularity", "daily click counts and ranks of each item", table="item_popularity"
    ),
    "training-set": Job(
        "sessions.training_set",
        "cases with the features known at their time, through Feast",
        (Flag("pin", "TABLE=VERSION[,...]: Delta versions to read instead of the newest", str),),
        "training_set",
    ),
    "replay": Job(
        "live.replay",
        "clicks to a Kafka topic in their original order",
        (
            Flag("topic", "topic to send to; none = kafka.clicks_topic", str),
            Flag("rate", "clicks a second; none = as fast as possible", float),
            Flag("limit", "at most so many clicks", int),
            Flag("held-out", "send the clicks that ingest held back, instead of the table's", bool),
            Flag("from-time", "first event time, ISO 8601", str),
            Flag("to-time", "first event time not sent any more, ISO 8601", str),
            Flag("pin", "Delta version of clicks to read", int),
            _BROKER,
        ),
    ),
    "parity": Job(
        "live.parity",
        "features served live against a batch recomputation",
        (Flag("no-online", "leave the online store out", bool),),
    ),
    "live-quality": Job(
        "live.quality", "what answers were worth, by the next click of their session", table="live_quality"
    ),
}


# Where a job stands in a user's day, by example; the others are known by their names.
EXAMPLES = {
    "ingest": "intentstore ingest --dataset data/shop",
    "intents": "intentstore intents --source llm --max-calls 500",
    "replay": "intentstore replay --held-out --rate 50",
    "parity": "intentstore parity --json",
    "live-quality": "intentstore quality --json",
}
