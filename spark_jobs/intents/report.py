"""The `intents-report` job: what the intents are and what they are worth on this data, beside plain
predictors and controls.
"""

from __future__ import annotations

import datetime
import json
import time
from typing import Any

import numpy as np

from feature_repo.contract.files import replace_file
from feature_repo.contract.settings import ASKED_SOURCES
from feature_repo.contract.tables import INTENT_CACHE, SESSION_INTENTS, SESSION_TEXT, SESSIONS
from model.intent.ask.asker import recipe_of
from model.intent.ground.known_titles import KnownTitles
from model.intent.ground.live import live_folder
from model.intent.ground.localiser import ITEMS_FILE, Localiser
from model.intent.ground.report import Case, by_budget, cosine_quantiles, hit_table, shares
from model.intent.ground.student import STUDENT_FILE, Student
from spark_jobs.intents.cache import read_failures, read_kinds
from spark_jobs.intents.calls import choose
from spark_jobs.intents.ground import arrow_of
from spark_jobs.intents.keys import keyed
from spark_jobs.job import JobError, JobResult
from spark_jobs.lake.lake import Lake
from spark_jobs.sessions.text import titles_of

MOST_CASES = 5_000  # of each source; the interval of a hit rate is then below +-1.4 %
SAMPLES = 20
REPORT_FILE = "report.json"


