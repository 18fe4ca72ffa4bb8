"""The `session-text` job: for each session the prefix before its last click, as the two prompts that the LLM
would see.
"""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from feature_repo.contract.tables import ITEMS, SESSION_TEXT, SESSION_TEXT_SCHEMA, SESSIONS
from model.intent.ask.llm import tokenizer_file
from model.intent.llm.weights import ModelMissingError
from model.intent.prompts import PromptError, PromptTemplate, TitleCutter, recent_titles, template
from model.text.encoder import EncoderError
from spark_jobs.job import JobError, JobResult
from spark_jobs.lake.changes import ids_of_days
from spark_jobs.lake.frames import spark_schema
from spark_jobs.lake.lake import Lake, MergeResult

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger("intentstore.intents")


def run(
    lake: Lake,
    *,
    date: datetime.date | None = None,
    until: datetime.date | None = None,
) -> JobResult:
    """Bring `session_text` up to date with `sessions` and `items`.

    Parameters
    ----------
    lake : Lake
        Its tables; of its settings ``intents`` (prompt version, items shown, tokens of a title).
    date : datetime.date, optional
        Only session ids with a click on this day (UTC).
    until : datetime.date, optional
        With `date`: on any day from that one to this.

    Returns
    -------
    JobResult
        `details`: ``sessions`` (of two clicks or more), ``untitled`` (sessions of which no item has a title;
        they get no row).

    Raises
    ------
    JobError
        There are no sessions, or the prompt version or tokenizer is missing.
    """
    started = time.monotonic()
    lake.create(SESSION_TEXT)
    sessions = lake.read(SESSIONS).where("length >= 2")
    within = None if date is None else ids_of_days(lake, date, until)
    if within is not None:
        sessions = sessions.join(within, "session_id", "left_semi")
    titles = titles_of(lake)
    if not titles:
        log.info(
            "session-text: no item has a title, so there are no prompts; the pipeline goes on with clicks "
            "alone"
        )
        return _result(lake, started, MergeResult(0, 0, 0), 0, 0)
    try:
        cut = TitleCutter(tokenizer_file(lake.settings), lake.settings.intents.max_title_tokens)
        form = template(lake.settings.intents.prompt_version)
    except (EncoderError, ModelMissingError, PromptError) as error:
        raise JobError(str(error)) from None
    short = {item: cut(title) for item, title in titles.items()}
    frame = _prompts(lake.spark, sessions, short, form, lake.settings.intents.max_items)
    with lake.staged(frame) as rows:
        written = rows.count()
        result = lake.synchronise(SESSION_TEXT, rows, within=within)
    return _result(lake, started, result, sessions.count(), written)


def titles_of(lake: Lake) -> dict[str, str]:
    """Return every item's title by its id; items without one are left out, and so is a missing table."""
    if not lake.exists(ITEMS):
        return {}
    rows = (
        lake.read(ITEMS).where("title is not null and trim(title) <> ''").select("item_id", "title").toArrow()
    )
    return dict(zip(rows.column("item_id").to_pylist(), rows.column("title").to_pylist(), strict=True))


def _prompts(
    spark: SparkSession, sessions: DataFrame, titles: dict[str, str], form: PromptTemplate, max_items: int
) -> DataFrame:
    shared = spark.sparkContext.broadcast(titles)
    short_cut = _identity

    def run_in_worker(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from prompt_batches(batches, shared.value.get, short_cut, form, max_items)

    columns = sessions.select("session_id", "items", "times", "session_date")
    return columns.mapInArrow(run_in_worker, spark_schema(SESSION_TEXT))


def _identity(title: str | None) -> str:
    """Titles are broadcast as they stand in a prompt, so the workers need no tokenizer."""
    return title or ""


def prompt_batches(
    batches: Iterator[pa.RecordBatch],
    titles: Callable[[str], str | None],
    cut: Callable[[str | None], str],
    form: PromptTemplate,
    max_items: int,
) -> Iterator[pa.RecordBatch]:
    """Write the prompts of sessions; runs in Spark's workers.

    Parameters
    ----------
    batches : iterator of pa.RecordBatch
        ``session_id``, ``items``, ``times``, ``session_date``; at least two clicks a session.
    titles : callable
        Item id to title, None without one.
    cut : callable
        Makes a title harmless and short.
    form : PromptTemplate
        The template.
    max_items : int
        Most recent titles shown.

    Yields
    ------
    pa.RecordBatch
        Schema of `session_text`; sessions without a title are left out.
    """
    for batch in batches:
        rows = []
        for session in batch.to_pylist():
            items, names = recent_titles(session["items"][:-1], titles, cut, max_items)
            if items:
                rows.append(
                    {
                        "session_id": session["session_id"],
                        "event_timestamp": session["times"][-2],
                        "items": items,
                        "titles": names,
                        "long_prompt": form.user_text(names, "long"),
                        "short_prompt": form.user_text(names, "short"),
                        "prompt_version": form.version,
                        "session_date": session["session_date"],
                    }
                )
        yield pa.RecordBatch.from_pylist(rows, schema=SESSION_TEXT_SCHEMA)


def _result(
    lake: Lake,
    started: float,
    result: MergeResult,
    sessions: int,
    written: int,
) -> JobResult:
    rows = lake.read(SESSION_TEXT).count()
    details = {"sessions": sessions, "untitled": sessions - written, "deleted": result.deleted}
    version = lake.version(SESSION_TEXT)
    return JobResult(
        SESSION_TEXT, rows, result.inserted, result.updated, 0, version, time.monotonic() - started, details
    )
