"""What each asset of a Spark step is: group, kinds, description. Words only; the graph is built from them in
`defs.batch` and `defs.live`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dagster as dg

from dagster_project.checks import expectations
from dagster_project.run import metadata, steps
from feature_repo.contract import tables as columns

OWNERS = ("team:recommendations",)
# a nightly run may be missed once
TABLE_FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=48), warn_window=timedelta(hours=30)
)
# backfills and replays, started by a person
HAND_FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(days=45), warn_window=timedelta(days=31)
)
MODEL_FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(days=14), warn_window=timedelta(days=8)
)


@dataclass(frozen=True)
class Entry:
    """Words on one asset."""

    group: str
    kinds: tuple[str, ...]
    text: str


def _tables() -> dict[str, Entry]:
    """Words on the assets that are tables, as the contract has them; those of the live half have names of
    their own.
    """
    made = (table for name, table in columns.TABLES.items() if name not in columns.LIVE_TABLES)
    return {table.name: Entry(table.group, (*table.kinds, "deltalake"), table.text) for table in made}


CATALOGUE: dict[str, Entry] = {
    **_tables(),
    "feature_definitions": Entry(
        "features", ("feast",), "Entities, views and services in Feast's registry (`feast apply`)."
    ),
    "online_features": Entry(
        "serving",
        ("feast", "redis"),
        "The newest features of each entity in the online store (`feast materialize`).",
    ),
    "live/replay": Entry(
        "serving",
        ("kafka",),
        "The clicks that ingest held back, sent to the topic `clicks` in their original order.",
    ),
    "live/recommendations": Entry(
        "serving",
        ("kafka", "pytorch"),
        "The consumer's answers to the replayed clicks: rate, latency from click to answer, dead letters.",
    ),
    "live/clicks": Entry(
        "serving",
        ("spark", "kafka", "deltalake"),
        "The clicks of the topic, appended to the table `clicks` by offset range, exactly once.",
    ),
    "live/score_log": Entry("serving", ("spark", "deltalake"), columns.TABLES[columns.SCORE_LOG].text),
    "live/session_features": Entry(
        "serving", ("spark", "deltalake"), "Features of the live clicks, recomputed in batch."
    ),
    "live/parity": Entry(
        "serving",
        ("spark",),
        "Served features against recomputed ones, row by row. Anything but zero differences is a fault.",
    ),
    "live/quality": Entry("serving", ("spark", "deltalake"), columns.TABLES[columns.LIVE_QUALITY].text),
    "daily/clicks": Entry("daily", ("spark", "deltalake"), "One day of the dataset into the table `clicks`."),
    "daily/sessions": Entry("daily", ("spark", "deltalake"), "Sessions of one day."),
    "daily/session_text": Entry("daily", ("spark", "deltalake"), "Prompts of one day's sessions."),
    "daily/session_intents": Entry("daily", ("spark", "deltalake"), "Intents of one day's sessions."),
    "daily/session_features": Entry("daily", ("spark", "deltalake"), "Features of one day's clicks."),
}


def spec(asset: str, **given: Any) -> dg.AssetSpec:
    """Build the specification of an asset that a Spark step makes.

    Parameters
    ----------
    asset : str
        Key with slashes.
    **given
        Further arguments of `AssetSpec`: automation condition, partitions.

    Returns
    -------
    AssetSpec
        Skippable, so that one op can make any subset.
    """
    entry, step = CATALOGUE[asset], steps.step_of(asset)
    deps = [dg.AssetDep(dg.AssetKey(name.split("/"))) for name in step.reads]
    return dg.AssetSpec(
        dg.AssetKey(asset.split("/")),
        deps=deps,
        description=entry.text,
        group_name=entry.group,
        kinds=set(entry.kinds),
        owners=list(OWNERS),
        tags={"intentstore/step": step.name},
        code_version=step.code_version(),
        metadata=metadata.static_metadata(asset),
        skippable=True,
        freshness_policy=HAND_FRESHNESS
        if entry.group == "daily" or step.name == "replay"
        else TABLE_FRESHNESS,
        **given,
    )


def check_specs(assets: tuple[str, ...]) -> list[dg.AssetCheckSpec]:
    """Build the specifications of the checks on some assets."""
    return [
        dg.AssetCheckSpec(
            entry.name,
            asset=dg.AssetKey(entry.asset.split("/")),
            description=entry.text,
            blocking=entry.blocking,
        )
        for entry in expectations.of(assets)
    ]


def assets_of(family: tuple[steps.Step, ...]) -> tuple[str, ...]:
    """List the assets of a family of steps, in order."""
    return tuple(asset for step in family for asset in step.assets)
