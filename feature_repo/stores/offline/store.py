"""`DeltaOfflineStore`: Feast's Spark offline store with a right and slim as-of join over pinned Delta
versions.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from feast import FeatureView, OnDemandFeatureView, RepoConfig
from feast.data_source import DataSource
from feast.infra.offline_stores import offline_utils
from feast.infra.offline_stores.contrib.spark_offline_store.spark import (
    SparkOfflineStore,
    SparkOfflineStoreConfig,
)
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.utils import compute_non_entity_date_range
from pydantic import StrictStr
from pyspark import SparkContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from feature_repo.stores.offline import asof, entity_frame
from feature_repo.stores.offline.entity_frame import EntityFrame, EntityFrameError
from feature_repo.stores.offline.retrieval import DeltaRetrievalJob
from feature_repo.stores.offline.sources import FeatureTableError, PinnedTable, open_source
from feature_repo.stores.packed.keys import DUMMY_KEY
from feature_repo.stores.packed.slots import EPOCH
from feature_repo.stores.surroundings import lake_of, settings_here

log = logging.getLogger("intentstore.features")


class DeltaOfflineStoreConfig(SparkOfflineStoreConfig):
    """Settings under ``offline_store:`` of ``feature_store.yaml``."""

    type: StrictStr = "feature_repo.stores.DeltaOfflineStore"
    lake: str | None = None
    """Folder or address of the Delta tables; relative source paths are taken from it, a relative lake from
    the repository. None = that of the settings of this process (`surroundings`).
    """


class DeltaOfflineStore(SparkOfflineStore):
    """Point-in-time reads: of a key the latest event time up to the row's, then the latest `created`, then
    the greatest content hash.

    Rows come back as they were given: as many, in their order, with their extra columns. The join itself is
    in `asof`.
    """

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | DataFrame | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **kwargs: Any,
    ) -> RetrievalJob:
        """Plan a historical read; tables are pinned now, rows are read when the job is asked for them.

        Raises
        ------
        EntityFrameError
            Entity rows without rows, time column or keys, of wrong types or from the future.
        FeatureTableError
            A table or version that is not there.
        """
        spark = _session(config)
        on_demand = offline_utils._get_requested_on_demand_feature_views(feature_refs, project, registry)
        views, _ = offline_utils._get_requested_feature_views_to_features_dict(
            feature_refs, feature_views, on_demand
        )
        tables = {view.projection.name_to_use(): _open(spark, config, view) for view in views}
        entities = _entities(spark, config, views, tables, entity_df, kwargs)
        plans = []
        for view, names in views.items():
            table = tables[view.projection.name_to_use()]
            plan = _plan(view, names, table, full_feature_names, filter_by_created_timestamp)
            entity_frame.check_keys(entities, table.frame, plan.keys, view.name)
            plans.append(plan)
        _check_names(entities, plans)
        joined = asof.join(entities.frame, plans, entities.rows).drop(asof.AT)
        return DeltaRetrievalJob(
            spark,
            joined,
            config,
            entities=entities,
            full_feature_names=full_feature_names,
            on_demand_feature_views=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=sorted(set(entities.columns) - {entities.event}),
                min_event_timestamp=entities.first,
                max_event_timestamp=entities.last,
            ),
            delta_versions={table.name: table.version for table in tables.values()},
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """Read the latest row of each key with an event time from `start_date` to `end_date`, chosen in
        Spark.
        """
        spark = _session(config)
        table = _open_source(spark, config, data_source)
        frame = _between(table.frame, timestamp_field, start_date, end_date)
        rows = asof.latest(
            frame, join_key_columns, timestamp_field, created_timestamp_column or None, feature_name_columns
        )
        return DeltaRetrievalJob(
            spark,
            _renamed(rows, data_source, join_key_columns),
            config,
            delta_versions={table.name: table.version},
        )

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Read every row with an event time from `start_date` to `end_date`."""
        spark = _session(config)
        table = _open_source(spark, config, data_source)
        frame = _between(table.frame, timestamp_field, start_date, end_date)
        if feature_name_columns:
            times = [timestamp_field, *([created_timestamp_column] if created_timestamp_column else [])]
            frame = frame.select(
                *(F.col(f"`{name}`") for name in [*join_key_columns, *feature_name_columns, *times])
            )
        return DeltaRetrievalJob(
            spark,
            _renamed(frame, data_source, join_key_columns),
            config,
            delta_versions={table.name: table.version},
        )

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Any
    ) -> None:
        """Refuse: Delta tables are written by their Spark jobs (Feast's own way would leave files that no
        Delta reader sees).

        Raises
        ------
        FeatureTableError
            Always; names the table and the job.
        """
        job = feature_view.tags.get("job", "JOB")
        raise FeatureTableError(
            f"feature view '{feature_view.name}' is not written through Feast; its Delta table is the work "
            f"of `python -m spark_jobs {job}`, write there"
        )

    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        """Check that a source's table is there and has its time columns."""
        if not isinstance(data_source, SparkSource):
            return
        frame = _open_source(_session(config), config, data_source).frame.withColumnsRenamed(
            dict(data_source.field_mapping)
        )
        for column in (data_source.timestamp_field, data_source.created_timestamp_column):
            if column and column not in frame.columns:
                raise FeatureTableError(
                    f"source '{data_source.name}' has no column '{column}'; it has {frame.columns}: correct "
                    "the definition"
                )

    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> list[tuple[str, str]]:
        """List the columns of a source with Spark's type names."""
        frame = _open_source(_session(config), config, data_source).frame
        return [(field.name, field.dataType.simpleString()) for field in frame.schema]


