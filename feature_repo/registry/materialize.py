"""Materialisation: from the Delta tables into the online store, by Spark's workers, only what is new, as
often as one likes.

One view, in this order; a crash after any step is repaired by running again, since the server keeps the newer
row:
  1 look up the version that was last written (kept in the online store, beside the rows)   2 pin the table's
  present version
  3 take the rows of the files that are new since then   4 the latest row of each key   5 workers write   6
  record the version
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.contract.lazy import lazy
from feature_repo.contract.settings import Settings
from feature_repo.registry.store import applied_store
from feature_repo.stores.offline.errors import FeatureTableError
from feature_repo.stores.surroundings import online_store_of

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView
    from pyspark.sql import DataFrame, SparkSession

    from feature_repo.stores.offline import asof, pins
    from feature_repo.stores.offline import sources as tables
    from feature_repo.stores.online.partition_writer import PartitionWriter
else:
    asof = lazy("feature_repo.stores.offline.asof")
    pins = lazy("feature_repo.stores.offline.pins")
    tables = lazy("feature_repo.stores.offline.sources")

FILES_BY_NAME = 500  # more new files than this are found by a join rather than by a list in the plan


@dataclass(frozen=True)
class Materialized:
    """What was written of one view.

    Attributes
    ----------
    view : str
    version : int
        Delta version that the online store now holds.
    since : int or None
        Version that it held before; none = everything was written.
    rows, taken : int
        Latest rows sent, and those newer than what was there.
    seconds : float
    """

    view: str
    version: int
    since: int | None
    rows: int
    taken: int
    seconds: float


def materialize(
    settings: Settings,
    spark: SparkSession,
    *,
    views: Sequence[str] | None = None,
    full: bool = False,
    url: str | None = None,
) -> list[Materialized]:
    """Bring the online store up to the Delta tables.

    Parameters
    ----------
    settings : Settings
    spark : SparkSession
        With Delta; must be active.
    views : sequence of str, optional
        Names; none = every view whose table exists.
    full : bool
        Write everything again; needed after a view was changed or the online store lost data but not its
        watermark.
    url : str, optional
        Address of the online store in place of the settings'.

    Returns
    -------
    list of Materialized
        One a view, in name order.

    Raises
    ------
    RegistryError
        The definitions were never applied.
    FeatureTableError
        A view that was named has no table.
    OnlineStoreError
        The store cannot be reached; what is written stays, running again completes it.
    """
    store = applied_store(settings, url=url)
    known = {view.name: view for view in store.list_feature_views() if view.online}
    unknown = sorted(set(views or ()) - set(known))
    if unknown:
        raise FeatureTableError(
            f"no feature view {unknown} in the registry; it has {sorted(known)} (python -m feature_repo "
            "apply registers them)"
        )
    done = []
    for name in sorted(views or known):
        try:
            done.append(_materialize_view(store, known[name], spark, full))
        except FeatureTableError:
            if views is not None:
                raise
    return done


def _materialize_view(
    store: FeatureStore, view: FeatureView, spark: SparkSession, full: bool
) -> Materialized:
    started, config, online = time.monotonic(), store.config, online_store_of(store)
    repo = Path(config.repo_path) if config.repo_path else None
    table = tables.open_source(spark, view.batch_source, config.offline_store.lake, repo)
    if table.version is None:
        raise FeatureTableError(
            f"source '{table.name}' of view '{view.name}' is no Delta table; materialise it with Feast's "
            "own command"
        )
    identity = tables.table_id(
        spark, pins.location(str(view.batch_source.path), config.offline_store.lake, repo)
    )
    mark = {} if full else online.watermark(config, view)
    since = mark.get("version") if mark.get("table_id") == identity else None
    rows, taken = 0, 0
    frame = table.frame if since is None else _new_rows(spark, table, since, config, repo, view)
    if frame is not None:
        writer = _writer(store, view)
        keys, features = [column for _, column in writer.keys], [column for _, column in writer.features]
        latest = asof.latest(frame, keys, writer.event, writer.created, features)
        counts = (
            latest.mapInArrow(writer, "rows long, taken long").agg({"rows": "sum", "taken": "sum"}).first()
        )
        rows, taken = int(counts["sum(rows)"] or 0), int(counts["sum(taken)"] or 0)
    online.set_watermark(config, view, table.version, identity)
    return Materialized(view.name, table.version, since, rows, taken, time.monotonic() - started)


def _new_rows(
    spark: SparkSession, table: Any, since: int, config: Any, repo: Path | None, view: FeatureView
) -> DataFrame | None:
    """Rows of the files added after version `since`; all rows when that version is not to be had any more,
    none when no file is new.
    """
    from pyspark.errors import PySparkException
    from pyspark.sql import functions as F

    if table.version == since:
        return None
    path = pins.location(str(view.batch_source.path), config.offline_store.lake, repo)
    try:
        before = set(spark.read.format("delta").option("versionAsOf", since).load(path).inputFiles())
    except PySparkException:
        frame: DataFrame = table.frame
        return frame
    new = sorted(set(table.frame.inputFiles()) - before)
    if not new:
        return None
    if len(new) <= FILES_BY_NAME:
        return table.frame.where(F.col("_metadata.file_path").isin(new))  # type: ignore[no-any-return]
    names = spark.createDataFrame([(name,) for name in new], "file_path string")
    return table.frame.join(
        F.broadcast(names), F.col("_metadata.file_path") == F.col("file_path"), "left_semi"
    )  # type: ignore[no-any-return]


def _writer(store: FeatureStore, view: FeatureView) -> PartitionWriter:
    back = {renamed: column for column, renamed in view.batch_source.field_mapping.items()}
    writer: PartitionWriter = online_store_of(store).writer(store.config, view, back)
    return writer
