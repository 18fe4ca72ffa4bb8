"""`POST /get-online-features` for a whole service, straight from packed values to JSON; every other request
goes on to Feast's own handler.

The answer is the one that Feast gives (a test holds the two equal), without a message and a Python object a
value.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from feature_repo.serving.access import replay
from feature_repo.stores.online.reader import NOT_FOUND, OUTSIDE_MAX_AGE, PRESENT, OnlineReader, ViewColumns
from feature_repo.stores.packed.client import OnlineStoreError
from feature_repo.stores.packed.keys import DUMMY_KEY
from feature_repo.stores.packed.slots import EPOCH, PackedValueError

if TYPE_CHECKING:
    from feast import FeatureStore

PLAIN = {
    "i64",
    "i32",
    "f64",
    "f32",
    "bool",
    "str",
    "time",
    "list<i64>",
    "list<i32>",
    "list<f64>",
    "list<f32>",
    "list<bool>",
    "list<str>",
}
STATUS_OF_ERROR = ((OnlineStoreError, 503), (PackedValueError, 409))
_STATUSES = {PRESENT: "PRESENT", NOT_FOUND: "NOT_FOUND", OUTSIDE_MAX_AGE: "OUTSIDE_MAX_AGE"}
_BITS = {"INT32": 31, "INT64": 63}
_NO_TIME = "1970-01-01T00:00:00Z"
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class _Service:
    reader: OnlineReader
    keys: dict[str, str]
    kinds: dict[str, dict[str, str]]


class ServiceReads:
    """ASGI middleware in front of Feast's server.

    Parameters
    ----------
    app : ASGI application
    store : feast.FeatureStore
        On a `PackedOnlineStore`.
    registry_seconds : float
        How long a service's definition is kept.
    """

    def __init__(self, app: ASGIApp, store: FeatureStore, registry_seconds: float) -> None:
        self._app, self._store, self._seconds = app, store, registry_seconds
        self._services: dict[str, tuple[float, _Service | None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; see the module."""
        if scope["type"] != "http" or scope.get("path") != "/get-online-features":
            await self._app(scope, receive, send)
            return
        body = await Request(scope, receive).body()
        asked = self._asked(body)
        service = await self._service(asked["feature_service"]) if asked else None
        if asked is None or service is None or asked["entities"].keys() != service.keys.keys():
            # Feast's handler, and its words for what is wrong
            await self._app(scope, replay(body, receive), send)
            return
        await (await _answer(service, asked["entities"]))(scope, receive, send)

    def _asked(self, body: bytes) -> dict[str, Any] | None:
        try:
            asked = msgspec.json.decode(body)
        except msgspec.DecodeError:
            return None
        plain = (
            isinstance(asked, dict)
            and isinstance(asked.get("feature_service"), str)
            and isinstance(asked.get("entities"), dict)
        )
        if not plain or asked.get("full_feature_names") or asked.get("include_feature_view_version_metadata"):
            return None
        return asked  # type: ignore[no-any-return]

    async def _service(self, name: str) -> _Service | None:
        until, service = self._services.get(name, (0.0, None))
        if until < time.monotonic():
            service = await asyncio.to_thread(self._resolve, name)
            self._services[name] = (time.monotonic() + self._seconds, service)
        return service

    def _resolve(self, name: str) -> _Service | None:
        """Look a service up; none where only Feast's handler will do (unknown, on-demand or renamed views,
        kinds that JSON has no plain form for).
        """
        from feast.errors import FeastObjectNotFoundException

        try:
            projections = self._store.get_feature_service(name).feature_view_projections
            views = {view.name: view for view in self._store.list_feature_views()}
        except FeastObjectNotFoundException:
            return None
        if any(
            part.name not in views or part.join_key_map or part.name_to_use() != part.name
            for part in projections
        ):
            return None
        reader = OnlineReader(self._store, name)
        names = [feature for kinds in reader.kinds.values() for feature in kinds]
        if (
            len(set(names)) != len(names)
            or not {kind for kinds in reader.kinds.values() for kind in kinds.values()} <= PLAIN
        ):
            return None
        keys = {
            column.name: column.dtype.to_value_type().name
            for part in projections
            for column in views[part.name].entity_columns
        }
        return (
            _Service(reader, keys, reader.kinds)
            if set(keys.values()) <= {"STRING", *_BITS} and DUMMY_KEY not in keys
            else None
        )


