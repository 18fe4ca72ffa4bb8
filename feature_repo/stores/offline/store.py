"""`DeltaOfflineStore`: Feast's offline store with a right and slim as-of join over pinned Delta versions, on
Spark or without a JVM.
"""

from __future__ import annotations

import logging
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import pyarrow as pa
from feast import FeatureView, OnDemandFeatureView, RepoConfig
from feast.data_source import DataSource
from feast.infra.offline_stores import offline_utils
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.utils import compute_non_entity_date_range
from pydantic import StrictStr

from feature_repo.stores.offline.asks import Ask
from feature_repo.stores.offline.errors import EntityFrameError, FeatureTableError, OnlySparkError
from feature_repo.stores.offline.local import reads as local_reads
from feature_repo.stores.surroundings import lake_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


if find_spec("pyspark") is not None:
    from feast.infra.offline_stores.contrib.spark_offline_store.spark import (
        SparkOfflineStore as _Store,
    )
    from feast.infra.offline_stores.contrib.spark_offline_store.spark import (
        SparkOfflineStoreConfig as _Config,
    )
else:  # the extra `features` has none
    from feast.infra.offline_stores.offline_store import OfflineStore as _Store
    from feast.repo_config import FeastConfigBaseModel as _Config

log = logging.getLogger("intentstore.features")


class DeltaOfflineStoreConfig(_Config):
    """Settings under ``offline_store:`` of ``feature_store.yaml``."""

    type: StrictStr = "feature_repo.stores.DeltaOfflineStore"
    lake: str | None = None
    """Folder or address of the Delta tables; relative source paths are taken from it, a relative lake from
    the repository. None = that of the settings of this process (`surroundings`).
    """
    engine: Literal["auto", "spark", "local"] = "auto"
    """Who reads history: ``local`` needs no JVM and takes pandas rows up to a million over tables in local
    folders; ``spark`` takes everything; ``auto`` asks the first and, where it cannot, the second.
    """
    spark_conf: dict[str, str] | None = None
    """Configuration over the settings', for a session that is opened here."""
    staging_location: StrictStr | None = None
    """Place of Spark's answers on their way to Arrow; see Feast's Spark store."""
    region: StrictStr | None = None


class DeltaOfflineStore(_Store):
    """Point-in-time reads: of a key the latest event time up to the row's, then the latest `created`, then
    the greatest content hash.

    Rows come back as they were given: as many, in their order, with their extra columns. The joins are in
    `asof` and in `local.asof`.
    """

    supports_filter_by_created_timestamp = True

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
            Entity rows without rows, time column or keys, or of wrong types.
        FeatureTableError
            A table or version that is not there, or a read that the chosen engine does not do.
        """
        on_demand = offline_utils._get_requested_on_demand_feature_views(feature_refs, project, registry)
        views, _ = offline_utils._get_requested_feature_views_to_features_dict(
            feature_refs, feature_views, on_demand
        )
        start, end = compute_non_entity_date_range(
            list(views), start_date=kwargs.get("start_date"), end_date=kwargs.get("end_date")
        )
        return _read(
            config,
            Ask(
                wanted=views,
                rows=entity_df,
                start=start,
                end=end,
                full_names=full_feature_names,
                by_created=filter_by_created_timestamp,
                on_demand=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
                refs=feature_refs,
            ),
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
        return _on_spark(f"materialisation of '{data_source.name}'").latest(
            config,
            data_source,
            join_key_columns,
            feature_name_columns,
            timestamp_field,
            created_timestamp_column,
            start_date,
            end_date,
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
        return _on_spark(f"all rows of '{data_source.name}'").everything(
            config,
            data_source,
            join_key_columns,
            feature_name_columns,
            timestamp_field,
            created_timestamp_column,
            start_date,
            end_date,
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
        renamed = dict(data_source.field_mapping)
        columns = [renamed.get(name, name) for name in _columns(config, data_source)]
        for column in (data_source.timestamp_field, data_source.created_timestamp_column):
            if column and column not in columns:
                raise FeatureTableError(
                    f"source '{data_source.name}' has no column '{column}'; it has {columns}: correct "
                    "the definition"
                )

    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> list[tuple[str, str]]:
        """List the columns of a source with Spark's type names."""
        return list(_columns(config, data_source).items())


def _read(config: RepoConfig, ask: Ask) -> RetrievalJob:
    """Read with the engine that is set; an error of the entity rows names the views that they are for."""
    try:
        return _read_by_engine(config, ask)
    except EntityFrameError as error:
        views = ", ".join(f"'{view.projection.name_to_use()}'" for view in ask.wanted)
        told = str(error) if "view '" in str(error) else f"view {views}: {error}"
    raise EntityFrameError(told)


def _read_by_engine(config: RepoConfig, ask: Ask) -> RetrievalJob:
    engine = config.offline_store.engine
    if ask.rows is not None and not isinstance(ask.rows, str | pd.DataFrame) and not _of_spark(ask.rows):
        raise EntityFrameError(
            f"entity_df is a {type(ask.rows).__name__}; give a pandas data frame, a Spark data frame or "
            "SQL text"
        )
    if engine == "spark":
        return _on_spark("engine: spark").historical(config, ask)
    try:
        if ask.rows is not None and not isinstance(ask.rows, pd.DataFrame):
            raise OnlySparkError("SQL text and Spark data frames are read by Spark")
        return local_reads.historical(config, ask, lambda reason: _on_spark(reason).historical(config, ask))
    except OnlySparkError as reason:
        if engine == "local":
            raise FeatureTableError(f"{reason}; offline_store.engine is local, set it to auto") from None
        log.info("history is read by Spark: %s", reason)
        return _on_spark(str(reason)).historical(config, ask)


def _of_spark(rows: object) -> bool:
    return type(rows).__module__.startswith("pyspark.")


def _on_spark(reason: str) -> Any:
    """Return the reads on Spark.

    Raises
    ------
    FeatureTableError
        Spark is not installed.
    """
    if find_spec("pyspark") is None:
        raise FeatureTableError(
            f"{reason}: that needs Spark, which is not installed; pip install 'intentstore[batch]'"
        )
    from feature_repo.stores.offline import spark_reads

    return spark_reads


def _columns(config: RepoConfig, source: DataSource) -> dict[str, str]:
    """Return the columns of a source and Spark's names of their types, without Spark where it can be."""
    repo = Path(config.repo_path) if config.repo_path else None
    try:
        return local_reads.columns(source, lake_of(config), repo)
    except OnlySparkError as reason:
        reads: Any = _on_spark(str(reason))
        frame = reads.open_table(reads.session(config), config, source).frame
        return {field.name: field.dataType.simpleString() for field in frame.schema}
