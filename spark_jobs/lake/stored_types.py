"""The columns that a Delta table's log describes, as Arrow types. Reads no file."""

from __future__ import annotations

import json
import re
from typing import Any

import pyarrow as pa

_SIMPLE: dict[str, pa.DataType] = {
    "string": pa.string(),
    "long": pa.int64(),
    "integer": pa.int32(),
    "short": pa.int16(),
    "byte": pa.int8(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "timestamp_ntz": pa.timestamp("us"),
}


def arrow_types(schema_string: str) -> dict[str, pa.DataType | None]:
    """Map the columns of a log's ``schemaString``.

    Parameters
    ----------
    schema_string : str
        JSON, as ``metaData`` of the log holds it.

    Returns
    -------
    dict
        Column to the type that Spark gives it in Arrow, in the table's order; ``None`` for a type that has
        none here (intervals, variants).

    Examples
    --------
    >>> arrow_types('{"fields": [{"name": "n", "type": "decimal(10,2)"}]}')
    {'n': Decimal128Type(decimal128(10, 2))}
    """
    return {entry["name"]: _arrow(entry["type"]) for entry in json.loads(schema_string)["fields"]}


def _arrow(kind: Any) -> pa.DataType | None:
    if isinstance(kind, dict):
        return _nested(kind)
    if decimal := re.fullmatch(r"decimal\((\d+),\s*(\d+)\)", kind):
        return pa.decimal128(int(decimal[1]), int(decimal[2]))
    return _SIMPLE.get(kind)


def _nested(kind: dict[str, Any]) -> pa.DataType | None:
    if kind.get("type") == "array":
        element = _arrow(kind["elementType"])
        return None if element is None else pa.list_(pa.field("element", element))
    if kind.get("type") == "map":
        key, value = _arrow(kind["keyType"]), _arrow(kind["valueType"])
        return None if key is None or value is None else pa.map_(key, value)
    if kind.get("type") == "struct":
        fields = [(entry["name"], _arrow(entry["type"])) for entry in kind["fields"]]
        return None if any(inner is None for _, inner in fields) else pa.struct(fields)
    return None
