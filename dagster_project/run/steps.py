"""The steps that run in one JVM: which job, which assets, what they read. Plain data, shared by the graph and
its child process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dagster_project import code
from feature_repo.contract import tables as columns


@dataclass(frozen=True)
class Step:
    """One job of a run.

    Parameters
    ----------
    name : str
        The word that the child process takes.
    assets : tuple of str
        Assets that the step makes, slash between key parts; the first is the job's own table.
    reads : tuple of str
        Assets that the step reads.
    sections : tuple of str
        Sections of the settings (or ``section.key``) whose change makes the step run again.
    module : str
        Full name of the module whose import closure is the step's code; a job of `spark_jobs` has ``run``.
    arguments : tuple of (str, object)
        Given to ``run`` beside Spark session and settings.
    """

    name: str
    assets: tuple[str, ...]
    reads: tuple[str, ...]
    sections: tuple[str, ...]
    module: str
    arguments: tuple[tuple[str, Any], ...] = ()

    def code_version(self) -> str:
        """Hash the code that the step runs, so that a change of it is seen (12 hexadecimal digits)."""
        return code.code_version(self.module)


def with_upstream(step: Step) -> list[Step]:
    """Return a step of single days together with those of its family that it rests on, directly or not.

    Examples
    --------
    >>> [step.name for step in with_upstream(step_of("daily/session_text"))]
    ['session_text', 'sessionise', 'ingest']
    """
    found = [step]
    for one in found:  # grows while it is walked
        found += [
            step_of(name) for name in one.reads if name.startswith("daily/") and step_of(name) not in found
        ]
    return found


# tables behind Feast's views
_SERVED = (columns.SESSION_FEATURES, columns.SESSION_INTENTS, columns.ITEM_VECTORS, columns.ITEM_POPULARITY)
_INTENTS = ("intents", "llm", "endpoint", "encoder")  # sections of settings
_TRAINING = (columns.SESSIONS, columns.SESSION_FEATURES, columns.SESSION_INTENTS, "feature_definitions")

BATCH: tuple[Step, ...] = (
    Step(
        "ingest",
        (columns.CLICKS, columns.ITEMS, columns.QUARANTINE),
        ("click_files",),
        ("dataset",),
        "spark_jobs.ingest.job",
    ),
    Step("item_vectors", (columns.ITEM_VECTORS,), (columns.ITEMS,), ("encoder",), "spark_jobs.items.vectors"),
    Step("sessionise", (columns.SESSIONS,), (columns.CLICKS,), ("session",), "spark_jobs.sessions.cut"),
    Step(
        "session_text",
        (columns.SESSION_TEXT,),
        (columns.SESSIONS, columns.ITEMS),
        ("intents",),
        "spark_jobs.sessions.text",
    ),
    Step(
        "intents",
        (columns.SESSION_INTENTS, columns.INTENT_CACHE),
        (columns.SESSION_TEXT, columns.ITEM_VECTORS),
        _INTENTS,
        "spark_jobs.intents.job",
    ),
    Step(
        "session_features",
        (columns.SESSION_FEATURES,),
        (columns.CLICKS,),
        ("session",),
        "spark_jobs.sessions.features",
    ),
    Step("item_popularity", (columns.ITEM_POPULARITY,), (columns.CLICKS,), (), "spark_jobs.items.popularity"),
    Step(
        "feature_definitions", ("feature_definitions",), _SERVED, ("online",), "feature_repo.registry.store"
    ),
    Step(
        "training_set", (columns.TRAINING_SET,), _TRAINING, ("session",), "spark_jobs.sessions.training_set"
    ),
    Step(
        "online_features",
        ("online_features",),
        ("feature_definitions", *_SERVED),
        ("online",),
        "feature_repo.registry.materialize",
    ),
)

LIVE: tuple[Step, ...] = (
    Step(
        "replay",
        ("live/replay", "live/recommendations"),
        (columns.CLICKS, "online_features", "promoted_model", "kafka/clicks"),
        ("streaming",),
        "dagster_project.live.replay",
    ),
    Step(
        "kafka_clicks",
        ("live/clicks",),
        ("live/replay", "kafka/clicks"),
        ("kafka",),
        "spark_jobs.ingest.job",
        (("kafka", True),),
    ),
    Step(
        "score_log",
        ("live/score_log",),
        ("live/recommendations",),
        (),
        "spark_jobs.ingest.job",
        (("score_log", True),),
    ),
    Step(
        "live_features",
        ("live/session_features",),
        ("live/clicks",),
        ("session",),
        "spark_jobs.sessions.features",
    ),
    Step(
        "parity",
        ("live/parity",),
        ("live/score_log", "live/session_features", "live/clicks"),
        ("session",),
        "spark_jobs.live.parity",
    ),
    Step(
        "live_quality",
        ("live/quality",),
        ("live/score_log", "live/clicks"),
        ("session",),
        "spark_jobs.live.quality",
    ),
)

# The same jobs for some days; each partition is a day of UTC.
DAILY: tuple[Step, ...] = (
    Step("ingest", ("daily/clicks",), ("click_files",), ("dataset",), "spark_jobs.ingest.job"),
    Step("sessionise", ("daily/sessions",), ("daily/clicks",), ("session",), "spark_jobs.sessions.cut"),
    Step(
        "session_text", ("daily/session_text",), ("daily/sessions",), ("intents",), "spark_jobs.sessions.text"
    ),
    Step(
        "intents",
        ("daily/session_intents",),
        ("daily/session_text", columns.ITEM_VECTORS),
        _INTENTS,
        "spark_jobs.intents.job",
    ),
    Step(
        "session_features",
        ("daily/session_features",),
        ("daily/clicks",),
        ("session",),
        "spark_jobs.sessions.features",
    ),
)

# Delta table behind an asset, where its name is not the table's.
TABLES: dict[str, str] = {
    "live/clicks": columns.CLICKS,
    "live/score_log": columns.SCORE_LOG,
    "live/session_features": columns.SESSION_FEATURES,
    "live/quality": columns.LIVE_QUALITY,
    **{
        f"daily/{name}": name
        for name in (
            columns.CLICKS,
            columns.SESSIONS,
            columns.SESSION_TEXT,
            columns.SESSION_INTENTS,
            columns.SESSION_FEATURES,
        )
    },
    **{name: name for name in columns.SCHEMAS if name not in columns.LIVE_TABLES},
}


def step_of(asset: str) -> Step:
    """Return the step that makes an asset.

    Examples
    --------
    >>> step_of("items").name
    'ingest'
    """
    for step in (*BATCH, *LIVE, *DAILY):
        if asset in step.assets:
            return step
    raise KeyError(f"no Spark step makes the asset '{asset}'")
