"""Writes Arrow batches of one view into the online store, on a Spark worker. Imports neither Feast nor Spark, which cost a worker seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from feature_repo.stores.client import PackedClient
from feature_repo.stores.codec import PackedSchema
from feature_repo.stores.keys import entity_key, storage_key

ROWS_PER_WRITE = 2048


@dataclass(frozen=True)
class PartitionWriter:
    """Everything a worker needs to write rows of a view.

    Attributes
    ----------
    url, cluster : str, bool
        The online store.
    project : str
    schema : PackedSchema
    features : tuple of (feature, column)
    keys : tuple of (join key, column)
    narrow_keys : frozenset of str
        Join keys declared as 32-bit integers.
    event, created : str
        Time columns; `created` may be missing.
    keep_ms : int
        Milliseconds a row outlives its event time in the server; 0 = for ever.
    """

    url: str
    cluster: bool
    project: str
    schema: PackedSchema
    features: tuple[tuple[str, str], ...]
    keys: tuple[tuple[str, str], ...]
    narrow_keys: frozenset[str]
    event: str
    created: str | None
    keep_ms: int

    def rows(self, batch: pa.RecordBatch) -> Iterator[tuple[bytes, bytes]]:
        """Pack a batch: (key in the store, packed value) a row."""
        kinds = dict(self.schema.fields)
        columns = {feature: _values(batch.column(column), kinds[feature]) for feature, column in self.features}
        keys = {name: batch.column(column).to_pylist() for name, column in self.keys}
        events = _values(batch.column(self.event), "time")
        created = _values(batch.column(self.created), "time") if self.created else (lambda number: None)
        for number in range(batch.num_rows):
            entity = entity_key({name: values[number] for name, values in keys.items()}, self.narrow_keys)
            value = self.schema.encode({feature: at(number) for feature, at in columns.items()}, events(number), created(number))
            yield storage_key(self.project, self.schema.view, entity), value

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Write the batches of one partition (for ``DataFrame.mapInArrow``); yields one row of counts (rows, taken)."""
        client = PackedClient(self.url, self.cluster)
        sent = taken = 0
        try:
            for batch in batches:
                packed = list(self.rows(batch))
                for start in range(0, len(packed), ROWS_PER_WRITE):
                    taken += client.write(packed[start : start + ROWS_PER_WRITE], self.keep_ms)
                sent += len(packed)
        finally:
            client.close()
        yield pa.RecordBatch.from_pydict({"rows": pa.array([sent], pa.int64()), "taken": pa.array([taken], pa.int64())})


def _values(column: pa.Array, kind: str) -> Callable[[int], Any]:
    """Return a reader of single values; number lists as slices of the column's own buffer, times as microseconds."""
    if kind == "time":
        micros = column.cast(pa.timestamp("us", tz=column.type.tz)).cast(pa.int64()).to_pylist()
        return lambda number: micros[number]
    if kind in ("list<f32>", "list<f64>", "list<i64>", "list<i32>") and column.values.null_count == 0:
        flat, offsets, valid = column.values.to_numpy(zero_copy_only=False), column.offsets.to_numpy(), column.is_valid().to_pylist()
        return lambda number: flat[offsets[number] : offsets[number + 1]] if valid[number] else None
    plain = column.to_pylist()
    return lambda number: plain[number]