async def _answer(service: _Service, entities: Mapping[str, Sequence[Any]]) -> Response:
    """Read a service and make the whole answer, or say what is wrong."""
    wrong = _wrong_value(service, entities)
    if wrong:
        return _json(_encode({"detail": wrong}), 422)
    try:
        columns = await service.reader.read_async(entities)
    except (OnlineStoreError, PackedValueError) as error:
        status = next(status for kind, status in STATUS_OF_ERROR if isinstance(error, kind))
        return _json(_encode({"detail": str(error)}), status)
    return _json(encode(service.kinds, entities, columns))


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def encode(
    kinds: Mapping[str, Mapping[str, str]],
    entities: Mapping[str, Sequence[Any]],
    columns: Mapping[str, ViewColumns],
) -> bytes:
    """Write what was read as the JSON of Feast's server.

    Parameters
    ----------
    kinds : mapping
        View to feature to kind.
    entities : mapping
        Join key to the values asked for.
    columns : mapping
        View to what was read of it.
    """
    count = len(next(iter(entities.values())))
    present, no_times = msgspec.Raw(_encode(["PRESENT"] * count)), msgspec.Raw(_encode([_NO_TIME] * count))
    results = [
        {"values": values, "statuses": present, "event_timestamps": no_times} for values in entities.values()
    ]
    for view, found in columns.items():
        statuses = msgspec.Raw(_encode([_STATUSES[status] for status in found.status.tolist()]))
        times = msgspec.Raw(_encode([_time(us) for us in found.event_us.tolist()]))
        for name, kind in kinds[view].items():
            values = _plain(found.columns[name], kind, found.present[name])
            results.append({"values": values, "statuses": statuses, "event_timestamps": times})
    names = [*entities, *(name for view in columns for name in kinds[view])]
    return _encode({"results": results, "metadata": {"feature_names": names}})


def _plain(column: np.ndarray, kind: str, present: np.ndarray) -> list[Any]:
    if column.dtype == object:
        values = [value.tolist() if isinstance(value, np.ndarray) else value for value in column.tolist()]
        return [_finite_list(value) for value in values] if kind in ("list<f32>", "list<f64>") else values
    values = (column // 1_000_000 if kind == "time" else column).tolist()
    if column.dtype.kind == "f" and not np.isfinite(column[present]).all():
        values = [_finite_list(value) if isinstance(value, list) else _finite(value) for value in values]
    return (
        values
        if present.all()
        else [value if ok else None for value, ok in zip(values, present.tolist(), strict=True)]
    )


def _finite_list(values: list[float] | None) -> list[Any] | None:
    return None if values is None else [_finite(value) for value in values]


def _finite(value: float) -> Any:
    # JSON has no such numbers; protobuf's mapping, which Feast follows, writes their names.
    if value != value:
        return "NaN"
    return {float("inf"): "Infinity", float("-inf"): "-Infinity"}.get(value, value)


def _time(us: int) -> str:
    moment = EPOCH + timedelta(microseconds=us)
    micros = us % 1_000_000
    fraction = "" if micros == 0 else f".{micros // 1000:03d}" if micros % 1000 == 0 else f".{micros:06d}"
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"


def _wrong_value(service: _Service, entities: Mapping[str, Any]) -> str | None:
    """Say which value is no key of its type; Feast would look for another entity instead (7 becomes "7")."""
    for key, values in entities.items():
        kind = service.keys[key]
        for value in values:
            if not (type(value) is str if kind == "STRING" else _is_integer(value, _BITS[kind])):
                return (
                    f"entity key '{key}' is {kind}; {value!r:.80} is none: send "
                    f"{'text' if kind == 'STRING' else 'a whole number'}"
                )
    return None


def _is_integer(value: Any, bits: int) -> bool:
    return type(value) is int and -(1 << bits) <= value < 1 << bits
