"""Online reads straight to numpy: a service's features for many entities, without a message per value."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from feature_repo.contract.lazy import lazy
from feature_repo.stores.packed.codec import HEAD, HEADER, MAGIC, PackedSchema
from feature_repo.stores.packed.keys import DUMMY_KEY, entity_key, storage_key, text_keys
from feature_repo.stores.packed.slots import LISTS, SCALARS, PackedValueError, read_heap
from feature_repo.stores.surroundings import online_store_of

if TYPE_CHECKING:
    from feast import FeatureStore

    from feature_repo.stores.online import protos
else:
    protos = lazy("feature_repo.stores.online.protos")

# Feast's FieldStatus numbers: PRESENT, NOT_FOUND, OUTSIDE_MAX_AGE
PRESENT, NOT_FOUND, OUTSIDE_MAX_AGE = 1, 3, 4


@dataclass(frozen=True)
class ViewColumns:
    """What was read of one view, one entry an entity.

    Attributes
    ----------
    columns : dict of str to ndarray
        Scalars as (n,) arrays, number lists of one length as (n, length), everything else as (n,) object
        arrays. Times are int64 microseconds. Places that are not `present` hold 0, NaN for floats, or
        ``None``.
    present : dict of str to ndarray, shape (n,), bool
        Whether the row is there and the feature is not null.
    status : ndarray, shape (n,), int8
        `PRESENT`, `NOT_FOUND` or `OUTSIDE_MAX_AGE`.
    event_us : ndarray, shape (n,), int64
        Event times in microseconds UTC; 0 where nothing was found.
    """

    columns: dict[str, np.ndarray]
    present: dict[str, np.ndarray]
    status: np.ndarray
    event_us: np.ndarray


@dataclass(frozen=True)
class _View:
    schema: PackedSchema
    names: tuple[str, ...]
    join_keys: tuple[str, ...]
    narrow: frozenset[str]
    ttl_us: int

    def kinds(self) -> dict[str, str]:
        kinds = dict(self.schema.fields)
        return {feature: kinds[feature] for feature in self.names}


class OnlineReader:
    """Reads one feature service by name; resolve it once, read often.

    Parameters
    ----------
    store : feast.FeatureStore
        On a `PackedOnlineStore`.
    service : str
        Name of a feature service in the registry.

    Raises
    ------
    feast.errors.FeatureServiceNotFoundException
        No such service.
    """

    def __init__(self, store: FeatureStore, service: str) -> None:
        online: Any = online_store_of(store)
        self._online, self._config, self._project = online, store.config, store.project
        self._views: dict[str, _View] = {}
        for projection in store.get_feature_service(service).feature_view_projections:
            view = store.get_feature_view(projection.name)
            keys = [column for column in view.entity_columns if column.name != DUMMY_KEY]
            narrow = frozenset(column.name for column in keys if column.dtype.to_value_type().name == "INT32")
            names = tuple(field.name for field in projection.features)
            ttl_us = int(online.ttl_seconds(store.config, view) * 1e6)
            self._views[view.name] = _View(
                protos.schema_of(view), names, tuple(column.name for column in keys), narrow, ttl_us
            )

    def read(
        self, entities: Mapping[str, Sequence[Any]], now_us: int | None = None
    ) -> dict[str, ViewColumns]:
        """Read all views of the service for some entities in one round trip.

        Parameters
        ----------
        entities : mapping
            Join key to n values.
        now_us : int, optional
            The clock for maximum ages; none = this machine's.

        Returns
        -------
        dict
            View name to its columns.

        Raises
        ------
        PackedValueError
            A join key is missing, or a stored value has another schema; nothing partial is returned.
        OnlineStoreError
            The store cannot be reached.
        """
        return self._columns(self._online.client(self._config).read(self._all_keys(entities)), now_us)

    async def read_async(
        self, entities: Mapping[str, Sequence[Any]], now_us: int | None = None
    ) -> dict[str, ViewColumns]:
        """Asyncio form of `read`."""
        return self._columns(
            await self._online.async_client(self._config).read(self._all_keys(entities)), now_us
        )

    @property
    def kinds(self) -> dict[str, dict[str, str]]:
        """View name to the features read and their kinds (`slots.KINDS`)."""
        return {name: view.kinds() for name, view in self._views.items()}

    def _all_keys(self, entities: Mapping[str, Sequence[Any]]) -> list[bytes]:
        keys: list[bytes] = []
        for name, view in self._views.items():
            missing = [key for key in view.join_keys if key not in entities]
            if missing:
                raise PackedValueError(
                    f"view '{name}' is read by {list(view.join_keys)}; {missing} not given, only "
                    f"{list(entities)}"
                )
            keys.extend(self._keys(name, view, entities))
        return keys

    def _columns(self, values: Sequence[bytes | None], now_us: int | None) -> dict[str, ViewColumns]:
        count = len(values) // max(1, len(self._views))
        now = time.time_ns() // 1000 if now_us is None else now_us
        return {
            name: decode_columns(
                view.schema,
                values[number * count : (number + 1) * count],
                view.names,
                now - view.ttl_us if view.ttl_us else None,
            )
            for number, (name, view) in enumerate(self._views.items())
        }

    def _keys(self, name: str, view: _View, entities: Mapping[str, Sequence[Any]]) -> list[bytes]:
        if len(view.join_keys) == 1:
            (key,) = view.join_keys
            if all(type(value) is str for value in entities[key]):
                return text_keys(self._project, name, key, entities[key])
            return [
                storage_key(self._project, name, entity_key({key: value}, view.narrow))
                for value in entities[key]
            ]
        if not view.join_keys:  # a view without an entity has one row for all
            return [storage_key(self._project, name, entity_key({DUMMY_KEY: ""}))] * max(
                map(len, entities.values()), default=1
            )
        rows = zip(*(entities[key] for key in view.join_keys), strict=True)
        return [
            storage_key(
                self._project, name, entity_key(dict(zip(view.join_keys, row, strict=True)), view.narrow)
            )
            for row in rows
        ]


def decode_columns(
    schema: PackedSchema, values: Sequence[bytes | None], names: Sequence[str], oldest_us: int | None = None
) -> ViewColumns:
    """Turn packed values into columns; one copy a column, none a value.

    Parameters
    ----------
    schema : PackedSchema
    values : sequence of bytes or None
        As the store gave them.
    names : sequence of str
        Features wanted.
    oldest_us : int, optional
        Rows before it are `OUTSIDE_MAX_AGE`.

    Raises
    ------
    PackedValueError
        Bytes that are no packed row, a row of another schema, or an unknown name.
    """
    blank = schema.blank
    rows = [blank if value is None else value for value in values]
    heads = np.frombuffer(b"".join([row[: HEADER.size] for row in rows]), HEAD)
    expected = np.frombuffer(schema.hash, "<i8")[0]
    if not ((heads["magic"] == MAGIC).all() and (heads["schema"] == expected).all()):
        for row in rows:
            schema.check(row)  # raises for the first bad one, in words
    found = np.array([value is not None for value in values], dtype=bool) & (heads["deleted"] == 0)
    event_us = np.where(found, heads["event"], 0)
    old = found & (event_us < oldest_us) if oldest_us is not None else np.zeros(len(rows), dtype=bool)
    status = np.where(found, np.where(old, OUTSIDE_MAX_AGE, PRESENT), NOT_FOUND).astype(np.int8)
    there = found & ~old
    if not there.all():
        rows = [row if ok else blank for row, ok in zip(rows, there, strict=True)]
    slots = np.frombuffer(b"".join([row[HEADER.size : schema.heap_at] for row in rows]), schema.slot_dtype)
    columns, present = {}, {}
    for name in names:
        if name not in schema.index:
            raise PackedValueError(
                f"view '{schema.view}' has no feature '{name}'; it has {', '.join(schema.index)}"
            )
        number = schema.index[name]
        null = (slots["__nulls"][:, number // 64] >> np.uint64(number % 64)) & np.uint64(1)
        present[name] = there & (null == 0)
        columns[name] = _column(rows, slots[name], schema.fields[number][1], present[name])
    return ViewColumns(columns, present, status, event_us)


def _column(rows: Sequence[bytes], slot: np.ndarray, kind: str, present: np.ndarray) -> np.ndarray:
    if kind in SCALARS:
        if slot.dtype.kind == "f" and not present.all():
            return np.where(present, slot, np.nan)
        return slot.copy()
    if kind in LISTS and len(rows):
        starts, counts = slot["at"], slot["count"]
        width = int(counts[present][0]) if present.any() else 0
        if width and (counts[present] == width).all():
            return _matrix(rows, starts, width, np.dtype(LISTS[kind]), present)
    column = np.empty(len(rows), dtype=object)
    for number in np.flatnonzero(present).tolist():
        column[number] = read_heap(rows[number], kind, int(slot["at"][number]), int(slot["count"][number]))
    return column


def _matrix(
    rows: Sequence[bytes], starts: np.ndarray, width: int, kind: np.dtype[Any], present: np.ndarray
) -> np.ndarray:
    size = width * kind.itemsize
    if present.all():
        flat = b"".join([row[start : start + size] for row, start in zip(rows, starts.tolist(), strict=True)])
        return np.frombuffer(flat, kind).reshape(len(rows), width)
    matrix = np.full((len(rows), width), np.nan if kind.kind == "f" else 0, dtype=kind)
    for number in np.flatnonzero(present).tolist():
        matrix[number] = np.frombuffer(rows[number], kind, width, int(starts[number]))
    return matrix
