"""Historical reads on Spark: Delta tables at their pinned versions, the as-of join of `asof`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from feast import RepoConfig
from feast.data_source import DataSource
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.infra.offline_stores.offline_store import RetrievalMetadata
from pyspark import SparkContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from feature_repo.stores.offline import asof, entity_frame
from feature_repo.stores.offline.asks import Ask
from feature_repo.stores.offline.entity_frame import EntityFrame
from feature_repo.stores.offline.entity_rows import AT
from feature_repo.stores.offline.errors import FeatureTableError
from feature_repo.stores.offline.retrieval import DeltaRetrievalJob
from feature_repo.stores.offline.sources import PinnedTable, open_source
from feature_repo.stores.offline.view_columns import ViewColumns, refuse_taken
from feature_repo.stores.packed.keys import DUMMY_KEY
from feature_repo.stores.packed.slots import EPOCH
from feature_repo.stores.surroundings import lake_of, settings_here

log = logging.getLogger("intentstore.features")


@dataclass(frozen=True)
class _Planned:
    columns: ViewColumns
    table: PinnedTable


def historical(config: RepoConfig, ask: Ask) -> DeltaRetrievalJob:
    """Plan a historical read; tables are pinned now, rows are read when the job is asked for them.

    Raises
    ------
    EntityFrameError
        Entity rows without rows, time column or keys, or of wrong types.
    FeatureTableError
        A table or version that is not there.
    """
    spark = session(config)
    plans = [_Planned(view.columns, open_table(spark, config, view.source)) for view in ask.views()]
    entities = _entities(spark, ask, plans)
    for plan in plans:
        plan.columns.refuse_missing(plan.table.frame.columns, plan.table.version)
        entity_frame.check_keys(entities, plan.table.frame, plan.columns.keys, plan.columns.view)
    refuse_taken(entities.columns, [plan.columns for plan in plans])
    views = [asof.ViewPlan(plan.table.frame, plan.columns) for plan in plans]
    joined = asof.join(entities.frame, views, entities.rows).drop(AT)
    return DeltaRetrievalJob(
        spark,
        joined,
        config,
        entities=entities,
        full_feature_names=ask.full_names,
        on_demand_feature_views=ask.on_demand,
        metadata=RetrievalMetadata(
            **ask.metadata_of(list(entities.columns), entities.event, entities.first, entities.last)
        ),
        delta_versions={plan.table.name: plan.table.version for plan in plans},
    )


def latest(
    config: RepoConfig,
    source: DataSource,
    keys: Sequence[str],
    features: Sequence[str],
    event: str,
    created: str | None,
    start: datetime,
    end: datetime,
) -> DeltaRetrievalJob:
    """Read the latest row of each key with an event time from `start` to `end`, chosen in Spark."""
    spark = session(config)
    table = open_table(spark, config, source)
    frame = _between(table.frame, event, start, end)
    rows = asof.latest(frame, keys, event, created or None, features)
    return DeltaRetrievalJob(
        spark, _renamed(rows, source, list(keys)), config, delta_versions={table.name: table.version}
    )


def everything(
    config: RepoConfig,
    source: DataSource,
    keys: Sequence[str],
    features: Sequence[str],
    event: str,
    created: str | None,
    start: datetime | None,
    end: datetime | None,
) -> DeltaRetrievalJob:
    """Read every row with an event time from `start` to `end`."""
    spark = session(config)
    table = open_table(spark, config, source)
    frame = _between(table.frame, event, start, end)
    if features:
        names = [*keys, *features, event, *([created] if created else [])]
        frame = frame.select(*(F.col(f"`{name}`") for name in names))
    return DeltaRetrievalJob(
        spark, _renamed(frame, source, list(keys)), config, delta_versions={table.name: table.version}
    )


def session(config: RepoConfig) -> SparkSession:
    """Return the active Spark session where it can read Delta; where there is none, one by the settings.

    Raises
    ------
    FeatureTableError
        Another session without Delta is active; a JVM has one at a time, and it is not ours to stop.
    """
    # Not Feast's own: that one makes every backticked name of the session a regular expression.
    active = SparkSession.getActiveSession()
    if active is None and SparkContext._active_spark_context is not None:
        active = SparkSession.builder.getOrCreate()
    if active is not None:
        if "delta" not in (active.conf.get("spark.sql.catalog.spark_catalog", "") or ""):
            raise FeatureTableError(
                "the active Spark session cannot read Delta; make it with spark_jobs.session.spark_session, "
                "or ask in a process that has none: one with Delta is then opened by the settings"
            )
        return active
    # The one way of opening a session is a job's, above this package; plain Feast gets here without a job.
    from spark_jobs.session import spark_session

    settings = settings_here(config.repo_path and Path(config.repo_path))
    conf = {**settings.spark.conf, **(config.offline_store.spark_conf or {})}
    settings = settings.model_copy(update={"spark": settings.spark.model_copy(update={"conf": conf})})
    log.info("no Spark session is active; opening one with Delta, master %s", settings.spark.master)
    return spark_session(settings, app="feast")


def open_table(spark: SparkSession, config: RepoConfig, source: DataSource) -> PinnedTable:
    """Open a source at its pinned version.

    Raises
    ------
    FeatureTableError
        No Spark source, no table, or no such version.
    """
    if not isinstance(source, SparkSource):
        raise FeatureTableError(
            f"source '{source.name}' is a {type(source).__name__}; this store reads SparkSource only"
        )
    return open_source(spark, source, lake_of(config), config.repo_path and Path(config.repo_path))


def _entities(spark: SparkSession, ask: Ask, plans: Sequence[_Planned]) -> EntityFrame:
    if ask.rows is not None:
        return entity_frame.from_any(spark, ask.rows)
    sources = [
        entity_frame.KeySource(plan.table.frame, dict(plan.columns.keys), plan.columns.event)
        for plan in plans
    ]
    return entity_frame.from_history(spark, sources, ask.start, ask.end)


def _between(frame: DataFrame, event: str, start: datetime | None, end: datetime | None) -> DataFrame:
    for moment, is_start in ((start, True), (end, False)):
        if moment is not None:
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            bound = F.timestamp_micros(F.lit((aware - EPOCH) // timedelta(microseconds=1)))
            frame = frame.where(F.col(f"`{event}`") >= bound if is_start else F.col(f"`{event}`") <= bound)
    return frame


def _renamed(frame: DataFrame, source: DataSource, keys: list[str]) -> DataFrame:
    renamed = frame.withColumnsRenamed(dict(source.field_mapping))
    return renamed if keys else renamed.withColumn(DUMMY_KEY, F.lit(""))
