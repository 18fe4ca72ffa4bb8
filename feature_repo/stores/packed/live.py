"""Live session features in the online store: what the consumer writes and reads, as the very bytes that
Feast's side reads. Imports no Feast.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from feature_repo.contract.tables import (
    SESSION_EVENT_FIELDS,
    SESSION_EVENTS,
    SESSION_FEATURE_FIELDS,
    SESSION_FEATURES,
)
from feature_repo.stores.packed.client import PackedClient
from feature_repo.stores.packed.codec import PackedSchema
from feature_repo.stores.packed.keys import entity_key, storage_key
from feature_repo.stores.packed.slots import PackedValueError

PROJECT = "intentstore"
SESSION_KEY = "session_id"
FUTURE_US = 24 * 3600 * 1_000_000  # a row further ahead would win over every real one until then
_KINDS: dict[pa.DataType, str] = {
    pa.string(): "str",
    pa.binary(): "bytes",
    pa.bool_(): "bool",
    pa.int32(): "i32",
    pa.int64(): "i64",
    pa.float32(): "f32",
    pa.float64(): "f64",
}


@dataclass(frozen=True)
class LiveRow:
    """Features of one session after one click; times in microseconds UTC. ``events`` are those of the view
    `session_events`; None = not written.
    """

    session_id: str
    event_timestamp_us: int
    created_us: int
    features: Mapping[str, Any]
    events: Mapping[str, Any] | None = None


def kind_of(kind: pa.DataType) -> str:
    """Map an Arrow type of the contract to the codec's kind.

    Raises
    ------
    PackedValueError
        For a type that has no kind.

    Examples
    --------
    >>> kind_of(pa.list_(pa.float32())), kind_of(pa.timestamp("us", tz="UTC"))
    ('list<f32>', 'time')
    """
    if pa.types.is_timestamp(kind):
        return "time"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{kind_of(kind.value_type)}>"
    if kind not in _KINDS:
        raise PackedValueError(
            f"Arrow type {kind} has no packed kind; use one of {', '.join(map(str, _KINDS))}, a timestamp "
            "or a list of these"
        )
    return _KINDS[kind]


def session_schema() -> PackedSchema:
    """Schema of the view `session_features`, from the contract's fields."""
    return PackedSchema(
        SESSION_FEATURES, tuple((name, kind_of(kind)) for name, kind in SESSION_FEATURE_FIELDS)
    )


def events_schema() -> PackedSchema:
    """Schema of the view `session_events`, from the contract's fields."""
    return PackedSchema(SESSION_EVENTS, tuple((name, kind_of(kind)) for name, kind in SESSION_EVENT_FIELDS))


class LiveFeatureWriter:
    """Writes session features, newer wins.

    Parameters
    ----------
    url : str
        Address of the online store.
    cluster : bool
        Whether it is a cluster.
    project : str
        Feast project, part of every key.
    keep_hours : float, optional
        How long a row outlives its event time, or its writing if that is later, in the server; none = for
        ever.
    """

    def __init__(
        self, url: str, *, cluster: bool = False, project: str = PROJECT, keep_hours: float | None = None
    ) -> None:
        self._client = PackedClient(url, cluster)
        self._schema, self._events, self._project = session_schema(), events_schema(), project
        self._keep_ms = int((keep_hours or 0) * 3_600_000)

    def write(self, rows: Sequence[LiveRow], now_us: int | None = None) -> int:
        """Write rows in one pipeline; the order within the batch does not matter.

        Parameters
        ----------
        rows : sequence of LiveRow
        now_us : int, optional
            The clock to check against; none = this machine's.

        Returns
        -------
        int
            Values taken, of each view one; the others were older than what was there.

        Raises
        ------
        PackedValueError
            A row that does not fit the view, or lies more than a day in the future; then nothing is written.
        OnlineStoreError
            The store cannot be reached; writing the batch again is safe.
        """
        latest = (time.time_ns() // 1000 if now_us is None else now_us) + FUTURE_US
        packed = []
        for row in rows:
            if row.event_timestamp_us > latest:
                raise PackedValueError(
                    f"session '{row.session_id}': event time {row.event_timestamp_us} us is more than a day "
                    "ahead; it would hide every later click"
                )
            key = entity_key({SESSION_KEY: row.session_id})
            views = [(self._schema, row.features)]
            if row.events is not None:
                views.append((self._events, row.events))
            packed += [
                (
                    storage_key(self._project, schema.view, key),
                    schema.encode(values, row.event_timestamp_us, row.created_us),
                )
                for schema, values in views
            ]
        return self._client.write(packed, self._keep_ms)

    def close(self) -> None:
        """Return the connections."""
        self._client.close()


class LiveFeatureReader:
    """Reads session features by name; same parameters as the writer."""

    def __init__(self, url: str, *, cluster: bool = False, project: str = PROJECT) -> None:
        self._client = PackedClient(url, cluster)
        self._schema, self._events, self._project = session_schema(), events_schema(), project

    def read(self, session_ids: Sequence[str]) -> list[dict[str, Any] | None]:
        """Read the rows of some sessions in one round trip.

        Returns
        -------
        list of dict or None
            As asked; ``None`` = no row. Beside the features: ``event_timestamp_us`` and ``created_us``; times
            are microseconds UTC, lists Python lists. The fields of `session_events` are None where that view
            has no row of the same click.

        Raises
        ------
        PackedSchemaError
            A row was written by another version of the view.
        OnlineStoreError
            The store cannot be reached.
        """
        names = [entity_key({SESSION_KEY: session_id}) for session_id in session_ids]
        views = (self._schema.view, self._events.view)
        keys = [storage_key(self._project, view, name) for view in views for name in names]
        values = self._client.read(keys)
        return [
            None if value is None else self._row(value, events)
            for value, events in zip(values[: len(names)], values[len(names) :], strict=True)
        ]

    def _row(self, value: bytes, events: bytes | None) -> dict[str, Any] | None:
        head = self._schema.check(value)
        if head.deleted:
            return None
        row = _decoded(self._schema, value)
        row |= dict.fromkeys((name for name, _ in SESSION_EVENT_FIELDS), None)
        if events is not None:
            beside = self._events.check(events)
            if not beside.deleted and (beside.event_us, beside.created_us) == (
                head.event_us,
                head.created_us,
            ):
                row |= _decoded(self._events, events)
        return {**row, "event_timestamp_us": head.event_us, "created_us": head.created_us}

    def close(self) -> None:
        """Return the connections."""
        self._client.close()


def _decoded(schema: PackedSchema, value: bytes) -> dict[str, Any]:
    return {
        name: field.tolist() if isinstance(field, np.ndarray) else field
        for name, field in schema.decode(value).items()
    }
