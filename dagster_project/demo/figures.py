"""Which pictures the demo's page shows, of this run's figures and tables. How they are drawn: `pictures`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dagster_project.demo import pictures
from feature_repo.contract import tables as columns
from feature_repo.contract.settings import Settings
from spark_jobs.lake.log import DeltaLog

RECOMMENDED_SHOWN = 5
MAP_ITEMS = 1500  # points of the background; more are one blot, and megabytes


def of_quality(report: Mapping[str, Any]) -> list[str]:
    """Draw a quality report: models with intervals, and whether scores are true."""
    drawn = [pictures.forest(report.get("rows", []), "N@10")]
    if report.get("calibration"):
        drawn.append(pictures.calibration(report["calibration"]))
    return drawn


def of_replay(known: Mapping[str, Any]) -> list[str]:
    """Draw what `live.replay.measure` found: latencies, and hits from the first click to the last."""
    drawn = []
    latency = known.get("latency_histogram")
    if latency:
        marks = {name: known[f"{name}_ms"] for name in ("p50", "p99") if known.get(f"{name}_ms")}
        drawn.append(pictures.histogram(latency["edges_ms"], latency["counts"], "ms", marks))
    if known.get("hit_rates"):
        drawn.append(pictures.steps(known["hit_rates"], "share of next clicks among the recommended items"))
    return drawn


def of_session(settings: Settings, example: Mapping[str, Any], clicks: Sequence[str]) -> list[str]:
    """Draw the items by their text vectors, and one answered session among them."""
    if DeltaLog(settings.table(columns.ITEM_VECTORS)).version() < 0:
        return []
    items = DeltaLog(settings.table(columns.ITEM_VECTORS)).read(["item_id", "vector"])
    places = {item: place for place, item in enumerate(items.column("item_id").to_pylist())}
    answer = example["answer"]
    views = [answer["intents"][view] for view in ("long", "short")]
    intents = [item for view in views for item in view.get("items", ())]
    recommended = [item["item_id"] for item in answer["items"][:RECOMMENDED_SHOWN]]
    groups = (
        pictures.Dots("items", "faint", range(0, len(places), -(-len(places) // MAP_ITEMS) or 1), 1.6),
        pictures.Dots("clicked", "own", _known(places, clicks), 5),
        pictures.Dots("intents", "intent", _known(places, intents), 4.5),
        pictures.Dots("recommended", "other", _known(places, recommended), 4),
    )
    vectors = np.stack(items.column("vector").to_numpy()) if places else np.zeros((0, 1))
    counts = ", ".join(f"{len(group.places)} {group.name}" for group in groups)
    text = f"items by the two main directions of their text vectors, session {answer['session_id']}: {counts}"
    return [pictures.item_map(vectors, groups, text)]


def _known(places: Mapping[str, int], items: Sequence[str]) -> list[int]:
    return [places[item] for item in items if item in places]
