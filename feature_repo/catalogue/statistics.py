"""Null shares, ranges and distributions of a view's features, counted in Spark in two passes over the
table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.contract.lazy import lazy
from feature_repo.stores.offline.errors import FeatureTableError

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView
    from pyspark.sql import Column, DataFrame, SparkSession

    from feature_repo.stores.offline import sources as tables
else:
    tables = lazy("feature_repo.stores.offline.sources")

BINS = 12
TOP = 6


@dataclass(frozen=True)
class FeatureStatistics:
    """What a table says about one feature.

    Attributes
    ----------
    null_share : float
        From 0 to 1.
    measure : str
        What the distribution counts: ``value``, ``length`` (of lists) or ``text`` (most frequent ones).
    bars : list of (label, count)
        Bins from low to high, or the most frequent texts.
    """

    null_share: float
    measure: str
    bars: list[tuple[str, int]] = field(default_factory=list)


@dataclass(frozen=True)
class ViewStatistics:
    """What a table says about a view: rows, newest event time (ISO, UTC), Delta version, features by name."""

    rows: int
    newest: str | None
    version: int | None
    features: dict[str, FeatureStatistics]


def view_statistics(spark: SparkSession, store: FeatureStore, view: FeatureView) -> ViewStatistics | None:
    """Count one view's table; none when there is no table yet."""
    from pyspark.sql import functions as F

    config = store.config
    try:
        table = tables.open_source(
            spark,
            view.batch_source,
            config.offline_store.lake,
            Path(config.repo_path) if config.repo_path else None,
        )
    except FeatureTableError:
        return None
    names = [feature.name for feature in view.features if feature.name in table.frame.columns]
    measures = {name: _measure(table.frame, name) for name in names}
    event = view.batch_source.timestamp_field
    sums: list[Any] = [F.count(F.lit(1)).alias("rows"), F.max(event).cast("string").alias("newest")]
    for number, name in enumerate(names):
        kind, column = measures[name]
        sums.append(F.count(F.col(f"`{name}`")).alias(f"present{number}"))
        if kind != "text":
            sums += [F.min(column).alias(f"low{number}"), F.max(column).alias(f"high{number}")]
    totals = table.frame.agg(*sums).first()
    rows = int(totals["rows"])
    features = {}
    for number, name in enumerate(names):
        kind, column = measures[name]
        share = 1.0 - totals[f"present{number}"] / rows if rows else 0.0
        low, high = (None, None) if kind == "text" else (totals[f"low{number}"], totals[f"high{number}"])
        features[name] = FeatureStatistics(share, kind, _bars(table.frame, kind, column, low, high))
    return ViewStatistics(rows, totals["newest"], table.version, features)


def _measure(frame: DataFrame, name: str) -> tuple[str, Column]:
    from pyspark.sql import functions as F
    from pyspark.sql.types import ArrayType, NumericType, TimestampType

    kind, column = frame.schema[name].dataType, F.col(f"`{name}`")
    if isinstance(kind, ArrayType):
        return "length", F.size(column).cast("double")
    if isinstance(kind, NumericType):
        return "value", column.cast("double")
    if isinstance(kind, TimestampType):
        return "value", F.unix_micros(column).cast("double") / 1e6
    return "text", column.cast("string")


def _bars(
    frame: DataFrame, kind: str, column: Column, low: float | None, high: float | None
) -> list[tuple[str, int]]:
    from pyspark.sql import functions as F

    if kind == "text":
        top = (
            frame.where(column.isNotNull())
            .groupBy(column.alias("text"))
            .count()
            .orderBy(F.desc("count"), "text")
            .limit(TOP)
            .collect()
        )
        return [(row["text"][:60], int(row["count"])) for row in top]
    if low is None or high is None:
        return []
    width = (high - low) / BINS
    place = F.least(F.floor((column - F.lit(low)) / F.lit(width)), F.lit(BINS - 1)) if width else F.lit(0)
    counted = frame.where(column.isNotNull()).groupBy(place.alias("bin")).count().collect()
    counts = {int(row["bin"]): int(row["count"]) for row in counted}
    return [(f"{low + number * width:.4g}", counts.get(number, 0)) for number in range(BINS if width else 1)]
