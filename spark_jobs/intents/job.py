"""The `intents` job: LLM answers under a budget, cached by content, grounded on items; the fallback source
for the rest.
"""

from __future__ import annotations

import datetime
import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.contract.files import replace_file
from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import INTENT_CACHE, SESSION_INTENTS, SESSION_TEXT
from model.intent.ask.answers import by_kind
from model.intent.ask.asker import recipe_of
from model.intent.ask.endpoint import EndpointError
from model.intent.ask.llm import tokenizer_file
from model.intent.ask.spool import cache_row, spool_folder
from model.intent.ground.known_titles import KnownTitles
from model.intent.ground.live import live_folder
from model.intent.llm.weights import ModelMissingError
from model.intent.prompts import PromptError, TitleCutter
from model.intent.recipe import Recipe
from model.text.encoder import EncoderError
from spark_jobs.intents import cache as intent_cache
from spark_jobs.intents import calls as intent_calls
from spark_jobs.intents import ground as intent_rows
from spark_jobs.intents import prune as intent_prune
from spark_jobs.intents import publish as intent_live
from spark_jobs.intents.explain import explanation
from spark_jobs.intents.keys import keyed
from spark_jobs.job import JobError, JobResult
from spark_jobs.lake.changes import ids_of_days, on_days
from spark_jobs.lake.lake import Lake, MergeResult
from spark_jobs.sessions.text import titles_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger("intentstore.intents")
SPACE_FILE = "space.json"


# One run, in this order; a crash after any step loses no answer, and the next run goes on where this one
# stopped:
#   1 commit what a killed run left in the spool   2 keys of all session texts   3 choose within the budget
#   4 call, each answer spooled at once, committed by batch   5 localiser and student   6 ground what is new
#   or changed   7 live view.
def run(
    lake: Lake,
    *,
    date: datetime.date | None = None,
    until: datetime.date | None = None,
    explain: str | None = None,
    prune: bool = False,
    action: str | None = None,
    misread: bool = False,
) -> JobResult:
    """Bring `session_intents` up to date with `session_text`.

    Parameters
    ----------
    lake : Lake
        Its tables; of its settings ``intents``, ``llm``, ``endpoint``, ``encoder``.
    date : datetime.date, optional
        Only session ids with a click on this day (UTC); the budget is then spent on their sessions of that
        day alone.
    until : datetime.date, optional
        With `date`: on any day from that one to this.
    explain : str, optional
        Change nothing; tell prompt, answer, grounding and cache key of this session in `details`.
    prune : bool
        Also delete cached answers that no session refers to.
    action : str, optional
        ``prune``: make no call and no intent, only delete cached answers that no session refers to, or the
        misread ones.
    misread : bool
        Delete cached answers that older versions misread (thinking, preambles, refusals, a form around a
        name); they are asked again by this run, or with ``action`` by the next one.

    Returns
    -------
    JobResult
        `details`: ``llm_calls`` (made by this run), ``cached`` (chosen sessions that needed none),
        ``failed``, ``empty_answers``, ``failures`` (count by kind), ``kinds`` (what answers were),
        ``llm_seconds``, ``input_tokens``, ``output_tokens``, ``cost``, ``by_source`` (rows of the table),
        ``student`` (agreement), ``pruned``, ``misread``.

    Raises
    ------
    JobError
        The LLM, encoder or prompt version is missing, or no session text was ever made.
    """
    started = time.monotonic()
    lake.create(SESSION_INTENTS)
    recovered = intent_cache.import_spool(lake)
    try:
        if explain is not None:
            return JobResult(SESSION_INTENTS, details={"explanation": explanation(lake, explain)})
        pruned: dict[str, Any] = {}
        if misread:
            pruned["misread"] = intent_prune.misread(lake)
        if action is not None:
            if not misread:
                pruned["pruned"] = intent_prune.orphans(lake)
            return _result(lake, started, MergeResult(0, 0, 0), {"llm_calls": 0, **pruned})
        if lake.settings.intents.source == "none":
            log.info("intents: intents.source is 'none', so no session gets an intent")
            return _result(lake, started, MergeResult(0, 0, 0), {"llm_calls": 0})
        texts = lake.read(SESSION_TEXT)
        texts = (
            texts if date is None else texts.join(ids_of_days(lake, date, until), "session_id", "left_semi")
        )
        if texts.isEmpty():
            log.info(
                "intents: no session has a text (no titles), so there are no intents; the pipeline goes on "
                "with clicks alone"
            )
            return _result(lake, started, MergeResult(0, 0, 0), {"llm_calls": 0})
        return _run(lake, texts, started, {"recovered": recovered, **pruned}, prune, (date, until))
    except (EncoderError, EndpointError, ModelMissingError, PromptError) as error:
        raise JobError(str(error)) from None


