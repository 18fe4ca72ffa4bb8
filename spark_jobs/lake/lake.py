"""The lake: Delta tables read at a version, merged so that nothing is committed when nothing changes, and
compared with what they were. The one door to them where Spark runs; `log` reads them without a JVM.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.contract.files import only_one
from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import MERGE_KEYS, TABLES
from spark_jobs.job import JobError
from spark_jobs.lake.errors import as_job_error
from spark_jobs.lake.frames import conform, differs, same_key, skipping_columns, spark_schema
from spark_jobs.lake.log import DeltaLog

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class MergeResult:
    """Rows inserted, updated and deleted by a write, and the table's version after it (unchanged when all are
    0).
    """

    inserted: int
    updated: int
    version: int
    deleted: int = 0


@dataclass(frozen=True)
class Lake:
    """The Delta tables of one home, as one Spark session reads and writes them.

    Every `table` of a method is a name of ``tables.SCHEMAS``; a method that writes raises `JobError` for a
    full disk, a null in a column that may not be null or another failed write, and the table is then as
    before.

    Parameters
    ----------
    spark : SparkSession
        With Delta.
    settings : Settings
        The home, and what jobs are set to.
    """

    spark: SparkSession
    settings: Settings

    def path(self, table: str) -> Path:
        """Return the folder of a table."""
        return self.settings.table(table)

    def log(self, table: str) -> DeltaLog:
        """Return the log of a table, which needs no Spark."""
        return DeltaLog(self.path(table))

    def exists(self, table: str) -> bool:
        """Tell whether a table has at least one commit."""
        return self.log(table).exists()

    def version(self, table: str) -> int:
        """Return the newest version of a table, -1 when it does not exist."""
        return self.log(table).version()

    def metadata(self, table: str) -> dict[str, Any]:
        """Return the JSON that the newest commit of a table was given: of which input versions, under which
        rules it was made; empty when it got none.
        """
        return self.log(table).metadata()

    def as_job_error(self, table: str) -> contextlib.AbstractContextManager[None]:
        """Return a block in which what Spark raises becomes a `JobError` that names the table and the
        remedy.
        """
        return as_job_error(table, self.settings)

    def read(self, table: str, version: int | None = None) -> DataFrame:
        """Read a table, at a version if one is given.

        Parameters
        ----------
        table : str
            Which.
        version : int, optional
            Delta version; none = the newest.

        Returns
        -------
        DataFrame
            With the columns of ``tables.SCHEMAS[table]``.

        Raises
        ------
        JobError
            The table or the version does not exist (or its files were vacuumed); says which job writes it.
        """
        path, newest = self.path(table), self.version(table)
        if newest < 0:
            raise JobError(
                f"table '{table}' does not exist at {path}; run `python -m spark_jobs {TABLES[table].job}` "
                "first"
            )
        if version is not None and not 0 <= version <= newest:
            raise JobError(f"table '{table}' has no version {version}, only 0 to {newest}; pin one of these")
        reader = self.spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        with self.as_job_error(table):
            return reader.load(str(path))

    def changes(self, table: str, since: int) -> DataFrame:
        """Return the rows that were added to a table behind a version; for tables whose rows are never
        changed and whose commits have an ingest time each (`clicks`).
        """
        from pyspark.sql import functions as F

        known = self.read(table, since).select("ingest_time").distinct()
        return self.read(table).join(F.broadcast(known), "ingest_time", "left_anti")

    def create(self, table: str) -> bool:
        """Create a table with its schema and no rows, unless it exists; returns whether it was created."""
        if self.exists(table):
            return False
        from delta.tables import DeltaTable

        with self.as_job_error(table), only_one(self.settings.home / "spark" / "locks" / f"{table}.create"):
            if self.exists(table):
                return False
            # A log without a commit is what a job leaves that was killed while it created the table; Delta
            # takes it neither for a table nor for none.
            shutil.rmtree(self.path(table) / "_delta_log", ignore_errors=True)
            new = DeltaTable.createIfNotExists(self.spark).location(str(self.path(table)))
            new = new.addColumns(spark_schema(table))
            new.property("delta.dataSkippingStatsColumns", ",".join(skipping_columns(table))).execute()
        return True

    def add_new_columns(self, table: str) -> None:
        """Give a table of before the nullable columns that its schema got since; old rows hold null."""
        present = set(self.read(table).columns)
        new = [field for field in spark_schema(table).fields if field.nullable and field.name not in present]
        if new:
            with self.as_job_error(table):
                columns = ", ".join(f"`{field.name}` {field.dataType.simpleString()}" for field in new)
                self.spark.sql(f"ALTER TABLE delta.`{self.path(table)}` ADD COLUMNS ({columns})")

    def merge(
        self,
        table: str,
        frame: DataFrame,
        *,
        update_changed: bool = True,
        metadata: Mapping[str, Any] | None = None,
    ) -> MergeResult:
        """Insert new rows and update changed ones by the table's key, in one commit, or in none when nothing
        differs.

        Parameters
        ----------
        table : str
            Name in ``tables.MERGE_KEYS``.
        frame : DataFrame
            At most one row a key. `created` and `ingest_time` say when a row was written, so they do not make
            a row different.
        update_changed : bool
            False: a known key is left as it is (tables whose rows never change).
        metadata : mapping, optional
            Plain JSON kept with the commit; see `metadata`.

        Returns
        -------
        MergeResult
            Counts of this call and the version after it.
        """
        from pyspark.sql import functions as F

        keys, source = MERGE_KEYS[table], conform(frame, table)
        with self.as_job_error(table):
            if self._holds_nothing(table):
                return self.append(table, source, metadata=metadata)
            target = self.read(table)
            if not update_changed:
                new = source.alias("s").join(target.select(*keys).alias("t"), same_key(keys), "left_anti")
                return self.append(table, new, metadata=metadata)
            known = F.col(f"t.{keys[0]}").isNotNull()
            paired = source.alias("s").join(target.alias("t"), same_key(keys), "left")
            paired = paired.where(~known | differs(source.columns, keys))
            kind = F.when(known, "u").otherwise("i").alias("_change")
            return self._apply(table, paired.select("s.*", kind), metadata)

    def synchronise(
        self,
        table: str,
        frame: DataFrame,
        *,
        within: DataFrame | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> MergeResult:
        """Make a table, or the part of it that some keys select, hold exactly the rows of a frame, in one
        commit or none.

        Parameters
        ----------
        table : str
            Name in ``tables.MERGE_KEYS``.
        frame : DataFrame
            What should stand there; at most one row a key.
        within : DataFrame, optional
            Distinct values of one or more columns of the table; only rows with these are compared and
            deleted. None = the whole table.
        metadata : mapping, optional
            Plain JSON kept with the commit; see `metadata`.

        Returns
        -------
        MergeResult
            Rows added, changed and deleted; only these are written.
        """
        from pyspark.sql import functions as F

        keys, source = MERGE_KEYS[table], conform(frame, table)
        with self.as_job_error(table):
            if self._holds_nothing(table):
                return self.append(table, source, metadata=metadata)
            target = self.read(table)
            if within is not None:
                target = target.join(within, within.columns, "left_semi").select(*source.columns)
            here, there = F.col(f"s.{keys[0]}").isNotNull(), F.col(f"t.{keys[0]}").isNotNull()
            paired = source.alias("s").join(target.alias("t"), same_key(keys), "full")
            paired = paired.where(~here | ~there | differs(source.columns, keys))
            change = F.when(~here, "d").when(~there, "i").otherwise("u").alias("_change")
            columns = [
                F.when(here, F.col(f"s.{name}")).otherwise(F.col(f"t.{name}")).alias(name)
                for name in source.columns
            ]
            return self._apply(table, paired.select(*columns, change), metadata)

    def append(
        self,
        table: str,
        frame: DataFrame,
        *,
        metadata: Mapping[str, Any] | None = None,
        has_rows: bool = False,
    ) -> MergeResult:
        """Append rows in one commit, or make none when there are no rows.

        Parameters
        ----------
        table : str
            Which.
        frame : DataFrame
            With the table's columns.
        metadata : mapping, optional
            Plain JSON kept with the commit; see `metadata`.
        has_rows : bool
            True: the caller knows that there are rows, so they are written in one go instead of being counted
            first.

        Returns
        -------
        MergeResult
            `inserted` is the number of rows of the commit.
        """
        self.create(table)
        with self.as_job_error(table):
            if has_rows:
                self._write(table, conform(frame, table), metadata)
                metrics = self.log(table).commit().get("operationMetrics", {})
                return MergeResult(int(metrics.get("numOutputRows", 0)), 0, self.version(table))
            with self.staged(conform(frame, table)) as rows:
                count = rows.count()
                if count:
                    self._write(table, rows, metadata)
                return MergeResult(count, 0, self.version(table))

    def delete(self, table: str, keys: DataFrame) -> None:
        """Delete the rows that equal a row of a frame in all columns of the frame, in one commit."""
        from delta.tables import DeltaTable

        condition = " AND ".join(f"s.`{name}` = t.`{name}`" for name in keys.columns)
        with self.as_job_error(table):
            target = DeltaTable.forPath(self.spark, str(self.path(table))).alias("t")
            target.merge(keys.alias("s"), condition).whenMatchedDelete().execute()

    @contextlib.contextmanager
    def staged(self, frame: DataFrame) -> Iterator[DataFrame]:
        """Compute a frame once, into Parquet beside the lake, and give it back for reading.

        A write needs its rows more than once (count, compare, commit); computing them twice costs more than
        writing them aside, and could give different rows.

        Yields
        ------
        DataFrame
            The same rows; valid inside the block only.
        """
        folder = self.settings.home / "spark" / "staged" / uuid.uuid4().hex
        try:
            frame.write.parquet(str(folder))
            yield self.spark.read.schema(frame.schema).parquet(str(folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _holds_nothing(self, table: str) -> bool:
        """Tell whether a table, which is created when it is missing, has no rows."""
        return self.create(table) or bool(self.read(table).isEmpty())

    def _write(self, table: str, rows: DataFrame, metadata: Mapping[str, Any] | None) -> None:
        writer = rows.write.format("delta").mode("append")
        if metadata is not None:
            writer = writer.option("userMetadata", json.dumps(metadata))
        writer.save(str(self.path(table)))

    def _apply(self, table: str, changes: DataFrame, metadata: Mapping[str, Any] | None) -> MergeResult:
        """Write rows with ``_change`` i(nsert), u(pdate) or d(elete) in one commit."""
        from delta.tables import DeltaTable

        with self.staged(changes) as rows:
            counted = {row["_change"]: int(row["count"]) for row in rows.groupBy("_change").count().collect()}
            inserted, updated, deleted = (counted.get(kind, 0) for kind in "iud")
            if updated or deleted:
                condition = " AND ".join(f"s.`{key}` = t.`{key}`" for key in MERGE_KEYS[table])
                values = {f"`{name}`": f"s.`{name}`" for name in rows.columns if name != "_change"}
                target = DeltaTable.forPath(self.spark, str(self.path(table))).alias("t")
                with self._kept_with_commit(metadata):
                    change = target.merge(rows.alias("s"), condition)
                    change = change.whenMatchedDelete("s._change = 'd'").whenMatchedUpdate(set=values)
                    change.whenNotMatchedInsert(values=values).execute()
            elif inserted:
                self._write(table, rows.drop("_change"), metadata)
            return MergeResult(inserted, updated, self.version(table), deleted)

    @contextlib.contextmanager
    def _kept_with_commit(self, metadata: Mapping[str, Any] | None) -> Iterator[None]:
        """Set the metadata of commits that the builder of MERGE makes, which takes no option."""
        name = "spark.databricks.delta.commitInfo.userMetadata"
        if metadata is not None:
            self.spark.conf.set(name, json.dumps(metadata))
        try:
            yield
        finally:
            self.spark.conf.unset(name)
