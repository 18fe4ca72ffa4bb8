"""The steps that run in one JVM: which job, which assets, what they read. Plain data, shared by the graph and its child process."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feature_repo.contract import columns

ROOT = Path(__file__).resolve().parent.parent
# What every Spark job's outcome rests on beside its own module.
_SHARED_SOURCES = ("feature_repo/contract/columns.py", "feature_repo/contract/session.py", "spark_jobs/delta_tables.py")


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
    sources : tuple of str
        Source files (relative to the project) whose change makes the step run again.
    sections : tuple of str
        Sections of the settings (or ``section.key``) whose change makes the step run again.
    module : str
        Module of `spark_jobs` with ``run``; empty where the child has its own function.
    arguments : tuple of (str, object)
        Given to ``run`` beside Spark session and settings.
    """

    name: str
    assets: tuple[str, ...]
    reads: tuple[str, ...]
    sources: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    module: str = ""
    arguments: tuple[tuple[str, Any], ...] = ()

    def code_version(self) -> str:
        """Hash the sources of the step, so that changed code is seen as such (12 hexadecimal digits)."""
        digest = hashlib.sha256()
        own = sorted((ROOT / "spark_jobs").glob(f"{self.module.rstrip('s')}*.py")) if self.module else []  # intents: intents.py, intent_calls.py, ...
        shared = [ROOT / name for name in (*self.sources, *(_SHARED_SOURCES if self.module else ()))]
        for path in (*own, *sorted(shared)):
            for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
                digest.update(file.read_bytes() if file.exists() else b"")
        return digest.hexdigest()[:12]


def with_upstream(step: Step) -> list[Step]:
    """Return a step of single days together with those of its family that it rests on, directly or not.

    Examples
    --------
    >>> [step.name for step in with_upstream(step_of("daily/session_text"))]
    ['session_text', 'sessionise', 'ingest']
    """
    found = [step]
    for one in found:  # grows while it is walked
        found += [step_of(name) for name in one.reads if name.startswith("daily/") and step_of(name) not in found]
    return found


INTENTS = "model/intent"
FEAST = "feature_repo/definitions.py"
_SERVED = (columns.SESSION_FEATURES, columns.SESSION_INTENTS, columns.ITEM_VECTORS, columns.ITEM_POPULARITY)  # tables behind Feast's views

BATCH: tuple[Step, ...] = (
    Step("ingest", (columns.CLICKS, columns.ITEMS, columns.QUARANTINE), ("click_files",), ("feature_repo/contract/assets.py",), ("dataset",), "ingest"),
    Step("item_vectors", (columns.ITEM_VECTORS,), (columns.ITEMS,), ("model/encoder.py", "model/items.py"), ("encoder",), "item_vectors"),
    Step("sessionise", (columns.SESSIONS,), (columns.CLICKS,), (), ("session",), "sessionise"),
    Step("session_text", (columns.SESSION_TEXT,), (columns.SESSIONS, columns.ITEMS), ("model/intent/prompts.py",), ("intents",), "session_text"),
    Step(
        "intents", (columns.SESSION_INTENTS, columns.INTENT_CACHE), (columns.SESSION_TEXT, columns.ITEM_VECTORS),
        (INTENTS,), ("intents", "llm", "endpoint", "encoder"), "intents",
    ),
    Step("session_features", (columns.SESSION_FEATURES,), (columns.CLICKS,), (), ("session",), "session_features"),
    Step("item_popularity", (columns.ITEM_POPULARITY,), (columns.CLICKS,), (), (), "item_popularity"),
    Step(
        "feature_definitions", ("feature_definitions",), _SERVED,
        ("feature_repo/definitions.py", "feature_repo/store.py"), ("online",),
    ),
    Step(
        "training_set", (columns.TRAINING_SET,), (columns.SESSIONS, columns.SESSION_FEATURES, columns.SESSION_INTENTS, "feature_definitions"),
        (FEAST,), ("session",), "training_set",
    ),
    Step("online_features", ("online_features",), ("feature_definitions", *_SERVED), (FEAST, "feature_repo/stores"), ("online",)),
)  # fmt: skip

LIVE: tuple[Step, ...] = (
    Step("replay", ("live/replay", "live/recommendations"), (columns.CLICKS, "online_features", "promoted_model", "kafka/clicks"), ("streaming",)),
    Step("kafka_clicks", ("live/clicks",), ("live/replay", "kafka/clicks"), (), ("kafka",), "ingest", (("kafka", True),)),
    Step("score_log", ("live/score_log",), ("live/recommendations",), (), (), "ingest", (("score_log", True),)),
    Step("live_features", ("live/session_features",), ("live/clicks",), (), ("session",), "session_features"),
    Step("parity", ("live/parity",), ("live/score_log", "live/session_features", "live/clicks"), ("feature_repo/contract/session.py",), ("session",), "parity"),
)  # fmt: skip

# The same jobs for some days; each partition is a day of UTC.
DAILY: tuple[Step, ...] = (
    Step("ingest", ("daily/clicks",), ("click_files",), (), ("dataset",), "ingest"),
    Step("sessionise", ("daily/sessions",), ("daily/clicks",), (), ("session",), "sessionise"),
    Step("session_text", ("daily/session_text",), ("daily/sessions",), (), ("intents",), "session_text"),
    Step("intents", ("daily/session_intents",), ("daily/session_text", columns.ITEM_VECTORS), (INTENTS,), ("intents", "llm", "endpoint", "encoder"), "intents"),
    Step("session_features", ("daily/session_features",), ("daily/clicks",), (), ("session",), "session_features"),
)

# Delta table behind an asset, where its name is not the table's.
TABLES: dict[str, str] = {
    "live/clicks": columns.CLICKS, "live/score_log": columns.SCORE_LOG, "live/session_features": columns.SESSION_FEATURES,
    **{f"daily/{name}": name for name in (columns.CLICKS, columns.SESSIONS, columns.SESSION_TEXT, columns.SESSION_INTENTS, columns.SESSION_FEATURES)},
    **{name: name for name in columns.SCHEMAS if name != columns.SCORE_LOG},
}  # fmt: skip


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
