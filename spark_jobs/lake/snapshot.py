"""One version of a Delta table without a JVM: which files are in force, and their rows as Arrow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa

from feature_repo.contract.tables import SCHEMAS

if TYPE_CHECKING:
    import pyarrow.compute as pc

# pyarrow.dataset and .parquet bring pandas, which takes a second: they are imported where rows are read, not
# with the definitions.


@dataclass(frozen=True)
class Snapshot:
    """One version of a Delta table as its log describes it.

    Parameters
    ----------
    path : Path
        Folder of the table; its name decides the schema where the contract knows it.
    version : int
        Version of the newest commit that was applied.
    files : tuple of dict
        The `add` actions in force: path, size, partitionValues, stats.
    partition_columns : tuple of str
        Columns whose values are kept in the log, not in the files.
    written_at : float
        Time of the newest commit, seconds since 1970 UTC.
    schema_string : str
        JSON of the columns as the log has it; see `stored_types`.
    """

    path: Path
    version: int
    files: tuple[dict[str, Any], ...]
    partition_columns: tuple[str, ...]
    written_at: float
    schema_string: str = ""

    @property
    def bytes(self) -> int:
        """Size of the data files in force."""
        return sum(int(file["size"]) for file in self.files)

    def rows(self) -> int:
        """Count rows, by the statistics of the log where it has them, by the file's footer otherwise."""
        return sum(self._rows_of(file) for file in self.files)

    def _rows_of(self, file: dict[str, Any]) -> int:
        import pyarrow.parquet as pq

        stats = file.get("stats")
        known = json.loads(stats).get("numRecords") if stats else None
        return int(known) if known is not None else int(pq.read_metadata(self._place(file)).num_rows)

    def read(self, names: Sequence[str] | None = None, filter: pc.Expression | None = None) -> pa.Table:
        """Read rows into Arrow.

        Parameters
        ----------
        names : sequence of str, optional
            Columns to read; none = all.
        filter : pyarrow expression, optional
            Rows to keep, pushed down to the files.

        Returns
        -------
        pyarrow.Table
            Rows in no particular order; empty with the contract's schema when the table holds none.
        """
        schema = SCHEMAS.get(self.path.name) or self._file_schema()
        wanted = list(names) if names is not None else schema.names
        parts = [self.read_file(file, schema, wanted, filter) for file in self.files]
        target = pa.schema([schema.field(name).with_nullable(True) for name in wanted])
        return pa.concat_tables([part.cast(target) for part in parts]) if parts else target.empty_table()

    def _place(self, file: dict[str, Any]) -> Path:
        return self.path / unquote(file["path"])

    def _file_schema(self) -> pa.Schema:
        import pyarrow.parquet as pq

        if not self.files:
            return pa.schema([])
        schema = pq.read_schema(self._place(self.files[0]))
        for name in self.partition_columns:
            if name not in schema.names:
                schema = schema.append(pa.field(name, pa.string()))
        return schema

    def read_file(
        self,
        file: dict[str, Any],
        schema: pa.Schema,
        names: Sequence[str],
        row_filter: pc.Expression | None = None,
    ) -> pa.Table:
        """Read the rows of one of `files` in their order; columns that came later are null, those of
        partitions are the log's.

        Raises
        ------
        FileNotFoundError
            It was vacuumed.
        """
        import pyarrow.compute as pc
        import pyarrow.dataset as ds
        from pyarrow.fs import LocalFileSystem

        guarantee: pc.Expression | None = None
        for name, value in (file.get("partitionValues") or {}).items():
            if name not in schema.names:
                continue
            constant = pa.scalar(value, pa.string()).cast(schema.field(name).type)
            part = pc.field(name) == constant if value is not None else pc.field(name).is_null()
            guarantee = part if guarantee is None else guarantee & part
        loose = pa.schema([field.with_nullable(True) for field in schema])
        # Spark's own times may lie outside of what nanoseconds can say.
        kind = ds.ParquetFileFormat(read_options=ds.ParquetReadOptions(coerce_int96_timestamp_unit="us"))
        fragment = kind.make_fragment(
            str(self._place(file)), LocalFileSystem(), partition_expression=guarantee
        )
        return fragment.to_table(schema=loose, columns=list(names), filter=row_filter)
