"""From answers to rows of `session_intents`: the localiser that all workers share, grounding, and the
fallback's intents.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.contract.settings import EncoderSettings, IntentSettings, Settings
from feature_repo.contract.tables import ITEM_VECTORS, SESSION_INTENTS_SCHEMA
from model.intent.ground.fallback import Fallback
from model.intent.ground.grounded import ground_answers
from model.intent.ground.live import ANSWERS_FILE, LIVE_FILE, TITLES_FILE, live_folder
from model.intent.ground.localiser import ITEMS_FILE, Localiser, LocaliserError
from model.intent.ground.names import NAMES_VERSION, Namer
from model.intent.ground.student import STUDENT_FILE, Student
from model.intent.recipe import Recipe
from model.intent.types import SessionIntent
from spark_jobs.items.vectors import loaded_encoder, vectors_column
from spark_jobs.lake.frames import spark_schema
from spark_jobs.lake.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# the space is fitted again when the catalogue has changed by that much; until then stored vectors stay
# comparable
REFIT_SHARE = 0.2


def publish_localiser(
    lake: Lake,
    recipe: Recipe | None,
    titles: dict[str, str],
    prompt_titles: Callable[[], dict[str, str]],
) -> Localiser | None:
    """Bring the localiser in ``HOME/intents/live`` up to date with `item_vectors`.

    The centre of the space is kept while the catalogue grows, so that one new item does not move every stored
    intent.

    Parameters
    ----------
    titles : dict
        Item id to title.
    prompt_titles : callable
        Gives item id to the title as prompts show it; called only when there is something to write.

    Returns
    -------
    Localiser or None
        None when no item has a vector.
    """
    folder = live_folder(lake.settings)
    state = _state(lake, recipe)
    known = _read(folder / LIVE_FILE)
    if known.get("state") == state and (folder / ITEMS_FILE).is_file():
        return Localiser.load(folder)
    rows = arrow_of(
        lake.read(ITEM_VECTORS).select("item_id", "vector", "category").orderBy("item_id"),
        lake.settings,
    )
    if not rows.num_rows:
        return None
    ids = rows.column("item_id").to_pylist()
    vectors = np.asarray(rows.column("vector").combine_chunks().flatten(), np.float32).reshape(len(ids), -1)
    before = _before(folder) if _same_space(known, state, len(ids)) else None
    names = [titles.get(item, item) for item in ids]
    localiser = Localiser(
        ids,
        names,
        vectors,
        lake.settings.intents.vectors,
        lake.settings.intents.top_r,
        centre=None if before is None else before.centre,
        transform=None if before is None else before.transform,
        categories=rows.column("category").to_pylist(),
    )
    localiser.build_index()
    content = {
        "state": state,
        "fitted_items": known["fitted_items"] if before is not None else len(ids),
        "recipe": recipe.to_dict() if recipe else None,
        "half_life": lake.settings.intents.recency_half_life,
    }
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    localiser.save(part)
    for name in (STUDENT_FILE, ANSWERS_FILE) if before is not None else ():
        if (folder / name).is_file():
            shutil.copy2(folder / name, part / name)
    (part / TITLES_FILE).write_text(json.dumps(prompt_titles(), ensure_ascii=False), encoding="utf-8")
    (part / LIVE_FILE).write_text(json.dumps(content), encoding="utf-8")
    _swap(part, folder)
    return localiser


def _swap(part: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.is_dir():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _state(lake: Lake, recipe: Recipe | None) -> dict[str, Any]:
    row = lake.read(ITEM_VECTORS).select("encoder").first()
    intents = lake.settings.intents
    return {
        "item_vectors": lake.version(ITEM_VECTORS),
        "encoder": row[0] if row else "",
        "mode": intents.vectors,
        "top_r": intents.top_r,
        "half_life": intents.recency_half_life,
        "recipe": recipe.to_dict() if recipe else None,
        "names": NAMES_VERSION,
    }


def _same_space(known: dict[str, Any], state: dict[str, Any], count: int) -> bool:
    before = known.get("state", {})
    fitted = int(known.get("fitted_items", 0))
    same = all(before.get(name) == state[name] for name in ("encoder", "mode"))
    return same and fitted > 0 and abs(count - fitted) <= REFIT_SHARE * fitted


def _before(folder: Path) -> Localiser | None:
    try:
        return Localiser.load(folder)
    except LocaliserError:
        return None


def space_of(localiser: Localiser, settings: Settings, student: Student | None) -> str:
    """Return a digest of everything that rows depend on besides the answer: space, r, half-life, the way of
    naming and the student.
    """
    digest = hashlib.blake2b(localiser.centre.tobytes(), digest_size=12)
    digest.update(f"{localiser.mode}:{localiser.top_r}:{settings.intents.recency_half_life}".encode())
    digest.update(f":names {NAMES_VERSION}".encode())
    if student is not None and settings.intents.fallback == "student":
        digest.update(json.dumps(vars(student.agreement)).encode())
    return digest.hexdigest()


def ground(frame: DataFrame, settings: Settings, recipe: Recipe | None, folder: Path) -> DataFrame:
    """Return rows of `session_intents` for sessions with or without an answer.

    Parameters
    ----------
    frame : DataFrame
        ``session_id, event_timestamp, session_date, cache_key, items, long_text, short_text`` (texts null
        without an answer).
    folder : Path
        Of the localiser; every worker loads it once.

    Returns
    -------
    DataFrame
        Schema of `session_intents`; a session of which nothing is known has no row.
    """
    from feature_repo.contract.tables import SESSION_INTENTS

    stamp = str((folder / LIVE_FILE).stat().st_mtime_ns)

    def run_in_worker(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        grounder = _grounder(settings.encoder, settings.intents, recipe, folder, stamp)
        for batch in batches:
            if batch.num_rows:
                yield grounder(batch)

    return frame.mapInArrow(run_in_worker, spark_schema(SESSION_INTENTS))


@lru_cache(maxsize=1)
def _grounder(
    encoder_settings: EncoderSettings,
    intents: IntentSettings,
    recipe: Recipe | None,
    folder: Path,
    stamp: str,
) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    import torch

    torch.set_num_threads(1)
    localiser = Localiser.load(folder)
    student = Student.load(folder / STUDENT_FILE) if (folder / STUDENT_FILE).is_file() else None
    fallback = Fallback(intents.fallback, localiser, intents.recency_half_life, student)
    namer = Namer(localiser)

    def ground_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = batch.to_pylist()
        answered = [place for place, row in enumerate(rows) if row["long_text"] and row["short_text"]]
        found: list[SessionIntent | None] = [None] * len(rows)
        if answered and recipe is not None:
            encode = loaded_encoder(encoder_settings).encode
            grounded = ground_answers(localiser, encode, recipe.source, [rows[place] for place in answered])
            for place, intent in zip(answered, grounded, strict=True):
                found[place] = intent
        rest = [place for place, intent in enumerate(found) if intent is None]
        for place, intent in zip(rest, fallback.infer([rows[place]["items"] for place in rest]), strict=True):
            found[place] = intent
        known = [(place, intent) for place, intent in enumerate(found) if intent is not None]
        named = namer.named([intent for _, intent in known], [rows[place]["items"] for place, _ in known])
        for (place, _), intent in zip(known, named, strict=True):
            found[place] = intent
        return _batch(rows, found)

    return ground_batch


def _batch(rows: list[dict[str, Any]], intents: list[SessionIntent | None]) -> pa.RecordBatch:
    kept = [
        (row, intent)
        for row, intent in zip(rows, intents, strict=True)
        if intent is not None and intent.source != "none"
    ]
    now = datetime.datetime.now(datetime.UTC)
    written = [
        {**row, **intent.to_row(), "cache_key": row["cache_key"], "created": now} for row, intent in kept
    ]
    arrays = []
    for field in SESSION_INTENTS_SCHEMA:
        values = [row[field.name] for row in written]
        is_vector = field.name.endswith("_vector") and bool(values)
        column = vectors_column(np.stack(values)) if is_vector else pa.array(values, field.type)
        arrays.append(column.cast(field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=SESSION_INTENTS_SCHEMA)


def arrow_of(frame: DataFrame, settings: Settings) -> pa.Table:
    """Return a frame's rows as Arrow by way of Parquet files, so that they never pass through the driver's
    Java heap.
    """
    folder = settings.home / "spark" / "staged" / uuid.uuid4().hex
    try:
        frame.write.parquet(str(folder))
        files = sorted(folder.glob("*.parquet"))
        return (
            pa.concat_tables([pq.read_table(file, schema=None) for file in files])
            if files
            else frame.limit(0).toArrow()
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