def _session(config: RepoConfig) -> SparkSession:
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


def _open_source(spark: SparkSession, config: RepoConfig, source: DataSource) -> PinnedTable:
    if not isinstance(source, SparkSource):
        raise FeatureTableError(
            f"source '{source.name}' is a {type(source).__name__}; this store reads SparkSource only"
        )
    return open_source(
        spark,
        source,
        lake_of(config),
        config.repo_path and Path(config.repo_path),
    )


def _open(spark: SparkSession, config: RepoConfig, view: FeatureView) -> PinnedTable:
    if view.batch_source is None:
        raise FeatureTableError(
            f"feature view '{view.name}' has no batch source; it cannot be read historically"
        )
    return _open_source(spark, config, view.batch_source)


def _source_name(view: FeatureView, name: str) -> str:
    back = {renamed: source for source, renamed in view.batch_source.field_mapping.items()}
    return str(back.get(name, name))


def _keys(view: FeatureView) -> tuple[tuple[str, str], ...]:
    columns = [column for column in view.entity_columns if column.name != DUMMY_KEY]
    return tuple(
        (view.projection.join_key_map.get(column.name, column.name), _source_name(view, column.name))
        for column in columns
    )


def _plan(
    view: FeatureView, names: list[str], table: PinnedTable, full_names: bool, by_created: bool
) -> asof.ViewPlan:
    source = view.batch_source
    prefix = f"{view.projection.name_to_use()}__" if full_names else ""
    created = _source_name(view, source.created_timestamp_column) if source.created_timestamp_column else None
    features = tuple((prefix + name, _source_name(view, name)) for name in names)
    event = _source_name(view, source.timestamp_field)
    needed = [*(column for _, column in features), *(column for _, column in _keys(view)), event]
    missing = [column for column in needed if column not in table.frame.columns]
    if missing:
        raise FeatureTableError(
            f"table '{table.name}' (version {table.version}) lacks {missing} of view '{view.name}'; run its "
            "Spark job or pin a version"
        )
    return asof.ViewPlan(
        frame=table.frame,
        keys=_keys(view),
        features=features,
        event=event,
        created=created,
        ttl_us=(view.ttl or timedelta(0)) // timedelta(microseconds=1),
        known_by_created=by_created and created is not None,
    )


def _entities(
    spark: SparkSession,
    config: RepoConfig,
    views: Mapping[FeatureView, list[str]],
    tables: Mapping[str, PinnedTable],
    entity_df: pd.DataFrame | str | DataFrame | None,
    options: Mapping[str, Any],
) -> EntityFrame:
    if entity_df is not None:
        return entity_frame.from_any(spark, entity_df)
    start, end = compute_non_entity_date_range(
        list(views), start_date=options.get("start_date"), end_date=options.get("end_date")
    )
    sources = [
        entity_frame.KeySource(
            tables[view.projection.name_to_use()].frame,
            dict(_keys(view)),
            _source_name(view, view.batch_source.timestamp_field),
        )
        for view in views
    ]
    return entity_frame.from_history(spark, sources, start, end)


def _check_names(entities: EntityFrame, plans: list[asof.ViewPlan]) -> None:
    taken = set(entities.columns)
    for plan in plans:
        for output, _ in plan.features:
            if output in taken:
                raise EntityFrameError(
                    f"column '{output}' would occur twice in the result; ask with full_feature_names=True "
                    "or rename the entity column"
                )
            taken.add(output)


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
