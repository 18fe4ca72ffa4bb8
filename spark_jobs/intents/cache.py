"""The table `intent_cache`: every LLM answer ever paid for, by its content key; with the spool that saves
answers of killed runs.
"""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feature_repo.contract.files import replace_file
from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import INTENT_CACHE, INTENT_CACHE_SCHEMA, SESSION_INTENTS
from model.intent.answer.reading import misread
from model.intent.ask.answers import failure_kinds
from model.intent.ask.spool import answer_row, clear, spool_folder, spooled
from model.intent.ground.known_titles import KnownTitles
from spark_jobs.lake.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger("intentstore.intents")
RETRY_FILE = "retry.jsonl"
KINDS_FILE = "kinds.json"


def import_spool(lake: Lake, made: Sequence[dict[str, Any]] = ()) -> int:
    """Commit answers of this run and those that a killed run left in the spool, and empty it.

    Parameters
    ----------
    made : sequence of dict
        Rows that came back from the workers; the spool holds them too where its folder is shared.

    Returns
    -------
    int
        Answers that were not in the table yet.
    """
    lake.create(INTENT_CACHE)
    rows, files = spooled(spool_folder(lake.settings), answer_row)
    distinct = {row["cache_key"]: row for row in [*rows, *made]}
    inserted = commit(lake, list(distinct.values())) if distinct else 0
    if inserted:
        count_kinds(lake.settings, distinct.values())
    clear(files)
    return inserted


def commit(lake: Lake, rows: list[dict[str, Any]]) -> int:
    """Add answers to the table; a known key is left as it is.

    Parameters
    ----------
    rows : list of dict
        Columns of ``INTENT_CACHE_SCHEMA``; ``created`` as ISO 8601 text or datetime.

    Returns
    -------
    int
        Rows added.
    """
    for row in rows:
        if isinstance(row["created"], str):
            row["created"] = datetime.datetime.fromisoformat(row["created"])
    frame = lake.spark.createDataFrame(pa.Table.from_pylist(rows, schema=INTENT_CACHE_SCHEMA))
    return lake.merge(INTENT_CACHE, frame, update_changed=False).inserted


def answers(lake: Lake) -> DataFrame:
    """Return the cached answers: ``cache_key``, ``long_text``, ``short_text``."""
    return lake.read(INTENT_CACHE).select("cache_key", "long_text", "short_text")


def prune(lake: Lake, wanted: DataFrame) -> int:
    """Delete answers that neither `session_intents` nor the sessions of now refer to.

    Parameters
    ----------
    wanted : DataFrame
        ``cache_key`` of the sessions of now, under the settings of now.

    Returns
    -------
    int
        Rows deleted; no commit when it is 0.
    """
    used = wanted.select("cache_key")
    if lake.exists(SESSION_INTENTS):
        used = used.unionByName(lake.read(SESSION_INTENTS).select("cache_key"))
    orphans = answers(lake).select("cache_key").join(used.distinct(), "cache_key", "left_anti")
    with lake.as_job_error(INTENT_CACHE), lake.staged(orphans) as rows:
        count = int(rows.count())
        if count:
            lake.delete(INTENT_CACHE, rows)
    return count


def prune_misread(lake: Lake, titles: Sequence[str]) -> int:
    """Delete answers that older versions misread, and the intents made of them; the next run asks again about
    what it chooses.

    Parameters
    ----------
    titles : sequence of str
        Of the catalogue; an answer that is a title stays, whatever it looks like.

    Returns
    -------
    int
        Answers deleted; no commit when it is 0.
    """
    shared = lake.spark.sparkContext.broadcast(KnownTitles(titles))

    def wrong(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            pairs = zip(
                batch.column("long_text").to_pylist(), batch.column("short_text").to_pylist(), strict=True
            )
            titles = shared.value
            chosen = [misread(long or "", titles) or misread(short or "", titles) for long, short in pairs]
            yield batch.select(["cache_key"]).filter(pa.array(chosen, pa.bool_()))

    found = answers(lake).mapInArrow(wrong, "cache_key string")
    with lake.as_job_error(INTENT_CACHE), lake.staged(found) as rows:
        count = int(rows.count())
        # The intents go first: killed between the two, the next prune finds the answers still there.
        for name in (SESSION_INTENTS, INTENT_CACHE) if count else ():
            if lake.exists(name):
                lake.delete(name, rows)
    return count


def count_kinds(settings: Settings, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add what new answers were (a name, a list, JSON, reasoning before it ...) to the counts that
    `intents-report` shows, by model.
    """
    path = settings.home / "intents" / KINDS_FILE
    counts = read_kinds(settings)
    for row in rows:
        mine = counts.setdefault(str(row.get("model") or ""), {})
        for view in ("long", "short"):
            kind = str(row.get(f"{view}_kind") or "name")
            mine[kind] = mine.get(kind, 0) + 1
    replace_file(path, json.dumps(counts, indent=1) + "\n")


def _counts(kinds: dict[Any, Any]) -> dict[str, int]:
    return {str(kind): int(count) for kind, count in kinds.items()}


def read_kinds(settings: Settings) -> dict[str, dict[str, int]]:
    """Return model to kind to views counted so far; empty where nothing was counted or the file is damaged
    (it holds counts alone).
    """
    try:
        content = json.loads((settings.home / "intents" / KINDS_FILE).read_text(encoding="utf-8"))
        return {str(model): _counts(kinds) for model, kinds in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def read_failures(settings: Settings) -> dict[str, int]:
    """Return how many calls of the last run failed, by kind; empty where none did, or where the file of them
    is damaged.
    """
    try:
        lines = (settings.home / "intents" / RETRY_FILE).read_text(encoding="utf-8").splitlines()
        return failure_kinds(str(json.loads(line)["reason"]) for line in lines)
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def write_retries(settings: Settings, failures: list[dict[str, Any]]) -> None:
    """Write down the calls that failed; they have no row in the cache, so the next run makes them again."""
    path = settings.home / "intents" / RETRY_FILE
    if not failures:
        path.unlink(missing_ok=True)
        return
    replace_file(path, "".join(json.dumps(failure) + "\n" for failure in failures))