def _run(
    lake: Lake,
    texts: DataFrame,
    started: float,
    before: dict[str, Any],
    prune: bool,
    days: tuple[datetime.date | None, datetime.date | None],
) -> JobResult:
    recipe, (date, until) = recipe_of(lake.settings), days
    with lake.staged(keyed(texts, recipe)) as wanted:
        details: dict[str, Any] = {
            "sessions": wanted.count(),
            "llm_calls": 0,
            "cached": 0,
            "failed": 0,
            **before,
        }
        titles = titles_of(lake)
        if recipe is not None:
            due = wanted if date is None else of_days(wanted, date, until)
            details |= _call(lake, recipe, due, KnownTitles(titles.values()))
        localiser = intent_rows.publish_localiser(
            lake, recipe, titles, lambda: _prompt_titles(lake.settings, titles)
        )
        if localiser is None:
            raise JobError(
                "table 'item_vectors' holds no vector; run `python -m spark_jobs item-vectors` first"
            )
        answered = wanted.join(intent_cache.answers(lake), "cache_key", "left")
        student = intent_live.publish_student(lake.settings, localiser, recipe, answered)
        space = intent_rows.space_of(localiser, lake.settings, student)
        moved = space != _space(lake.settings)
        result = _ground(lake, recipe, answered, anew=moved)
        if date is None:
            _write_space(lake.settings, space)
        details |= intent_live.publish_answers(lake, localiser, recipe, anew=moved and date is None)
        if student is not None:
            details["student"] = vars(student.agreement)
        if prune:
            details["pruned"] = intent_cache.prune(lake, wanted)
    return _result(lake, started, result, details)


def of_days(sessions: DataFrame, date: datetime.date, until: datetime.date | None) -> DataFrame:
    """Return the sessions that begin or go on on a day, or from it to another one.

    A job limited to days does the earlier sessions of the same ids too, so that a late click reaches its
    session; these are not worth another call, since the run of their own day had the choice.
    """
    from pyspark.sql import functions as F

    return sessions.where(
        on_days("session_date", date, until)
        | F.to_date("event_timestamp").between(F.lit(date), F.lit(until or date))
    )


def _call(lake: Lake, recipe: Recipe, wanted: DataFrame, titles: KnownTitles) -> dict[str, Any]:
    began = time.monotonic()
    totals: dict[str, Any] = {
        "llm_calls": 0,
        "failed": 0,
        "empty_answers": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "kinds": {},
    }
    failures: list[dict[str, Any]] = []
    with lake.staged(intent_calls.choose(lake, wanted, titles)) as chosen:
        selected = chosen.count()
        known = lake.read(INTENT_CACHE).select("cache_key")
        todo = chosen.join(known, "cache_key", "left_anti").orderBy("cache_key")
        missing = [row["cache_key"] for row in todo.select("cache_key").collect()]
        if missing:
            log.info(
                "intents: %d sessions chosen, %d in the cache, %d calls to %s",
                selected,
                selected - len(missing),
                len(missing),
                recipe.model,
            )
        for start in range(0, len(missing), intent_calls.CALLS_PER_COMMIT):
            keys = missing[start : start + intent_calls.CALLS_PER_COMMIT]
            part = chosen.where(_between(keys[0], keys[-1])).join(known, "cache_key", "left_anti")
            with lake.as_job_error(INTENT_CACHE):
                calls = intent_calls.make(lake, recipe, part, spool_folder(lake.settings), titles)
                outcomes = calls.toArrow().to_pylist()
            made = [cache_row(row, recipe) for row in outcomes if not row["reason"]]
            intent_cache.import_spool(lake, made)
            failures += [
                {"cache_key": row["cache_key"], "reason": row["reason"]} for row in outcomes if row["reason"]
            ]
            _add(totals, outcomes)
    intent_cache.write_retries(lake.settings, failures)
    kinds = _say(failures)
    prices = lake.settings.endpoint
    cost = (
        totals["input_tokens"] * prices.cost_per_million_input_tokens
        + totals["output_tokens"] * prices.cost_per_million_output_tokens
    ) / 1e6
    seconds = time.monotonic() - began if missing else 0.0
    return {
        **totals,
        "failures": kinds,
        "cached": selected - len(missing),
        "llm_seconds": round(seconds, 2),
        "cost": cost,
    }


