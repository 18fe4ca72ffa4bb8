"""`PackedOnlineStore`: Feast's online store on valkey or redis with one packed value per (view, entity)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from feast import Entity, FeatureView, RepoConfig, utils
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel
from google.protobuf.timestamp_pb2 import Timestamp

from feature_repo.stores.client import AsyncPackedClient, PackedClient
from feature_repo.stores.codec import PackedSchema
from feature_repo.stores.keys import entity_key, storage_key, watermark_key
from feature_repo.stores.protos import from_message, schema_of, to_message
from feature_repo.stores.slots import EPOCH, PackedValueError, microseconds

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
ReadRow = tuple[datetime | None, dict[str, Value] | None]  # (None, None) not found; (time, None) outside the maximum age
MAX_AHEAD = timedelta(days=1)  # a row further in the future would win over every real one until then
KEPT_LIFETIMES = 2  # the server drops a row at twice its time to live; in between it is answered as OUTSIDE_MAX_AGE


class PackedOnlineStoreConfig(FeastConfigBaseModel):
    """Settings under ``online_store:`` of ``feature_store.yaml``."""

    type: Literal["feature_repo.stores.PackedOnlineStore"] = "feature_repo.stores.PackedOnlineStore"
    url: str = "redis://127.0.0.1:6379/0"
    """Address, ``rediss://`` for TLS; may carry user and password."""
    cluster: bool = False
    """Whether the address is a node of a cluster."""
    ttl_seconds: float | None = None
    """Maximum age in place of every view's own ttl; none = the views'."""


class PackedOnlineStore(OnlineStore):
    """One packed value per (view, entity); the server keeps the newer row, reads tell what is missing and what is too old.

    The rule of writing: the newer event time wins; at equal ones the later `created` (a correction); at equal both a deletion, then the
    greater hash of the contents, so that any order of arrival ends the same. A row of another schema at the same times is replaced.
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
        key = (online.url, online.cluster)
        if key not in self._clients:
            self._clients[key] = PackedClient(*key)
        return self._clients[key]

    def _async(self, config: RepoConfig) -> AsyncPackedClient:
        if self._async_client is None:
            self._async_client = AsyncPackedClient(config.online_store.url, config.online_store.cluster)
        return self._async_client

    def online_write_batch(self, config: RepoConfig, table: FeatureView, data: list[Row], progress: Callable[[int], Any] | None) -> None:
        """Write rows in pipelines, newer wins.

        Raises
        ------
        PackedValueError
            A row that lacks a feature, has a wrong type or lies more than a day in the future; then nothing is written.
        OnlineStoreError
            The server cannot be reached; writing again is safe.
        """
        self.client(config).write(self._pack(config, table, data), self._keep_ms(config, table))
        if progress:
            progress(len(data))

    async def online_write_batch_async(self, config: RepoConfig, table: FeatureView, data: list[Row], progress: Callable[[int], Any] | None) -> None:
        """Asyncio form of `online_write_batch`."""
        await self._async(config).write(self._pack(config, table, data), self._keep_ms(config, table))
        if progress:
            progress(len(data))

    def delete(self, config: RepoConfig, table: FeatureView, entity_keys: Sequence[EntityKey], event_timestamp: datetime) -> None:
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
        rows = [(self._key(config, table, key), value) for key in entity_keys]
        self.client(config).write(rows, self._keep_ms(config, table))

    def online_read(self, config: RepoConfig, table: FeatureView, entity_keys: list[EntityKey], requested_features: list[str] | None = None) -> list[ReadRow]:
        """Read rows of one view; see `ReadRow` for what missing and too old rows look like."""
        values = self.client(config).read([self._key(config, table, key) for key in entity_keys])
        return self._unpack(config, table, values, requested_features)

    async def online_read_async(
        self, config: RepoConfig, table: FeatureView, entity_keys: list[EntityKey], requested_features: list[str] | None = None
    ) -> list[ReadRow]:
        """Asyncio form of `online_read`."""
        values = await self._async(config).read([self._key(config, table, key) for key in entity_keys])
        return self._unpack(config, table, values, requested_features)

    def _read_features_per_fv(
        self,
        config: RepoConfig,
        grouped_refs: list[tuple[FeatureView, list[str]]],
        join_key_values: dict[str, Any],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: GetOnlineFeaturesResponse,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        # Feast's hook beneath get_online_features: all views in one round trip, and statuses that tell the truth.
        plan = [self._wanted(config, table, names, join_key_values, entity_name_to_join_key_map) for table, names in grouped_refs]
        values = self.client(config).read([key for work in plan for key in work[2]])
        self._answer(config, plan, values, online_features_response, full_feature_names, include_feature_view_version_metadata)

    async def _read_features_per_fv_async(
        self,
        config: RepoConfig,
        grouped_refs: list[tuple[FeatureView, list[str]]],
        join_key_values: dict[str, Any],
        entity_name_to_join_key_map: dict[str, str],
        online_features_response: GetOnlineFeaturesResponse,
        full_feature_names: bool,
        include_feature_view_version_metadata: bool,
    ) -> None:
        plan = [self._wanted(config, table, names, join_key_values, entity_name_to_join_key_map) for table, names in grouped_refs]
        values = await self._async(config).read([key for work in plan for key in work[2]])
        self._answer(config, plan, values, online_features_response, full_feature_names, include_feature_view_version_metadata)

    def _wanted(
        self, config: RepoConfig, table: FeatureView, names: list[str], join_key_values: dict[str, Any], join_keys: dict[str, str]
    ) -> tuple[FeatureView, list[str], list[bytes], tuple[list[int], ...], int]:
        entities, places, length = utils._get_unique_entities(table, join_key_values, join_keys)
        keys = [self._key(config, table, key) for key in utils._get_entity_key_protos(entities)]
        return table, names, keys, places, length

    def _answer(
        self,
        config: RepoConfig,
        plan: list[tuple[FeatureView, list[str], list[bytes], tuple[list[int], ...], int]],
        values: list[bytes | None],
        response: GetOnlineFeaturesResponse,
        full_names: bool,
        versions: bool,
    ) -> None:
        start = 0
        answers = []
        for table, names, keys, places, length in plan:
            rows = self._unpack(config, table, values[start : start + len(keys)], names)
            answers.append((table, names, rows, places, length))
            start += len(keys)
        for table, names, rows, places, length in answers:  # only now: a refused row must not leave half an answer behind
            _fill(response, table, names, rows, places, length, full_names)
            if versions:
                metadata = response.metadata.feature_view_metadata.add()
                metadata.name, metadata.version = table.projection.name_alias or table.name, getattr(table, "current_version_number", 0) or 0

    def _pack(self, config: RepoConfig, table: FeatureView, data: Sequence[Row]) -> list[tuple[bytes, bytes]]:
        schema, latest = schema_of(table), datetime.now(UTC) + MAX_AHEAD
        kinds = dict(schema.fields)
        rows = []
        for key, messages, event, created in data:
            moment = utils.make_tzaware(event)
            if moment > latest:
                raise PackedValueError(
                    f"view '{table.name}': event time {moment.isoformat()} is more than a day ahead; it would hide every later row, correct the clock"
                )
            values = {name: from_message(kinds.get(name, "proto"), message) for name, message in messages.items()}
            created_us = None if created is None else microseconds(utils.make_tzaware(created))
            rows.append((self._key(config, table, key), schema.encode(values, microseconds(moment), created_us)))
        return rows

    def _unpack(self, config: RepoConfig, table: FeatureView, values: Sequence[bytes | None], names: Sequence[str] | None) -> list[ReadRow]:
        schema = schema_of(table)
        wanted = [(name, dict(schema.fields)[name]) for name in (names or schema.index)]
        ttl = self.ttl_seconds(config, table)
        oldest = microseconds(datetime.now(UTC)) - int(ttl * 1e6) if ttl else None
        return [(None, None) if value is None else _read_row(schema, wanted, value, oldest) for value in values]

    def ttl_seconds(self, config: RepoConfig, table: FeatureView) -> float:
        """Maximum age of a view's rows in seconds; 0 = no limit."""
        own = config.online_store.ttl_seconds
        return float(own) if own is not None else table.ttl.total_seconds() if table.ttl else 0.0

    def _keep_ms(self, config: RepoConfig, table: FeatureView) -> int:
        return int(self.ttl_seconds(config, table) * 1000 * KEPT_LIFETIMES)

    def _key(self, config: RepoConfig, table: FeatureView, entity: EntityKey) -> bytes:
        if len(entity.join_keys) == 1 and entity.entity_values[0].WhichOneof("val") == "string_val":
            raw = entity_key({entity.join_keys[0]: entity.entity_values[0].string_val})  # a third of the time of Feast's general way
        else:
            raw = serialize_entity_key(entity, entity_key_serialization_version=3)
        return storage_key(config.project, table.name, raw)

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
        """Record that all rows of one Delta version are in; kept beside the rows, so that it is lost exactly when they are."""
        mark = {"version": version, "table_id": table_id, "schema": schema_of(table).hash.hex()}
        self.client(config).put(watermark_key(config.project, table.name), json.dumps(mark).encode())


