"""What the `intents` job leaves for live use: the student, and the grounded answers of the cache by content
key.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from feature_repo.contract.files import replace_file
from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import INTENT_CACHE, ITEM_VECTORS, SESSION_INTENTS
from model.intent.ground.encoder import EncoderSource
from model.intent.ground.grounded import ground_answers
from model.intent.ground.live import (
    ANSWERS_FILE,
    answers_table,
    live_folder,
    read_answers,
    write_answers,
)
from model.intent.ground.localiser import Localiser
from model.intent.ground.student import STUDENT_FILE, Student, train_student
from model.intent.recipe import Recipe
from model.intent.types import SessionIntent
from spark_jobs.intents.ground import space_of
from spark_jobs.items.vectors import loaded_encoder
from spark_jobs.lake.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger("intentstore.intents")
# the newest; each takes 4 KB of every consumer's memory, older ones cost the student's guess
MOST_LIVE_ANSWERS = 200_000
MOST_LESSONS = 20_000  # sessions that the student learns from
GROWTH = 1.25  # it is trained again when there are so many times more LLM intents than last time


def publish_student(
    settings: Settings, localiser: Localiser, recipe: Recipe | None, answered: DataFrame
) -> Student | None:
    """Train the student on the LLM intents there are, when they have grown by a quarter since it was trained;
    return the newest.

    Parameters
    ----------
    answered : DataFrame
        ``items, long_text, short_text`` (null without an answer).

    Returns
    -------
    Student or None
        None with fewer LLM intents than it takes to learn something.
    """
    path = live_folder(settings) / STUDENT_FILE
    known = Student.load(path) if path.is_file() else None
    lessons = (
        answered.where("long_text <> '' and short_text <> ''").dropDuplicates(["cache_key"])
        if recipe is not None
        else None
    )
    if lessons is None:
        return known
    count = lessons.count()
    if known is not None and count < GROWTH * (known.agreement.sessions + known.agreement.held_out):
        return known
    rows = (
        lessons.select("cache_key", "items", "long_text", "short_text")
        .orderBy("cache_key")
        .limit(MOST_LESSONS)
        .toArrow()
        .to_pylist()
    )
    if not rows:
        return known
    encoder = loaded_encoder(settings.encoder)
    trivial = EncoderSource(localiser, settings.intents.recency_half_life).vectors(
        [row["items"] for row in rows]
    )

    def grounded_texts(view: str) -> np.ndarray:
        grounded = localiser.ground(encoder.encode([row[f"{view}_text"] for row in rows]))
        return np.stack([vector for _, _, vector in grounded])

    student = train_student(trivial, (grounded_texts("long"), grounded_texts("short")))
    if student is None:
        return known
    student.save(path)
    log.info("intents: student trained on %d LLM intents: %s", len(rows), student.agreement)
    return student


def publish_answers(lake: Lake, localiser: Localiser, recipe: Recipe | None, *, anew: bool) -> dict[str, Any]:
    """Write the grounded answers of this recipe for live look-ups, unless they are written already; return
    how many there are.

    Parameters
    ----------
    anew : bool
        Whether this run grounded every row of `session_intents`. What those rows say of an answer is then
        taken from them, as it is for answers that came since the last time when nothing else has changed.
    """
    if recipe is None:
        return {}
    path = live_folder(lake.settings) / ANSWERS_FILE
    note = path.with_suffix(".version")
    cache = lake.read(INTENT_CACHE).where("long_text <> '' and short_text <> ''")
    # A changed title moves neither centre nor size of the space, but what answers are grounded on.
    space = f"{space_of(localiser, lake.settings, None)} {lake.version(ITEM_VECTORS)} {recipe.to_dict()}"
    stamp = f"{lake.version(INTENT_CACHE)} {space}"
    written = note.read_text(encoding="utf-8") if path.is_file() and note.is_file() else ""
    if written == stamp:
        return {}
    mine = cache.where(
        (cache.source == recipe.source)
        & (cache.model == recipe.model)
        & (cache.prompt_version == recipe.prompt_version)
    )
    rows = (
        mine.orderBy("created", ascending=False)
        .limit(MOST_LIVE_ANSWERS)
        .select("cache_key", "long_text", "short_text")
        .toArrow()
        .to_pylist()
    )
    same = written.partition(" ")[2] == space
    known = read_answers(path, localiser.dim) if same else {}
    if (anew or same) and any(row["cache_key"] not in known for row in rows):
        known = _of_sessions(lake, recipe) | known
    new = [row for row in rows if row["cache_key"] not in known]
    if new:
        encode = loaded_encoder(lake.settings.encoder).encode
        known |= {
            intent.cache_key: intent for intent in ground_answers(localiser, encode, recipe.source, new)
        }
    keys = [row["cache_key"] for row in rows]
    write_answers(path, answers_table(keys, [known[key] for key in keys]))
    replace_file(note, stamp)
    return {"live_answers": len(rows)}


def _of_sessions(lake: Lake, recipe: Recipe) -> dict[str, SessionIntent]:
    """Return what `session_intents` says of answers: they were grounded there by workers that had the encoder
    at hand.
    """
    table = lake.read(SESSION_INTENTS)
    answered = table.where((table.source == recipe.source) & table.cache_key.isNotNull()).dropDuplicates(
        ["cache_key"]
    )
    fields = [
        f"{view}_{part}" for view in ("long", "short") for part in ("text", "items", "cosines", "vector")
    ]
    rows = answered.select("cache_key", "source", *fields).limit(MOST_LIVE_ANSWERS).toArrow().to_pylist()
    return {
        row["cache_key"]: SessionIntent.from_row(row, lambda numbers: np.array(numbers, np.float32))
        for row in rows
    }
