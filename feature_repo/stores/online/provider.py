"""`PackedProvider`: Feast's local provider, with whole frames written to the packed store without a message a
value (`push`, `write_to_online_store`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import pyarrow as pa
from feast import FeatureView, utils
from feast.errors import FeastObjectNotFoundException
from feast.infra.passthrough_provider import PassthroughProvider

from feature_repo.stores import asked
from feature_repo.stores.online.arrow_columns import column_of, times_of
from feature_repo.stores.online.message_columns import message_column
from feature_repo.stores.online.partition_writer import PartitionWriter
from feature_repo.stores.online.protos import message_blobs, messages_of
from feature_repo.stores.online.store import PackedOnlineStore, refuse_future
from feature_repo.stores.packed.many import Blobs, Scalars
from feature_repo.stores.packed.refusals import OnlineStoreError
from feature_repo.stores.packed.slots import PackedValueError

_KEYS = {
    "STRING": (pa.string(), pa.large_string()),
    "INT64": (pa.int64(), pa.int32()),
    "INT32": (pa.int32(),),
}
Packed = list[tuple[bytes, bytes]]


class PackedProvider(PassthroughProvider):
    """What ``provider:`` of ``feature_store.yaml`` names; with another online store it is Feast's own."""

    def get_online_features(
        self,
        config: Any,
        features: Any,
        entity_rows: Any,
        registry: Any,
        project: str,
        *more: Any,
        **named: Any,
    ) -> Any:
        """Read online features.

        Raises
        ------
        RegistryError, RequestError
            Nothing was applied or is asked for, or rows without their keys; names view, column and row.
        OnlineStoreError
            The server cannot be reached.
        """
        entity_rows = asked.plain_rows(entity_rows)
        with _words_for(features, entity_rows, registry, project):
            return super().get_online_features(
                config, features, entity_rows, registry, project, *more, **named
            )

    async def get_online_features_async(
        self,
        config: Any,
        features: Any,
        entity_rows: Any,
        registry: Any,
        project: str,
        *more: Any,
        **named: Any,
    ) -> Any:
        """Asyncio form of `get_online_features`."""
        entity_rows = asked.plain_rows(entity_rows)
        with _words_for(features, entity_rows, registry, project):
            return await super().get_online_features_async(
                config, features, entity_rows, registry, project, *more, **named
            )

    def check(self, view: Any, df: pd.DataFrame) -> None:
        """Raise a ``PackedValueError`` where a frame lacks a column of its view, a key or an event time."""
        if self._packs(view):
            renamed = df.rename(columns=view.batch_source.field_mapping or {})
            _refuse_gaps(self.online_store.writer(self.repo_config, view), renamed)

    def ingest_df(
        self, feature_view: Any, df: pd.DataFrame, field_mapping: dict[str, str] | None = None
    ) -> None:
        """Write a frame into the online store.

        Parameters
        ----------
        feature_view : FeatureView or OnDemandFeatureView
        df : DataFrame
            A row an entity and time; names as in the view's source.
        field_mapping : dict, optional
            Of on-demand views only.

        Raises
        ------
        PackedValueError, ValueError
            A frame that does not fit the view; then nothing is written.
        OnlineStoreError
            The server cannot be reached; writing again is safe.
        """
        asked.refuse_frame(feature_view.name, df)
        rows = self._packed(feature_view, df)
        if rows is not None:
            self.online_store.write_packed(self.repo_config, feature_view, rows)
            return
        try:
            super().ingest_df(feature_view, df, field_mapping)
        except (PackedValueError, OnlineStoreError):
            raise
        except Exception as error:
            raise _refusal(feature_view, df, error) from error

    async def ingest_df_async(
        self, feature_view: Any, df: pd.DataFrame, field_mapping: dict[str, str] | None = None
    ) -> None:
        """Asyncio form of `ingest_df`."""
        asked.refuse_frame(feature_view.name, df)
        rows = self._packed(feature_view, df)
        if rows is not None:
            await asyncio.to_thread(self.online_store.write_packed, self.repo_config, feature_view, rows)
            return
        try:
            await super().ingest_df_async(feature_view, df, field_mapping)
        except (PackedValueError, OnlineStoreError):
            raise
        except Exception as error:
            raise _refusal(feature_view, df, error) from error

    def _packed(self, view: Any, df: pd.DataFrame) -> Packed | None:
        """Pack a frame; none where only Feast's way of converting values will do.

        Raises
        ------
        PackedValueError
            A column that is missing, a row without its key or event time, or one more than a day ahead.
        """
        if not self._packs(view):
            return None
        writer = self.online_store.writer(self.repo_config, view)
        df = df.rename(columns=view.batch_source.field_mapping or {})
        _refuse_gaps(writer, df)
        table = _as_arrow(writer, df)
        if table is None:
            return None
        for column in view.entity_columns:
            taken = _KEYS.get(column.dtype.to_value_type().name, ())
            if (column.name, column.name) in writer.keys and table.column(column.name).type not in taken:
                return None
        utils._validate_vector_field_lengths(table, view)
        refuse_future(view.name, times_of(table.column(writer.event)))
        batch = table.combine_chunks().to_batches()[0]
        rows: Packed = writer.rows(batch, _ready(writer, view, batch, df))
        return rows

    def _packs(self, view: Any) -> bool:
        return (
            isinstance(self.online_store, PackedOnlineStore)
            and isinstance(view, FeatureView)
            and view.batch_source is not None
        )