def _read_row(schema: PackedSchema, wanted: list[tuple[str, str]], value: bytes, oldest_us: int | None) -> ReadRow:
    head = schema.check(value)
    if head.deleted:
        return None, None
    event = EPOCH + timedelta(microseconds=head.event_us)
    if oldest_us is not None and head.event_us < oldest_us:
        return event, None
    fields = schema.decode(value, [name for name, _ in wanted])
    return event, {name: to_message(kind, fields[name]) for name, kind in wanted}


def _fill(
    response: GetOnlineFeaturesResponse,
    table: FeatureView,
    names: list[str],
    rows: list[ReadRow],
    places: tuple[list[int], ...],
    length: int,
    full_names: bool,
) -> None:
    prefix = f"{table.projection.name_to_use()}__" if full_names else ""
    response.metadata.feature_names.val.extend(prefix + name for name in names)
    times, statuses = [Timestamp()] * length, [FieldStatus.NOT_FOUND] * length
    columns = {name: [Value()] * length for name in names}
    for (event, features), destinations in zip(rows, places, strict=True):
        if event is None:
            continue
        moment = Timestamp()
        moment.FromDatetime(event)
        for place in destinations:
            times[place], statuses[place] = moment, FieldStatus.PRESENT if features is not None else FieldStatus.OUTSIDE_MAX_AGE
            for name in names if features is not None else ():
                columns[name][place] = features[name]  # type: ignore[index]
    for name in names:
        response.results.append(GetOnlineFeaturesResponse.FeatureVector(values=columns[name], statuses=statuses, event_timestamps=times))
