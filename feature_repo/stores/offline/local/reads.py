"""Historical reads without a JVM: planned when asked for, read when the job is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import OnDemandFeatureView, RepoConfig
from feast.data_source import DataSource
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.saved_dataset import SavedDatasetStorage

from feature_repo.stores.offline import entity_rows, pins
from feature_repo.stores.offline.asks import Ask
from feature_repo.stores.offline.entity_rows import EntityRows
from feature_repo.stores.offline.errors import EntityFrameError, OnlySparkError
from feature_repo.stores.offline.local import join
from feature_repo.stores.offline.local.tables import LocalTable, open_table, spark_name
from feature_repo.stores.offline.view_columns import ViewColumns, refuse_taken
from feature_repo.stores.packed.slots import EPOCH
from feature_repo.stores.surroundings import lake_of

log = logging.getLogger("intentstore.features")
ENTITY_ROWS = 1_000_000
"""More entity rows than this are Spark's work."""
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class _Planned:
    columns: ViewColumns
    table: LocalTable


class LocalRetrievalJob(RetrievalJob):
    """A historical read that needs no Spark, knows which Delta versions it reads and keeps the order of its
    rows.

    Parameters
    ----------
    read : callable
        Reads the rows.
    on_spark : callable
        Plans the same read on Spark, for the reason given: a lazy frame, a saved set, a tie of maps.
    metadata : RetrievalMetadata
    delta_versions : mapping
        Source table to version.
    full_names : bool
    on_demand : list of OnDemandFeatureView
    """

    def __init__(
        self,
        read: Callable[[], pa.Table],
        on_spark: Callable[[str], RetrievalJob],
        *,
        metadata: RetrievalMetadata,
        delta_versions: Mapping[str, int],
        full_names: bool,
        on_demand: list[OnDemandFeatureView],
    ) -> None:
        self._read, self._on_spark, self._metadata = read, on_spark, metadata
        self._full_names, self._on_demand = full_names, on_demand
        self.delta_versions: dict[str, int] = dict(delta_versions)
        """Source table to the Delta version read; `store.pinned` takes it back."""

    @property
    def full_feature_names(self) -> bool:
        """Tell whether features are named ``view__feature``."""
        return self._full_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """Return the views that are computed from the rows."""
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata:
        """Tell what was asked."""
        return self._metadata

    def to_spark_df(self, *, ordered: bool = True) -> object:
        """Plan the same read, of the same versions, on Spark, and return its lazy frame."""
        job: Any = self._pinned_on_spark("a lazy frame")
        return job.to_spark_df(ordered=ordered)

    def persist(
        self, storage: SavedDatasetStorage, allow_overwrite: bool | None = False, timeout: int | None = None
    ) -> None:
        """Write the rows by Spark to a path or a table, which must not be there yet."""
        self._pinned_on_spark("a saved set").persist(storage, bool(allow_overwrite), timeout)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        try:
            return self._read()
        except OnlySparkError as reason:  # known only when rows are read: ties that only Spark tells apart
            log.info("history is read by Spark: %s", reason)
            return self._pinned_on_spark(str(reason))._to_arrow_internal(timeout)

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        rows: pd.DataFrame = self._to_arrow_internal(timeout).to_pandas()
        return rows

    def _pinned_on_spark(self, reason: str) -> RetrievalJob:
        with pins.pinned(self.delta_versions):
            return self._on_spark(reason)


def historical(config: RepoConfig, ask: Ask, on_spark: Callable[[str], RetrievalJob]) -> LocalRetrievalJob:
    """Plan a historical read; tables are pinned now, rows are read when the job is asked for them.

    Raises
    ------
    EntityFrameError
        Entity rows without rows, time column or keys, or of wrong types.
    FeatureTableError
        A table or version that is not there.
    OnlySparkError
        More rows than are held at once, or tables that only Spark reads.
    """
    if ask.rows is not None and len(ask.rows) > ENTITY_ROWS:
        raise OnlySparkError(f"{len(ask.rows):,} entity rows are more than {ENTITY_ROWS:,}")
    repo = Path(config.repo_path) if config.repo_path else None
    lake = lake_of(config)
    plans = [_Planned(view.columns, open_table(view.source, lake, repo)) for view in ask.views()]
    for plan in plans:
        join.check_table(plan.columns, plan.table)
    entities = _entities(ask, plans)
    for plan in plans:
        join.check_keys(plan.columns, plan.table, entities)
    refuse_taken(entities.table.column_names, [plan.columns for plan in plans])
    return LocalRetrievalJob(
        lambda: _read(entities, plans),
        on_spark,
        metadata=RetrievalMetadata(
            **ask.metadata_of(entities.table.column_names, entities.event, entities.first, entities.last)
        ),
        delta_versions={plan.table.name: plan.table.version for plan in plans},
        full_names=ask.full_names,
        on_demand=ask.on_demand,
    )


def columns(source: DataSource, lake: str | None, repo: Path | None) -> dict[str, str]:
    """Return the columns of a source's present version and Spark's names of their types.

    Raises
    ------
    OnlySparkError
        A source, or a column's type, that only Spark reads.
    """
    types = open_table(source, lake, repo).types
    if None in types.values():
        raise OnlySparkError(f"source '{source.name}' has columns of types that only Spark reads")
    return {name: spark_name(kind) for name, kind in types.items()}


def _read(entities: EntityRows, plans: Sequence[_Planned]) -> pa.Table:
    answer = entities.table
    for plan in plans:
        found = join.features(plan.columns, plan.table, entities)
        for name in found.column_names:
            answer = answer.append_column(name, found.column(name))
    return answer


def _entities(ask: Ask, plans: Sequence[_Planned]) -> EntityRows:
    if isinstance(ask.rows, pd.DataFrame):
        return entity_rows.from_pandas(ask.rows)
    names = sorted({name for plan in plans for name, _ in plan.columns.keys})
    low, high = ((moment - EPOCH) // _MICROSECOND for moment in (ask.start, ask.end))
    seen = [_keys_between(plan, names, low, high) for plan in plans]
    keys = pa.concat_tables(seen, promote_options="permissive").group_by(names).aggregate([])
    if len(keys) > ENTITY_ROWS:
        raise OnlySparkError(f"{len(keys):,} keys of the range are more than {ENTITY_ROWS:,}")
    if not len(keys):
        raise EntityFrameError(f"entity_df with columns {names} has no rows; give at least one")
    at_us, end = np.full(len(keys), high), ask.end.astimezone(UTC)
    moments = pa.array(at_us).cast(pa.timestamp("us", tz="UTC"))
    entity_rows.check(names, "event_timestamp", end)
    return EntityRows(keys.append_column("event_timestamp", moments), "event_timestamp", at_us, end, end)


def _keys_between(plan: _Planned, names: Sequence[str], low: int, high: int) -> pa.Table:
    """Read a view's keys of a range of event times, ends included; entity columns of other views are null."""
    sources, parts = dict(plan.columns.keys), []
    for part in plan.table.parts([*sources.values(), plan.columns.event]):
        event = join.micros(part.column(plan.columns.event))
        inside = part.take(pa.array(np.flatnonzero((event >= low) & (event <= high))))
        none = pa.nulls(len(inside), pa.string())
        columns = [inside.column(sources[name]) if name in sources else none for name in names]
        parts.append(pa.table(columns, names=list(names)))
    empty = pa.schema(
        [(name, plan.table.types[sources[name]] if name in sources else pa.string()) for name in names]
    )
    return pa.concat_tables(parts) if parts else empty.empty_table()