@contextmanager
def _words_for(features: Any, rows: Any, registry: Any, project: str) -> Iterator[None]:
    """Look at what is asked for: shortly before, and in full where Feast ends in an error of its own."""
    asked.refuse_no_features(features, registry, project)
    if asked.wrong_rows(rows):
        asked.refuse_rows(features, rows, registry, project)
    try:
        yield
    except FeastObjectNotFoundException:
        asked.refuse_unapplied(registry, project)
        raise
    except PackedValueError:
        raise
    except asked.ROW_ERRORS:
        asked.refuse_rows(features, rows, registry, project)
        raise


def _ready(
    writer: PartitionWriter, view: FeatureView, batch: pa.RecordBatch, df: pd.DataFrame
) -> dict[str, Scalars | Blobs]:
    """Pack the columns that Arrow does not hold as their feature's kind, value by value with Feast's own
    converters.
    """
    packed: dict[str, Scalars | Blobs] = {}
    for field in view.features:
        column, kind = dict(writer.features)[field.name], dict(writer.schema.fields)[field.name]
        value_type = field.dtype.to_value_type().name
        if kind == "proto":
            packed[field.name] = message_blobs(view.name, field.name, value_type, df[column].tolist())
            continue
        try:
            packed[field.name] = column_of(batch.column(column), kind)
        except (PackedValueError, KeyError):
            packed[field.name] = message_column(
                writer.schema,
                field.name,
                kind,
                messages_of(view.name, field.name, value_type, df[column].tolist()),
            )
    return packed


def _as_arrow(writer: PartitionWriter, df: pd.DataFrame) -> pa.Table | None:
    """Give keys, times and what Arrow knows of the features; none where only Feast knows what to make of keys
    or times.
    """
    times = [name for name in (writer.event, writer.created) if name]
    base = list(dict.fromkeys([*(column for _, column in writer.keys), *times]))
    try:
        table = pa.Table.from_pandas(df[base], preserve_index=False)
    except pa.ArrowException:
        return None
    if not all(
        pa.types.is_timestamp(table.column(name).type) or pa.types.is_null(table.column(name).type)
        for name in times
    ):
        return None
    for feature, column in writer.features:
        if feature in writer.value_types or column in table.column_names:
            continue
        try:
            table = table.append_column(column, pa.Array.from_pandas(df[column]))
        except pa.ArrowException:
            continue  # converted value by value, where the row that does not fit is named
    return table


def _refuse_gaps(writer: PartitionWriter, df: pd.DataFrame) -> None:
    view, given = writer.schema.view, [str(name) for name in df.columns]
    keys = [column for _, column in writer.keys]
    needed = [
        *keys,
        writer.event,
        *([writer.created] if writer.created else []),
        *(column for _, column in writer.features),
    ]
    if missing := [name for name in needed if name not in given]:
        raise PackedValueError(
            f"view '{view}': the frame has no column {missing}; it has {given}, and needs {needed}"
        )
    for name, what in (*((key, "key") for key in keys), (writer.event, "event time")):
        if (empty := df[name].isna().to_numpy()).any():
            rows = f"row {int(empty.argmax())}" + (
                f" and {int(empty.sum()) - 1} more" if empty.sum() > 1 else ""
            )
            raise PackedValueError(
                f"view '{view}': {rows} without '{name}'; every row needs its {what}, drop the rows or fill "
                "it in"
            )


def _refusal(view: Any, df: pd.DataFrame, error: Exception) -> PackedValueError:
    reason = " ".join(str(error).split())[:300]
    types = ", ".join(f"{name} {kind}" for name, kind in df.dtypes.items())
    return PackedValueError(
        f"view '{view.name}': a frame of {types} does not fit it ({type(error).__name__}: {reason}); "
        "correct the writer"
    )
