"""`intents prune`: drops cached answers that no session refers to, or that older versions misread."""

from __future__ import annotations

import logging

from feature_repo.contract.tables import SESSION_TEXT
from model.intent.ask.asker import recipe_of
from model.intent.ground.known_titles import KnownTitles
from model.intent.ground.live import ANSWERS_FILE, live_folder
from model.intent.ground.student import STUDENT_FILE
from model.study.case_intents import forget_misread
from spark_jobs.intents import cache as intent_cache
from spark_jobs.intents.keys import keyed
from spark_jobs.lake.lake import Lake
from spark_jobs.sessions.text import titles_of

log = logging.getLogger("intentstore.intents")


def orphans(lake: Lake) -> int:
    """Delete cached answers that no session of now or of `session_intents` refers to; return how many."""
    texts = lake.read(SESSION_TEXT)
    with lake.staged(keyed(texts, recipe_of(lake.settings))) as wanted:
        return intent_cache.prune(lake, wanted)


def misread(lake: Lake) -> int:
    """Delete misread answers from the cache, the intents, the live answers and those of studies.

    What learned from them goes with them: the next run trains the student and writes the live answers anew.

    Returns
    -------
    int
        Answers deleted from the cache and from those of studies.
    """
    titles = titles_of(lake)
    count = intent_cache.prune_misread(lake, tuple(titles.values()))
    if count:
        for name in (ANSWERS_FILE, STUDENT_FILE):
            (live_folder(lake.settings) / name).unlink(missing_ok=True)
        log.info(
            "intents: %d misread answers are dropped; the next run asks again. Restart a near-line worker",
            count,
        )
    studied = forget_misread(lake.settings, KnownTitles(titles.values()))
    if studied:
        log.info("intents: %d misread answers of studies are dropped; the next study asks again", studied)
    return count + studied
