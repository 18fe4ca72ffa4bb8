"""`PackedOnlineStore`: Feast's online store on valkey or redis with one packed value per (view, entity)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

import numpy as np
from feast import Entity, FeatureView, OnDemandFeatureView, RepoConfig, utils
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel
from pydantic import Field

from feature_repo.stores.online.answer import ReadRow, Request, read_row
from feature_repo.stores.online.message_columns import columns_of
from feature_repo.stores.online.partition_writer import PartitionWriter
from feature_repo.stores.online.protos import schema_of
from feature_repo.stores.packed.client import AsyncPackedClient, PackedClient
from feature_repo.stores.packed.codec import NO_CREATED, PackedSchema
from feature_repo.stores.packed.keys import DUMMY_KEY, storage_key, text_keys, watermark_key
from feature_repo.stores.packed.many import encode_rows
from feature_repo.stores.packed.slots import EPOCH, PackedValueError, microseconds
from feature_repo.stores.surroundings import online_url_of

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
MAX_AHEAD = timedelta(days=1)  # a row further in the future would win over every real one until then
# the server drops a row after twice its time to live; in between it is answered as OUTSIDE_MAX_AGE
KEPT_LIFETIMES = 2


class PackedOnlineStoreConfig(FeastConfigBaseModel):
    """Settings under ``online_store:`` of ``feature_store.yaml``."""

    type: Literal["feature_repo.stores.PackedOnlineStore"] = "feature_repo.stores.PackedOnlineStore"
    url: str | None = Field(None, repr=False)
    """Address, ``rediss://`` for TLS; may carry user and password. None = that of the settings of this
    process (`surroundings`)."""
    cluster: bool = False
    """Whether the address is a node of a cluster."""
    ttl_seconds: float | None = None
    """Maximum age in place of every view's own ttl; none = the views'."""


class PackedOnlineStore(OnlineStore):
    """One packed value per (view, entity); the server keeps the newer row, reads tell what is missing and
    what is too old.

    The rule of writing: the newer event time wins; at equal ones the later `created` (a correction); at equal
    both a deletion, then the greater hash of the contents, so that any order of arrival ends the same. A row
    of another schema at the same times is replaced.
    """

    def __init__(self) -> None:
        self._clients: dict[tuple[str, bool], PackedClient] = {}
        self._async_client: AsyncPackedClient | None = None

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        """Both reads and writes have an asyncio form."""
        return SupportedAsyncMethods(read=True, write=True)

    def client(self, config: RepoConfig) -> PackedClient:
        """Return the connection of a configuration, made once."""
        online: PackedOnlineStoreConfig = config.online_store
        key = (online_url_of(config), online.cluster)
        if key not in self._clients:
            self._clients[key] = PackedClient(*key)
        return self._clients[key]

    def async_client(self, config: RepoConfig) -> AsyncPackedClient:
        """Return the asyncio connection of a configuration, made once; it belongs to the event loop of its
        first call.
        """
        if self._async_client is None:
            self._async_client = AsyncPackedClient(online_url_of(config), config.online_store.cluster)
        return self._async_client

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: list[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Write rows in pipelines, newer wins.

        Raises
        ------
        PackedValueError
            A row that lacks a feature, has a wrong type or lies more than a day in the future; then nothing
            is written.
        OnlineStoreError
            The server cannot be reached; writing again is safe.
        """
        self.client(config).write(self._pack(config, table, data), self._keep_ms(config, table))
        if progress:
            progress(len(data))

    async def online_write_batch_async(
        self, config: RepoConfig, table: FeatureView, data: list[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Asyncio form of `online_write_batch`."""
        await self.async_client(config).write(self._pack(config, table, data), self._keep_ms(config, table))
        if progress:
            progress(len(data))

    def delete(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: Sequence[EntityKey],
        event_timestamp: datetime,
    ) -> None:
        """State that entities have no row from a time on; an older row that arrives later does not come back.

        Parameters
        ----------
        config : RepoConfig
        table : FeatureView
        entity_keys : sequence of EntityKey
        event_timestamp : datetime
            Aware; a row with a later event time replaces the deletion.
        """
        value = schema_of(table).tombstone(microseconds(event_timestamp))
        rows = [(key, value) for key in self._keys(config, table, entity_keys)]
        self.client(config).write(rows, self._keep_ms(config, table))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[ReadRow]:
        """Read rows of one view; see `ReadRow` for what missing and too old rows look like."""
        values = self.client(config).read(self._keys(config, table, entity_keys))
        return self._unpack(config, table, values, requested_features)

    async def online_read_async(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[ReadRow]:
        """Asyncio form of `online_read`."""
        values = await self.async_client(config).read(self._keys(config, table, entity_keys))
        return self._unpack(config, table, values, requested_features)

    def _read_features_per_fv(self, config: RepoConfig, *call: Any) -> None:
        # Feast's hook beneath get_online_features: all views in one round trip, and statuses that tell the
        # truth.
        request = Request(*call)
        parts = request.parts(partial(self._key, config))
        values = self.client(config).read([key for part in parts for key in part.keys])
        request.answer(parts, values, partial(self._unpack, config))

    async def _read_features_per_fv_async(self, config: RepoConfig, *call: Any) -> None:
        request = Request(*call)
        parts = request.parts(partial(self._key, config))
        values = await self.async_client(config).read([key for part in parts for key in part.keys])
        request.answer(parts, values, partial(self._unpack, config))

    def _pack(self, config: RepoConfig, table: FeatureView, data: Sequence[Row]) -> list[tuple[bytes, bytes]]:
        schema = schema_of(table)
        for row, given in enumerate(data):
            if given[2] is None or given[2] != given[2]:  # NaT is not equal to itself
                raise PackedValueError(
                    f"view '{table.name}': row {row} without event time; every row needs one"
                )
        event_us = np.array([microseconds(utils.make_tzaware(row[2])) for row in data], np.int64)
        created_us = np.array(
            [NO_CREATED if row[3] is None else microseconds(utils.make_tzaware(row[3])) for row in data],
            np.int64,
        )
        refuse_future(table.name, event_us)
        features = [row[1] for row in data]
        if isinstance(table, OnDemandFeatureView):  # Feast sends its keys and request fields along
            features = [_stored_features(row, schema) for row in features]
        values = encode_rows(schema, columns_of(schema, features), event_us, created_us)
        return list(zip(self._keys(config, table, [row[0] for row in data]), values, strict=True))

    def writer(
        self, config: RepoConfig, table: FeatureView, columns: Mapping[str, str] | None = None
    ) -> PartitionWriter:
        """Make the writer of a view's Arrow batches, for Spark's workers and for whole frames.

        Parameters
        ----------
        config : RepoConfig
        table : FeatureView
        columns : mapping, optional
            Feature or key to the batches' column where the two differ.
        """
        names, source, kinds = columns or {}, table.batch_source, dict(schema_of(table).fields)
        keys = [column for column in table.entity_columns if column.name != DUMMY_KEY]
        return PartitionWriter(
            url=online_url_of(config),
            cluster=config.online_store.cluster,
            project=config.project,
            schema=schema_of(table),
            features=tuple((field.name, names.get(field.name, field.name)) for field in table.features),
            keys=tuple((column.name, names.get(column.name, column.name)) for column in keys),
            narrow_keys=frozenset(
                column.name for column in keys if column.dtype.to_value_type().name == "INT32"
            ),
            event=source.timestamp_field,
            created=source.created_timestamp_column or None,
            keep_ms=self._keep_ms(config, table),
            value_types={
                one.name: one.dtype.to_value_type().name
                for one in table.features
                if kinds[one.name] == "proto"
            },
        )

    def write_packed(
        self, config: RepoConfig, table: FeatureView, rows: Sequence[tuple[bytes, bytes]]
    ) -> int:
        """Write rows that a `PartitionWriter` packed; returns how many were taken, the others were older than
        what was there.

        Raises
        ------
        OnlineStoreError
            The server cannot be reached; writing again is safe.
        """
        return self.client(config).write(rows, self._keep_ms(config, table))

    def _unpack(
        self,
        config: RepoConfig,
        table: FeatureView,
        values: Sequence[bytes | None],
        names: Sequence[str] | None,
    ) -> list[ReadRow]:
        schema = schema_of(table)
        kinds = dict(schema.fields)
        wanted = [(name, kinds[name]) for name in (names or schema.index)]
        ttl = self.ttl_seconds(config, table)
        oldest = microseconds(datetime.now(UTC)) - int(ttl * 1e6) if ttl else None
        return [read_row(schema, wanted, value, oldest) for value in values]

    def ttl_seconds(self, config: RepoConfig, table: FeatureView) -> float:
        """Maximum age of a view's rows in seconds; 0 = no limit."""
        own = config.online_store.ttl_seconds
        ttl = getattr(table, "ttl", None)  # on-demand views have none
        return float(own) if own is not None else ttl.total_seconds() if ttl else 0.0

    def _keep_ms(self, config: RepoConfig, table: FeatureView) -> int:
        return int(self.ttl_seconds(config, table) * 1000 * KEPT_LIFETIMES)

    def _key(self, config: RepoConfig, table: FeatureView, entity: EntityKey) -> bytes:
        return self._keys(config, table, [entity])[0]

    def _keys(self, config: RepoConfig, table: FeatureView, entities: Sequence[EntityKey]) -> list[bytes]:
        join_keys = {tuple(entity.join_keys) for entity in entities}
        values = [entity.entity_values[0] for entity in entities] if all(map(len, join_keys)) else []
        if (
            len(join_keys) == 1
            and len(names := next(iter(join_keys))) == 1
            and all(value.HasField("string_val") for value in values)
        ):
            # a third of the time of Feast's way
            return text_keys(config.project, table.name, names[0], [value.string_val for value in values])
        for row, entity in enumerate(entities):
            for name, value in zip(entity.join_keys, entity.entity_values, strict=True):
                if value.WhichOneof("val") in (None, "null_val"):
                    raise PackedValueError(
                        f"view '{table.name}': row {row} without '{name}'; every row needs its key"
                    )
        return [
            storage_key(
                config.project, table.name, serialize_entity_key(entity, entity_key_serialization_version=3)
            )
            for entity in entities
        ]

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Remove the rows of views that were taken out of the registry."""
        self._drop(config, tables_to_delete)

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Remove the rows of all views and close the connections."""
        self._drop(config, tables)
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def _drop(self, config: RepoConfig, tables: Sequence[FeatureView]) -> None:
        for table in tables:
            self.client(config).delete(storage_key(config.project, table.name, b"*"))
            self.client(config).delete(watermark_key(config.project, table.name))

    def watermark(self, config: RepoConfig, table: FeatureView) -> dict[str, Any]:
        """What was last materialised of a view; empty when nothing, or under another schema."""
        raw = self.client(config).get(watermark_key(config.project, table.name))
        found: dict[str, Any] = json.loads(raw) if raw else {}
        return found if found.get("schema") == schema_of(table).hash.hex() else {}

    def set_watermark(self, config: RepoConfig, table: FeatureView, version: int, table_id: str) -> None:
        """Record that all rows of one Delta version are in; kept beside the rows, so that it is lost exactly
        when they are.
        """
        mark = {"version": version, "table_id": table_id, "schema": schema_of(table).hash.hex()}
        self.client(config).put(watermark_key(config.project, table.name), json.dumps(mark).encode())


def _stored_features(row: Mapping[str, Any], schema: PackedSchema) -> dict[str, Any]:
    return {name: row[name] for name in schema.index if name in row}


def refuse_future(view: str, event_us: np.ndarray) -> None:
    """Refuse rows that lie more than a day ahead.

    Raises
    ------
    PackedValueError
        With the latest time of them.
    """
    latest = datetime.now(UTC) + MAX_AHEAD
    if len(event_us) and int(event_us.max()) > microseconds(latest):
        moment = EPOCH + timedelta(microseconds=int(event_us.max()))
        raise PackedValueError(
            f"view '{view}': event time {moment.isoformat()} is more than a day ahead; it would hide every "
            "later row, correct the clock"
        )
