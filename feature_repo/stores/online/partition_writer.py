"""Packs Arrow batches of one view and writes them into the online store, on a Spark worker. Imports neither
Feast nor Spark, which cost a worker seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from feature_repo.contract.lazy import lazy
from feature_repo.stores.online.arrow_columns import column_of, times_of
from feature_repo.stores.packed.client import PackedClient
from feature_repo.stores.packed.codec import NO_CREATED, PackedSchema
from feature_repo.stores.packed.keys import DUMMY_KEY, entity_key, storage_key, text_keys
from feature_repo.stores.packed.many import Blobs, Scalars, encode_rows
from feature_repo.stores.packed.slots import PackedValueError

if TYPE_CHECKING:
    from feature_repo.stores.online import protos
else:
    protos = lazy("feature_repo.stores.online.protos")

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
        Milliseconds a row outlives its event time, or its writing if that is later, in the server; 0 = for
        ever.
    value_types : mapping
        Feature to the name of Feast's type, of those that are stored as Feast's messages.
    """

    url: str = field(repr=False)
    cluster: bool
    project: str
    schema: PackedSchema
    features: tuple[tuple[str, str], ...]
    keys: tuple[tuple[str, str], ...]
    narrow_keys: frozenset[str]
    event: str
    created: str | None
    keep_ms: int
    value_types: Mapping[str, str] = field(default_factory=dict)

    def rows(
        self, batch: pa.RecordBatch, ready: Mapping[str, Scalars | Blobs] | None = None
    ) -> list[tuple[bytes, bytes]]:
        """Pack a batch: (key in the store, packed value) a row.

        Parameters
        ----------
        batch : RecordBatch
        ready : mapping, optional
            Features that are packed already and need no column.

        Raises
        ------
        PackedValueError
            A column of another type than its feature, or rows without an event time.
        """
        columns: dict[str, Scalars | Blobs] = dict(ready or {})
        for feature, column in self.features:
            if feature not in columns:
                columns[feature] = self._column(feature, batch.column(column))
        event_us = times_of(batch.column(self.event))
        if (empty := event_us == NO_CREATED).any():
            raise self._without(batch, self.event, "event time", empty, [column for _, column in self.keys])
        created_us = (
            times_of(batch.column(self.created)) if self.created else np.full(batch.num_rows, NO_CREATED)
        )
        return list(
            zip(self._keys(batch), encode_rows(self.schema, columns, event_us, created_us), strict=True)
        )

    def _column(self, feature: str, array: pa.Array) -> Scalars | Blobs:
        if feature in self.value_types and array.null_count < len(array):
            # imports Feast, for the types that nothing else can convert

            return protos.message_blobs(
                self.schema.view, feature, self.value_types[feature], array.to_pylist()
            )
        try:
            return column_of(array, dict(self.schema.fields)[feature])
        except PackedValueError as error:
            raise PackedValueError(f"view '{self.schema.view}': feature '{feature}': {error}") from None

    def _keys(self, batch: pa.RecordBatch) -> list[bytes]:
        for _, column in self.keys:
            if batch.column(column).null_count:
                empty = np.asarray(batch.column(column).is_null())
                raise self._without(batch, column, "key", empty, [self.event])
        values = {name: batch.column(column).to_pylist() for name, column in self.keys}
        if len(values) == 1:
            ((name, column),) = values.items()
            if pa.types.is_string(batch.column(self.keys[0][1]).type):
                return text_keys(self.project, self.schema.view, name, column)
        if not values:
            return [storage_key(self.project, self.schema.view, entity_key({DUMMY_KEY: ""}))] * batch.num_rows
        entities = zip(*values.values(), strict=True)
        return [
            storage_key(
                self.project,
                self.schema.view,
                entity_key(dict(zip(values, row, strict=True)), self.narrow_keys),
            )
            for row in entities
        ]

    def _without(
        self, batch: pa.RecordBatch, column: str, what: str, empty: np.ndarray, others: Sequence[str]
    ) -> PackedValueError:
        row = int(empty.argmax())
        known = ", ".join(f"{name} {batch.column(name)[row].as_py()!s}" for name in others)
        more = f" and {int(empty.sum()) - 1:,} more" if empty.sum() > 1 else ""
        return PackedValueError(
            f"view '{self.schema.view}': row {row} ({known}){more} without '{column}'; every row needs its "
            f"{what}, correct the table or leave the rows out"
        )

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Write the batches of one partition (for ``DataFrame.mapInArrow``); yields one row of counts (rows,
        taken).
        """
        client = PackedClient(self.url, self.cluster)
        sent = taken = 0
        try:
            for batch in batches:
                for start in range(0, batch.num_rows, ROWS_PER_WRITE):
                    packed = self.rows(batch.slice(start, ROWS_PER_WRITE))
                    taken += client.write(packed, self.keep_ms)
                    sent += len(packed)
        finally:
            client.close()
        yield pa.RecordBatch.from_pydict(
            {"rows": pa.array([sent], pa.int64()), "taken": pa.array([taken], pa.int64())}
        )
