"""The calls to the LLM: which sessions get one, and the work of Spark's Python workers that make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import SESSIONS
from model.intent.answer.reading import ANY_TITLE
from model.intent.ask.answers import Answer, Asker
from model.intent.ask.asker import asker_of
from model.intent.ask.budget import RECENCY_DAYS, affordable, unsureness
from model.intent.ask.endpoint import EndpointError
from model.intent.ask.llm import token_bound
from model.intent.ask.loop import Question, ask_missing
from model.intent.ask.spool import Spool, cache_row
from model.intent.ground.known_titles import KnownTitles
from model.intent.llm.weights import ModelMissingError
from model.intent.recipe import Recipe
from spark_jobs.job import JobError
from spark_jobs.lake.lake import Lake

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

SESSIONS_PER_WORKER = 12  # below that a second worker costs more to load the model than it saves
CALLS_PER_COMMIT = 2_000

# What a worker gives back for each call; `reason` is empty when it succeeded.
OUTCOME = pa.schema(
    [
        ("cache_key", pa.string()),
        ("items", pa.list_(pa.string())),
        ("long_text", pa.string()),
        ("short_text", pa.string()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("seconds", pa.float64()),
        ("reason", pa.string()),
        ("long_kind", pa.string()),
        ("short_kind", pa.string()),
    ]
)


def choose(lake: Lake, wanted: DataFrame, titles: KnownTitles = ANY_TITLE) -> DataFrame:
    """Choose the sessions that get an LLM intent, best first, within the budget.

    A call is worth most where the clicks leave doubt about the next item (entropy of what followed the
    prefix's last item), where the session is recent, and where most of its items have a title. The choice is
    over all sessions, answered or not, so that a second run chooses the same and makes no call.

    Parameters
    ----------
    wanted : DataFrame
        ``cache_key, items, titles, event_timestamp, characters, titled``; one row a session.
    titles : KnownTitles
        Of the catalogue: how long an answer may become, which a bound of money must count.

    Returns
    -------
    DataFrame
        Distinct ``cache_key, items, titles, worth``; at most ``intents.max_calls`` rows, and within
        ``intents.max_cost``.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.window import Window

    newest = wanted.agg(F.max("event_timestamp")).first()[0]
    if newest is None:
        return wanted.limit(0).select("cache_key", "items", "titles", F.lit(0.0).alias("worth"))
    days = (F.lit(newest).cast("long") - F.col("event_timestamp").cast("long")) / 86_400.0
    scored = (
        wanted.withColumn("last_item", F.element_at("items", -1))
        .join(_unsureness(lake), "last_item", "left")
        .withColumn(
            "worth",
            F.coalesce("unsure", F.lit(1.0)) * F.pow(F.lit(0.5), days / RECENCY_DAYS) * F.col("titled"),
        )
    )
    once = F.row_number().over(
        Window.partitionBy("cache_key").orderBy(F.desc("worth"), "session_id", "event_timestamp")
    )
    best = (
        scored.withColumn("_once", once)
        .where("_once = 1")
        .orderBy(F.desc("worth"), "cache_key")
        .limit(lake.settings.intents.max_calls)
    )
    if lake.settings.intents.max_cost is None:
        return best.select("cache_key", "items", "titles", "worth")
    characters = [
        int(row["characters"])
        for row in best.select("characters", "worth", "cache_key")
        .orderBy(F.desc("worth"), "cache_key")
        .collect()
    ]
    prices = (
        lake.settings.endpoint.cost_per_million_input_tokens,
        lake.settings.endpoint.cost_per_million_output_tokens,
    )
    count = affordable(
        characters,
        lake.settings.intents.max_calls,
        lake.settings.intents.max_cost,
        *prices,
        token_bound(lake.settings, titles),
    )
    return (
        best.orderBy(F.desc("worth"), "cache_key")
        .limit(count)
        .select("cache_key", "items", "titles", "worth")
    )


def _unsureness(lake: Lake) -> DataFrame:
    """Return ``last_item, unsure``: how little the clicks say about what follows an item."""
    from pyspark.sql import functions as F

    # Only prefixes are counted: the last click of a session is what its model is tested on.
    pairs = (
        lake.read(SESSIONS)
        .where("length >= 3")
        .selectExpr(
            "explode(transform(sequence(1, length - 2), i -> struct(items[i - 1] as a, items[i] as b))) as "
            "pair"
        )
    )
    counts = pairs.groupBy(F.col("pair.a").alias("last_item"), F.col("pair.b").alias("next")).count()
    following = counts.groupBy("last_item").agg(F.collect_list("count").alias("following"))
    return following.mapInArrow(_unsure_batches, "last_item string, unsure double")


def _unsure_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        values = unsureness([np.asarray(counts) for counts in batch.column("following").to_pylist()])
        yield pa.RecordBatch.from_arrays(
            [batch.column("last_item"), pa.array(values, pa.float64())], names=["last_item", "unsure"]
        )


def make(
    lake: Lake,
    recipe: Recipe,
    todo: DataFrame,
    spool: Path,
    titles: KnownTitles = ANY_TITLE,
) -> DataFrame:
    """Return the frame whose evaluation makes the calls: one row of ``OUTCOME`` a session.

    Parameters
    ----------
    todo : DataFrame
        ``cache_key, items, titles``.
    spool : Path
        Where each answer is written the moment it is there.
    titles : KnownTitles
        Of the catalogue, by which answers are read.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.pandas.types import from_arrow_schema

    count = todo.count()
    workers = max(1, min(lake.spark.sparkContext.defaultParallelism, count // SESSIONS_PER_WORKER))
    # Round robin over sessions sorted by length: every worker gets as many long prompts as the others.
    spread = todo.orderBy(F.size("items"), "cache_key").withColumn("_number", F.monotonically_increasing_id())
    spread = spread.repartition(workers, F.col("_number") % workers).select("cache_key", "items", "titles")
    return spread.mapInArrow(
        _caller(lake.settings, recipe, spool, lake.spark.sparkContext.broadcast(titles)),
        from_arrow_schema(OUTCOME),
    )


def _caller(
    settings: Settings, recipe: Recipe, spool: Path, titles: Broadcast[KnownTitles]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run_in_worker(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            for batch in batches:
                if batch.num_rows:
                    yield pa.RecordBatch.from_pylist(
                        call(batch.to_pylist(), settings, recipe, spool, titles.value), schema=OUTCOME
                    )
        except (ModelMissingError, EndpointError, OSError) as error:
            raise JobError(str(error)) from None

    return run_in_worker


def call(
    rows: list[dict[str, Any]],
    settings: Settings,
    recipe: Recipe,
    spool: Path,
    known: KnownTitles = ANY_TITLE,
) -> list[dict[str, Any]]:
    """Ask the LLM about some sessions; runs in a worker.

    Parameters
    ----------
    rows : list of dict
        ``cache_key, items, titles``.
    settings, recipe
        Which LLM, and how.
    spool : Path
        Where answers are written at once.
    known : KnownTitles
        Titles of the catalogue.

    Returns
    -------
    list of dict
        Columns of ``OUTCOME``; a failed call has a ``reason`` and no texts.
    """
    outcomes: list[dict[str, Any]] = []
    written = Spool(spool)

    def keep(question: Question, answer: Answer) -> None:
        outcome = {**vars(answer), "cache_key": question.key, "items": list(question.items)}
        written.append(cache_row(outcome, recipe))
        outcomes.append({**outcome, "reason": ""})

    questions = [Question(row["cache_key"], tuple(row["items"]), tuple(row["titles"])) for row in rows]
    try:
        for question, reason in ask_missing(lambda: _asker(settings, known), questions, (), keep):
            outcomes.append({"cache_key": question.key, "items": list(question.items), "reason": reason})
    finally:
        written.close()
    return outcomes


_LOADED: dict[str, Asker] = {}  # of this worker process; Spark uses it for many tasks


def _asker(settings: Settings, titles: KnownTitles) -> Asker:
    """Return the LLM, a local one loaded once a worker process."""
    if settings.intents.source == "endpoint":
        return asker_of(settings, titles)
    key = f"{settings.llm!r} {settings.intents!r} {settings.assets_dir} {hash(titles.titles)}"
    if key not in _LOADED:
        _LOADED.clear()
        _LOADED[key] = asker_of(settings, titles)
    return _LOADED[key]
