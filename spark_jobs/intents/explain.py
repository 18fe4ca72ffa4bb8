"""What the LLM was shown for one session, what it said, and how that became an intent, as text for a
person.
"""

from __future__ import annotations

from typing import Any

from feature_repo.contract.tables import INTENT_CACHE, SESSION_INTENTS, SESSION_TEXT
from model.intent.ask.asker import recipe_of
from spark_jobs.job import JobError
from spark_jobs.lake.lake import Lake
from spark_jobs.sessions.text import titles_of


def explanation(lake: Lake, session_id: str) -> str:
    """Tell prompt, answer, grounding and cache key of the newest prefix of a session.

    Parameters
    ----------
    session_id : str
        Of `session_text`.

    Returns
    -------
    str
        Several lines.

    Raises
    ------
    JobError
        The session has no prompt (unknown, one click only, or no titles).
    """
    from pyspark.sql import functions as F

    mine = F.col("session_id") == F.lit(session_id)
    text = lake.read(SESSION_TEXT).where(mine).orderBy(F.desc("event_timestamp")).first()
    if text is None:
        raise JobError(
            f"session '{session_id}' has no prompt; it is unknown, has one click only, or none of its items "
            "has a title"
        )
    row = (
        lake.read(SESSION_INTENTS).where(mine & (F.col("event_timestamp") == text["event_timestamp"])).first()
    )
    recipe = recipe_of(lake.settings)
    key = recipe.key(text["items"], text["titles"]) if recipe else ""
    cached = lake.read(INTENT_CACHE).where(F.col("cache_key") == F.lit(key)).first() if key else None
    titles = titles_of(lake)
    lines = [
        f"session {session_id}, prefix of {len(text['items'])} titles, last click {text['event_timestamp']}",
        f"cache key {key or '(no LLM configured)'}",
    ]
    if recipe is not None:
        lines.append(f"model {recipe.model}, prompt {recipe.prompt_version}, {recipe.decoding}")
    if cached is not None:
        lines.append(
            f"answered {cached['created']}, {cached['input_tokens']} tokens in, {cached['output_tokens']} out"
        )
    for view in ("long", "short"):
        lines += ["", f"-- {view} prompt", text[f"{view}_prompt"], *_view(view, row, cached, titles)]
    return "\n".join(lines)


def _view(view: str, row: Any, cached: Any, titles: dict[str, str]) -> list[str]:
    lines = [
        f"-- {view} answer of the LLM: {cached[f'{view}_text'] or '(nothing)'}"
        if cached is not None
        else f"-- {view}: the LLM was not asked"
    ]
    if row is None:
        return [*lines, "   no intent; run `python -m spark_jobs intents`"]
    lines.append(f"   {view} intent from '{row['source']}': {row[f'{view}_text']}")
    for item, cosine in zip(row[f"{view}_items"], row[f"{view}_cosines"], strict=True):
        lines.append(f"   {cosine:6.3f}  {titles.get(item, item)} ({item})")
    return lines
