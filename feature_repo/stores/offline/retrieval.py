"""A planned historical read: rows in their order, times in UTC, the Delta versions it reads, and a place to
save it to.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast import OnDemandFeatureView, RepoConfig
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.contrib.spark_offline_store.spark import SparkRetrievalJob
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SavedDatasetSparkStorage
from feast.infra.offline_stores.offline_store import RetrievalMetadata
from feast.saved_dataset import SavedDatasetStorage
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from feature_repo.stores.offline import pins
from feature_repo.stores.offline.entity_frame import EntityFrame
from feature_repo.stores.offline.entity_rows import ROW
from feature_repo.stores.offline.errors import FeatureTableError
from feature_repo.stores.offline.sources import explain
from feature_repo.stores.surroundings import lake_of


class DeltaRetrievalJob(SparkRetrievalJob):
    """A historical read that knows which Delta versions it reads, keeps the order of its rows and answers in
    UTC.
    """

    def __init__(
        self,
        spark_session: SparkSession,
        frame: DataFrame,
        config: RepoConfig,
        *,
        entities: EntityFrame | None = None,
        full_feature_names: bool = False,
        on_demand_feature_views: list[OnDemandFeatureView] | None = None,
        metadata: RetrievalMetadata | None = None,
        delta_versions: Mapping[str, int | None] | None = None,
    ) -> None:
        super().__init__(spark_session, "", full_feature_names, config, on_demand_feature_views, metadata)
        self._frame, self._entities, self._order = frame, entities, ROW if entities is not None else None
        self.delta_versions: dict[str, int | None] = dict(delta_versions or {})
        """Source table to the Delta version read: what a training set's manifest records, and `store.pinned`
        takes back.
        """

    def to_spark_df(self, *, ordered: bool = True) -> DataFrame:
        """Return the result as a lazy Spark data frame, rows in the order of the entity rows (`ordered=False`
        saves a shuffle of every vector).
        """
        if self._entities is None or self._order is None:
            frame: DataFrame = self._frame
        elif not ordered:
            frame = self._frame.drop(self._order)
        else:
            # By known ranges: a global sort would run the whole join twice, once to sample it.
            ranges = self._frame.repartitionById(self._entities.places, self._entities.place())
            frame = ranges.sortWithinPartitions(self._order).drop(self._order)
        return frame

    def persist(
        self, storage: SavedDatasetStorage, allow_overwrite: bool | None = False, timeout: int | None = None
    ) -> None:
        """Write the rows to a path (a relative one is a folder of the lake) or a table, which must not be
        there yet.

        Raises
        ------
        SavedDatasetLocationAlreadyExists
            It is there, and `allow_overwrite` is not set.
        """
        options = storage.spark_options if isinstance(storage, SavedDatasetSparkStorage) else None
        if options is None or not (options.path or options.table):
            raise FeatureTableError(
                f"{type(storage).__name__} names no place; give SavedDatasetSparkStorage a table or a path"
            )
        place = self._place(options.path) if options.path else options.table
        if not allow_overwrite and (
            self._path_exists(place) if options.path else self.spark_session.catalog.tableExists(place)
        ):
            raise SavedDatasetLocationAlreadyExists(place)
        if options.path:
            kind = options.file_format or "parquet"
            self.to_spark_df().write.format(kind).mode("overwrite" if allow_overwrite else "error").save(
                place
            )
        else:
            super().persist(storage, allow_overwrite, timeout)

    def _place(self, path: str) -> str:
        repo = self._config.repo_path
        return pins.location(path, lake_of(self._config), Path(repo) if repo else None)

    def _path_exists(self, path: str) -> bool:
        context: Any = self.spark_session.sparkContext
        place = context._jvm.org.apache.hadoop.fs.Path(path)
        return bool(place.getFileSystem(context._jsc.hadoopConfiguration()).exists(place))

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        if self._should_use_staging_for_arrow():
            return self._to_arrow_via_staging()
        try:
            table: pa.Table = self._frame.toArrow()
        except (PySparkException, Py4JError) as error:
            clear = explain(error, self.delta_versions)
            if clear is error:
                raise
            raise clear from None
        if self._order is not None:  # sorting here saves Spark a shuffle of every vector
            table = table.take(pc.sort_indices(table.column(self._order))).drop_columns([self._order])
        return pa.table({field.name: _in_utc(table.column(field.name)) for field in table.schema})

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        rows: pd.DataFrame = self._to_arrow_internal(timeout).to_pandas()
        return rows


def _in_utc(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return (
        column.cast(pa.timestamp("us", tz="UTC"))
        if pa.types.is_timestamp(column.type) and column.type.tz is not None
        else column
    )
