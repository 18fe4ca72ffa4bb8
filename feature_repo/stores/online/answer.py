"""The reading half of `PackedOnlineStore`: which keys a request needs, and packed values back into Feast's
response with true statuses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from feast import FeatureView, utils
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from feature_repo.stores.online.protos import to_message
from feature_repo.stores.packed.codec import PackedSchema
from feature_repo.stores.packed.keys import DUMMY_KEY
from feature_repo.stores.packed.slots import EPOCH

# (None, None) not found; (time, None) outside the maximum age
ReadRow = tuple[datetime | None, dict[str, Value] | None]
Entities = tuple[tuple[dict[str, Any], ...], tuple[list[int], ...], int]
Unpack = Callable[[FeatureView, Sequence[bytes | None], Sequence[str]], list[ReadRow]]


@dataclass(frozen=True)
class ViewRequest:
    """What one view contributes to a request: the features wanted, a key for each distinct entity, and the
    places in the answer that each fills.
    """

    table: FeatureView
    names: list[str]
    keys: list[bytes]
    places: tuple[list[int], ...]
    length: int


@dataclass(frozen=True)
class Request:
    """One call of Feast's hook beneath `get_online_features`; the fields are its arguments, in its order.

    Attributes
    ----------
    grouped : list of (FeatureView, names)
    join_key_values : dict
        Join key to the messages of all rows.
    join_keys : dict
        Entity name to join key.
    response : GetOnlineFeaturesResponse
        To be filled.
    full_names, versions : bool
        Whether names carry their view's name, and whether the views' versions are told.
    """

    grouped: list[tuple[FeatureView, list[str]]]
    join_key_values: dict[str, Any]
    join_keys: dict[str, str]
    response: GetOnlineFeaturesResponse
    full_names: bool
    versions: bool

    def parts(self, key: Callable[[FeatureView, EntityKey], bytes]) -> list[ViewRequest]:
        """Work out each view's part; `key` names an entity's value in the store."""
        found = []
        for table, names in self.grouped:
            entities, places, length = self._entities(table)
            keys = [key(table, entity) for entity in utils._get_entity_key_protos(entities)]
            found.append(ViewRequest(table, names, keys, places, length))
        return found

    def _entities(self, table: FeatureView) -> Entities:
        """Return the distinct entities of a view, the rows that ask for each, and how many rows there are."""
        # one row for all who ask; Feast 0.67 forgets about it once the view came out of a registry
        if set(table.join_keys) <= {DUMMY_KEY}:
            length = max(map(len, self.join_key_values.values()), default=1)
            return ({DUMMY_KEY: Value(string_val="")},), (list(range(length)),), length
        found: Entities = utils._get_unique_entities(table, self.join_key_values, self.join_keys)
        return found

    def answer(self, parts: Sequence[ViewRequest], values: Sequence[bytes | None], unpack: Unpack) -> None:
        """Fill the response from the values of all parts' keys, in their order; a refused value leaves the
        response as it was.
        """
        start, found = 0, []
        for part in parts:
            found.append(unpack(part.table, values[start : start + len(part.keys)], part.names))
            start += len(part.keys)
        # only now: a refused row must not leave half an answer behind
        for part, rows in zip(parts, found, strict=True):
            _fill(self.response, part, rows, self.full_names)
            if self.versions:
                metadata = self.response.metadata.feature_view_metadata.add()
                metadata.name = part.table.projection.name_alias or part.table.name
                metadata.version = getattr(part.table, "current_version_number", 0) or 0


def read_row(
    schema: PackedSchema, wanted: Sequence[tuple[str, str]], value: bytes | None, oldest_us: int | None
) -> ReadRow:
    """Unpack one stored value into Feast's messages.

    Parameters
    ----------
    schema : PackedSchema
    wanted : sequence of (name, kind)
    value : bytes or None
    oldest_us : int, optional
        Rows before it are outside the maximum age.
    """
    if value is None:
        return None, None
    head = schema.check(value)
    if head.deleted:
        return None, None
    event = EPOCH + timedelta(microseconds=head.event_us)
    if oldest_us is not None and head.event_us < oldest_us:
        return event, None
    fields = schema.decode(value, [name for name, _ in wanted])
    return event, {name: to_message(kind, fields[name]) for name, kind in wanted}


def _fill(
    response: GetOnlineFeaturesResponse, part: ViewRequest, rows: Sequence[ReadRow], full_names: bool
) -> None:
    prefix = f"{part.table.projection.name_to_use()}__" if full_names else ""
    response.metadata.feature_names.val.extend(prefix + name for name in part.names)
    times, statuses = [Timestamp()] * part.length, [FieldStatus.NOT_FOUND] * part.length
    columns = {name: [Value()] * part.length for name in part.names}
    for (event, features), destinations in zip(rows, part.places, strict=True):
        if event is None:
            continue
        moment = Timestamp()
        moment.FromDatetime(event)
        for place in destinations:
            times[place], statuses[place] = (
                moment,
                FieldStatus.OUTSIDE_MAX_AGE if features is None else FieldStatus.PRESENT,
            )
            for name in part.names if features is not None else ():
                columns[name][place] = features[name]  # type: ignore[index]
    for name in part.names:
        response.results.append(
            GetOnlineFeaturesResponse.FeatureVector(
                values=columns[name], statuses=statuses, event_timestamps=times
            )
        )