def _say(failures: list[dict[str, Any]]) -> dict[str, int]:
    """Name every kind of failure with its count and the first reason of its kind; return the counts."""
    kinds = by_kind(failure["reason"] for failure in failures)
    for _, count, first in kinds:
        log.warning("intents: %d of %d failed calls: %s", count, len(failures), first)
    if failures:
        log.warning("intents: %d calls failed; they are made again by the next run", len(failures))
    return {found.kind: found.number for found in kinds}


def _between(first: str, last: str) -> str:
    """Keys are hexadecimal text, so they need no quoting beyond quotes."""
    return f"cache_key >= '{first}' AND cache_key <= '{last}'"


def _add(totals: dict[str, Any], outcomes: list[dict[str, Any]]) -> None:
    for row in outcomes:
        if row["reason"]:
            totals["failed"] += 1
            continue
        totals["llm_calls"] += 1
        totals["input_tokens"] += row["input_tokens"]
        totals["output_tokens"] += row["output_tokens"]
        totals["empty_answers"] += not (row["long_text"] and row["short_text"])
        for kind in (row["long_kind"], row["short_kind"]):
            totals["kinds"][kind] = totals["kinds"].get(kind, 0) + 1


def _prompt_titles(settings: Settings, titles: dict[str, str]) -> dict[str, str]:
    cut = TitleCutter(tokenizer_file(settings), settings.intents.max_title_tokens)
    return {item: cut(title) for item, title in titles.items()}


def _ground(lake: Lake, recipe: Recipe | None, answered: DataFrame, *, anew: bool) -> MergeResult:
    """Ground sessions that have no row yet, or one of another content or source; all of them when the space
    itself changed.
    """
    from pyspark.sql import functions as F

    source = F.lit(recipe.source if recipe else "")
    has_answer = (
        F.col("long_text").isNotNull()
        & (F.col("long_text") != "")
        & F.col("short_text").isNotNull()
        & (F.col("short_text") != "")
    )
    due = answered.withColumn(
        "_source", F.when(has_answer, source).otherwise(F.lit(lake.settings.intents.fallback))
    )
    if not anew:
        rows = lake.read(SESSION_INTENTS)
        made = rows.select(
            "session_id", "event_timestamp", F.col("cache_key").alias("_key"), F.col("source").alias("_made")
        )
        # A student that is not there yet leaves rows of the encoder, which are as good as it gets until it
        # is.
        same = (F.col("_key") == F.col("cache_key")) & (
            (F.col("_made") == F.col("_source"))
            | ((F.col("_source") == "student") & (F.col("_made") == "encoder"))
        )
        due = due.join(made, ["session_id", "event_timestamp"], "left").where(~F.coalesce(same, F.lit(False)))
    columns = due.select(
        "session_id", "event_timestamp", "session_date", "cache_key", "items", "long_text", "short_text"
    )
    with lake.staged(columns) as rows:
        if rows.isEmpty():
            return MergeResult(0, 0, lake.version(SESSION_INTENTS))
        grounded = intent_rows.ground(rows, lake.settings, recipe, live_folder(lake.settings))
        with lake.staged(grounded) as ready:
            return lake.merge(SESSION_INTENTS, ready)


def _space(settings: Settings) -> str:
    path = _space_path(settings)
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["space"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # not written yet, or damaged: all rows are grounded again, which writes it


def _write_space(settings: Settings, space: str) -> None:
    replace_file(_space_path(settings), json.dumps({"space": space}))


def _space_path(settings: Settings) -> Path:
    return settings.home / "intents" / SPACE_FILE


def _result(
    lake: Lake,
    started: float,
    result: MergeResult,
    details: dict[str, Any],
) -> JobResult:
    counted = lake.read(SESSION_INTENTS).groupBy("source").count().collect()
    details["by_source"] = {row["source"]: int(row["count"]) for row in counted}
    version = lake.version(SESSION_INTENTS)
    rows = sum(details["by_source"].values())
    return JobResult(
        SESSION_INTENTS,
        rows,
        result.inserted,
        result.updated,
        0,
        version,
        time.monotonic() - started,
        details,
    )
