"""`PackedProvider`: Feast's local provider, with whole frames written to the packed store without a message a value (`push`, `write_to_online_store`)."""

from __future__ import annotations

import asyncio
from typing import Any

import pandas as pd
import pyarrow as pa
from feast import FeatureView, utils
from feast.infra.passthrough_provider import PassthroughProvider

from feature_repo.stores.online import PackedOnlineStore
from feature_repo.stores.slots import PackedValueError

_KEYS = {"STRING": (pa.string(), pa.large_string()), "INT64": (pa.int64(), pa.int32()), "INT32": (pa.int32(),)}


class PackedProvider(PassthroughProvider):
    """What ``provider:`` of ``feature_store.yaml`` names; with another online store it is Feast's own."""

    def ingest_df(self, feature_view: Any, df: pd.DataFrame, field_mapping: dict[str, str] | None = None) -> None:
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
        table = self._as_arrow(feature_view, df)
        if table is None:
            super().ingest_df(feature_view, df, field_mapping)
        else:
            self.online_store.write_table(self.repo_config, feature_view, table)

    async def ingest_df_async(self, feature_view: Any, df: pd.DataFrame, field_mapping: dict[str, str] | None = None) -> None:
        """Asyncio form of `ingest_df`."""
        table = self._as_arrow(feature_view, df)
        if table is None:
            await super().ingest_df_async(feature_view, df, field_mapping)
        else:
            await asyncio.to_thread(self.online_store.write_table, self.repo_config, feature_view, table)

    def _as_arrow(self, view: Any, df: pd.DataFrame) -> pa.Table | None:
        """Turn a frame into Arrow under the features' names; none where only Feast's way of converting values will do."""
        if not (isinstance(self.online_store, PackedOnlineStore) and isinstance(view, FeatureView) and view.batch_source is not None):
            return None
        table = utils._run_pyarrow_field_mapping(pa.Table.from_pandas(df, preserve_index=False), view.batch_source.field_mapping or {})
        writer = self.online_store.writer(self.repo_config, view)
        needed = [*(name for name, _ in (*writer.features, *writer.keys)), writer.event, *([writer.created] if writer.created else [])]
        if not set(needed) <= set(table.column_names):
            return None  # Feast names what is missing
        for column in view.entity_columns:
            if column.name not in needed:
                continue
            given = table.column(column.name)
            if given.null_count or given.type not in _KEYS.get(column.dtype.to_value_type().name, ()):
                return None
        utils._validate_vector_field_lengths(table, view)
        try:
            for batch in table.slice(0, 1).to_batches():
                writer.rows(batch)
        except PackedValueError:
            return None  # values that Feast converts (or refuses in its own words)
        return table.select(list(dict.fromkeys(needed)))
