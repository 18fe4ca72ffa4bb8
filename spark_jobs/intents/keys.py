"""Content keys of session texts: equal contents under equal rules have one key, and are asked about once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from model.intent.prompts import UNTITLED
from model.intent.recipe import Recipe

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def keyed(texts: DataFrame, recipe: Recipe | None) -> DataFrame:
    """Add ``cache_key``, ``characters`` (of both prompts) and ``titled`` (share of prompts' rows with a real
    title) to session texts.
    """
    columns = (
        "session_id string, event_timestamp timestamp, session_date date, cache_key string, items "
        "array<string>, titles array<string>"
    )
    chosen = texts.select(
        "session_id", "event_timestamp", "session_date", "items", "titles", "long_prompt", "short_prompt"
    )
    return chosen.mapInArrow(_keyer(recipe), f"{columns}, characters long, titled double")


def _keyer(recipe: Recipe | None) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run_in_worker(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        names = [
            "session_id",
            "event_timestamp",
            "session_date",
            "cache_key",
            "items",
            "titles",
            "characters",
            "titled",
        ]
        for batch in batches:
            items, titles = batch.column("items").to_pylist(), batch.column("titles").to_pylist()
            keys = ["" if recipe is None else recipe.key(*pair) for pair in zip(items, titles, strict=True)]
            prompts = zip(
                batch.column("long_prompt").to_pylist(), batch.column("short_prompt").to_pylist(), strict=True
            )
            characters = pa.array([len(long) + len(short) for long, short in prompts], pa.int64())
            titled = pa.array(list(map(_titled_share, titles)), pa.float64())
            kept = [batch.column(name) for name in names[:3]]
            yield pa.RecordBatch.from_arrays(
                [
                    *kept,
                    pa.array(keys, pa.string()),
                    batch.column("items"),
                    batch.column("titles"),
                    characters,
                    titled,
                ],
                names=names,
            )

    return run_in_worker


def _titled_share(titles: Sequence[str]) -> float:
    return (len(titles) - titles.count(UNTITLED)) / max(1, len(titles))