def run(lake: Lake, *, date: datetime.date | None = None) -> JobResult:
    """Report on the intents of the sessions of now.

    Parameters
    ----------
    lake : Lake
        Its tables and home.
    date : datetime.date, optional
        Only sessions of this day (UTC).

    Returns
    -------
    JobResult
        `details`: by source ``shares``, ``cosines``, ``hits`` (hit@20 with intervals, beside random,
        popularity, last item, mean of titles, co-occurrence and shuffled intents) and ``samples``; ``calls``,
        ``tokens``, ``budget`` (marginal value), ``student``; ``kinds`` (by model, what its answers were: a
        name, a list, JSON, reasoning before it ...), ``failures`` (of the last run, by kind). The same is
        written to HOME/intents/report.json.

    Raises
    ------
    JobError
        There are no intents yet.
    """
    started = time.monotonic()
    if not lake.exists(SESSION_INTENTS) or not (live_folder(lake.settings) / ITEMS_FILE).is_file():
        raise JobError(
            "there are no intents yet; run `python -m spark_jobs intents` first (a dataset without titles "
            "has none)"
        )
    localiser = Localiser.load(live_folder(lake.settings))
    titles = titles_of(lake)
    counts, following = _clicks(lake)
    report: dict[str, Any] = {
        "sources": {},
        **_calls(lake),
        "kinds": read_kinds(lake.settings),
        "failures": read_failures(lake.settings),
    }
    total = 0
    for source, cases in _cases(lake, date).items():
        total += len(cases)
        hits = hit_table(
            cases,
            localiser,
            counts,
            lambda item: following.get(item, counts),
            half_life=lake.settings.intents.recency_half_life,
        )
        report["sources"][source] = {
            "sessions": len(cases),
            "shares": shares(cases, lambda item: titles.get(item, item)),
            "cosines": cosine_quantiles(cases),
            "hits": hits,
            "samples": _samples(cases, titles),
        }
        if source in ASKED_SOURCES:
            worth = _worth(lake, KnownTitles(titles.values()))
            report["budget"] = by_budget(
                sorted(cases, key=lambda case: -worth.get(case.cache_key, 0.0)),
                localiser,
                half_life=lake.settings.intents.recency_half_life,
            )
    student = live_folder(lake.settings) / STUDENT_FILE
    report["student"] = vars(Student.load(student).agreement) if student.is_file() else None
    path = lake.settings.home / "intents" / REPORT_FILE
    replace_file(path, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    version = lake.version(SESSION_INTENTS)
    return JobResult(
        SESSION_INTENTS, total, delta_version=version, seconds=time.monotonic() - started, details=report
    )


def _clicks(lake: Lake) -> tuple[list[str], dict[str, list[str]]]:
    """Return items by clicks, and by item what followed it; both over prefixes only, so that no target is
    counted.
    """
    from pyspark.sql import functions as F

    prefixes = (
        lake.read(SESSIONS).where("length >= 2").select(F.expr("slice(items, 1, length - 1)").alias("items"))
    )
    counts = (
        prefixes.select(F.explode("items").alias("item"))
        .groupBy("item")
        .count()
        .orderBy(F.desc("count"), "item")
        .limit(1_000)
        .collect()
    )
    pairs = prefixes.where("size(items) >= 2").selectExpr(
        "explode(transform(sequence(1, size(items) - 1), i -> struct(items[i - 1] as a, items[i] as b))) "
        "as pair"
    )
    rows = (
        pairs.groupBy(F.col("pair.a").alias("a"), F.col("pair.b").alias("b"))
        .count()
        .orderBy("a", F.desc("count"), "b")
    )
    following: dict[str, list[str]] = {}
    table = arrow_of(rows, lake.settings)
    for item, after in zip(table.column("a").to_pylist(), table.column("b").to_pylist(), strict=True):
        kept = following.setdefault(item, [])
        if len(kept) < 200:
            kept.append(after)
    return [row["item"] for row in counts], following


def _calls(lake: Lake) -> dict[str, Any]:
    if not lake.exists(INTENT_CACHE):
        return {"calls": 0}
    sums = (
        "count(*) as calls",
        "coalesce(sum(input_tokens), 0) as input_tokens",
        "coalesce(sum(output_tokens), 0) as output_tokens",
    )
    row = lake.read(INTENT_CACHE).selectExpr(*sums).first()
    return {
        "calls": int(row["calls"]),
        "input_tokens": int(row["input_tokens"]),
        "output_tokens": int(row["output_tokens"]),
    }


def _worth(lake: Lake, titles: KnownTitles) -> dict[str, float]:
    """Return what the budget's rule says of each session that it would choose, by cache key."""
    wanted = keyed(lake.read(SESSION_TEXT), recipe_of(lake.settings))
    rows = choose(lake, wanted, titles).select("cache_key", "worth").toArrow()
    return dict(zip(rows.column("cache_key").to_pylist(), rows.column("worth").to_pylist(), strict=True))


def _cases(lake: Lake, date: datetime.date | None) -> dict[str, list[Case]]:
    from pyspark.sql import functions as F

    intents = lake.read(SESSION_INTENTS)
    if date is not None:
        intents = intents.where(F.col("session_date") == F.lit(date))
    texts = lake.read(SESSION_TEXT).select("session_id", "event_timestamp", "items")
    targets = (
        lake.read(SESSIONS)
        .where("length >= 2")
        .selectExpr("session_id", "times[length - 2] as event_timestamp", "items[length - 1] as target")
    )
    joined = intents.join(texts, ["session_id", "event_timestamp"]).join(
        targets, ["session_id", "event_timestamp"]
    )
    found: dict[str, list[Case]] = {}
    for source in sorted(row["source"] for row in intents.select("source").distinct().collect()):
        part = (
            joined.where(F.col("source") == source)
            .orderBy(F.xxhash64("session_id", "event_timestamp"))
            .limit(MOST_CASES)
        )
        found[source] = [_case(row) for row in arrow_of(part, lake.settings).to_pylist()]
    return {source: cases for source, cases in found.items() if cases}


def _case(row: dict[str, Any]) -> Case:
    return Case(
        row["session_id"],
        tuple(row["items"]),
        row["target"],
        row["source"],
        row["long_text"] or "",
        row["short_text"] or "",
        tuple(row["long_items"]),
        tuple(row["short_items"]),
        max(row["long_cosines"], default=0.0),
        max(row["short_cosines"], default=0.0),
        np.asarray(row["long_vector"], np.float32),
        np.asarray(row["short_vector"], np.float32),
        row["cache_key"],
        row["long_name"] or "",
        row["short_name"] or "",
        tuple(row["long_shown"] or ()),
        tuple(row["short_shown"] or ()),
    )


def _samples(cases: list[Case], titles: dict[str, str]) -> list[dict[str, Any]]:
    def named(items: tuple[str, ...]) -> list[str]:
        return [titles.get(item, item) for item in items]

    return [
        {
            "session_id": case.session_id,
            "session": named(case.items),
            "long_name": case.long_name,
            "long_shown": named(case.long_shown),
            "long": case.long_text,
            "long_items": named(case.long_items),
            "short_name": case.short_name,
            "short_shown": named(case.short_shown),
            "short": case.short_text,
            "short_items": named(case.short_items),
            "next": titles.get(case.target, case.target),
        }
        for case in cases[:SAMPLES]
    ]
