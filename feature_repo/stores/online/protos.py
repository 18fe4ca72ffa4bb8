"""Between Feast's value messages and packed rows: kinds of Feast types, values in, values out."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
from feast import FeatureView, ValueType
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values

from feature_repo.stores.packed.codec import PackedSchema
from feature_repo.stores.packed.many import Blobs
from feature_repo.stores.packed.slots import PackedValueError

MICROSECONDS = 1_000_000  # Feast's own time values are whole seconds
NO_TIME = -(2**63)  # what Feast makes of a missing time (numpy's NaT), in seconds
_KIND_OF_VALUE_TYPE = {
    "STRING": "str",
    "BYTES": "bytes",
    "INT32": "i32",
    "INT64": "i64",
    "DOUBLE": "f64",
    "FLOAT": "f32",
    "BOOL": "bool",
    "UNIX_TIMESTAMP": "time",
}
_FIELD_OF_KIND = {
    "str": "string_val",
    "bytes": "bytes_val",
    "i32": "int32_val",
    "i64": "int64_val",
    "f64": "double_val",
    "f32": "float_val",
    "bool": "bool_val",
    "time": "unix_timestamp_val",
    "list<str>": "string_list_val",
    "list<bytes>": "bytes_list_val",
    "list<i32>": "int32_list_val",
    "list<i64>": "int64_list_val",
    "list<f64>": "double_list_val",
    "list<f32>": "float_list_val",
    "list<bool>": "bool_list_val",
    "list<time>": "unix_timestamp_list_val",
}
DIRECT = {
    kind: field for kind, field in _FIELD_OF_KIND.items() if kind != "time" and not kind.startswith("list<")
}
_schemas: dict[tuple[Any, ...], PackedSchema] = {}


def kind_of(value_type: str) -> str:
    """Map the name of a Feast value type to the codec's kind; types without their own are stored as
    serialised messages.

    Examples
    --------
    >>> kind_of("FLOAT_LIST"), kind_of("INT64"), kind_of("MAP")
    ('list<f32>', 'i64', 'proto')
    """
    base = _KIND_OF_VALUE_TYPE.get(value_type.removesuffix("_LIST"))
    if base is None:
        return "proto"
    return f"list<{base}>" if value_type.endswith("_LIST") else base


def schema_of(view: FeatureView) -> PackedSchema:
    """Packed schema of a feature view: all its features, whatever projection is asked for."""
    key = (view.name, *((field.name, field.dtype.to_value_type().name) for field in view.features))
    if key not in _schemas:
        _schemas[key] = PackedSchema(view.name, tuple((name, kind_of(kind)) for name, kind in key[1:]))
    return _schemas[key]


def from_message(kind: str, message: Value) -> Any:
    """Take the value out of a Feast message, as `PackedSchema.encode` wants it; null is ``None``."""
    which = message.WhichOneof("val")
    if which is None or which == "null_val":
        return None
    if which == DIRECT.get(kind):
        return getattr(message, which)
    if kind == "proto":
        return message.SerializeToString()
    if kind == "list<f32>" and which == "float_list_val":
        floats = message.float_list_val
        # packed floats end the wire format
        return np.frombuffer(floats.SerializeToString()[-4 * len(floats.val) :] if floats.val else b"", "<f4")
    value = getattr(message, which)
    if kind == "time":
        return None if value == NO_TIME else value * MICROSECONDS
    if kind.startswith("list<"):
        return [moment * MICROSECONDS for moment in value.val] if kind == "list<time>" else value.val
    return value


def messages_of(view: str, feature: str, value_type: str, values: Sequence[Any]) -> list[Value]:
    """Turn plain values into Feast's messages with Feast's own converters.

    Parameters
    ----------
    view, feature : str
        For the message.
    value_type : str
        Name of Feast's type.
    values : sequence
        As a frame or Arrow gives them; ``None``, NaN and NaT are null.

    Raises
    ------
    PackedValueError
        A value that Feast cannot convert; names its row.
    """
    kind, messages = ValueType[value_type], []
    for row, value in enumerate(values):
        plain = _plain(value_type, value)
        try:
            messages.append(Value() if plain is None else python_values_to_proto_values([plain], kind)[0])
        except Exception as error:  # noqa: BLE001
            # whatever Feast's converters raise, also assertions and bare exceptions
            reason = " ".join(str(error).split())[:200]
            text = (
                f"view '{view}': feature '{feature}' = {value!r:.80} in row {row} is no {value_type} "
                f"({type(error).__name__}: {reason}); correct the writer"
            )
            raise PackedValueError(text) from None
    return messages


def message_blobs(view: str, feature: str, value_type: str, values: Sequence[Any]) -> Blobs:
    """Turn plain values of a type without its own kind into the serialised messages that are stored for it;
    see `messages_of`.

    Examples
    --------
    >>> message_blobs("v", "f", "INT32_SET", [None, [3]]).blobs[0] is None
    True
    """
    return Blobs(
        [from_message("proto", message) for message in messages_of(view, feature, value_type, values)]
    )


def _plain(value_type: str, value: Any) -> Any:
    """Undo what pandas and Arrow make of a value on its way, so that Feast's converters know it again."""
    if (
        value is None
        or type(value).__name__ in ("NaTType", "NAType")
        or (isinstance(value, float | np.floating) and value != value)
    ):
        return None
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if "MAP" in value_type and isinstance(value, list) and value and isinstance(value[0], tuple):
        value = dict(value)  # Arrow's maps are lists of pairs
    if "UUID" in value_type:
        return [_uuid(one) for one in value] if isinstance(value, list | set | tuple) else _uuid(value)
    if value_type.endswith("_SET"):
        return set(value)
    return value


def _uuid(value: Any) -> Any:
    return uuid.UUID(bytes=value) if isinstance(value, bytes) else value


def to_message(kind: str, value: Any) -> Value:
    """Build a Feast message from what `PackedSchema.decode` gave; sub-second parts of times do not fit and
    are cut.
    """
    if value is None:
        return Value()
    if kind == "list<f32>":
        return _float_list(value.tobytes())
    if kind == "proto":
        return Value.FromString(value)
    message = Value()
    field = _FIELD_OF_KIND[kind]
    if kind.startswith("list<"):
        values = value if isinstance(value, list) else value.tolist()
        target = getattr(message, field)
        target.SetInParent()  # an empty list is not a null
        target.val.extend([moment // MICROSECONDS for moment in values] if kind == "list<time>" else values)
    else:
        setattr(message, field, value // MICROSECONDS if kind == "time" else value)
    return message


def _float_list(raw: bytes) -> Value:
    # The heap holds the very bytes of the wire format's packed floats: parsing two headers costs less than
    # 384 conversions.
    inner = b"\x0a" + _varint(len(raw)) + raw
    return Value.FromString(_tag("float_list_val") + _varint(len(inner)) + inner)


def _tag(field: str) -> bytes:
    return _varint(Value.DESCRIPTOR.fields_by_name[field].number << 3 | 2)


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
