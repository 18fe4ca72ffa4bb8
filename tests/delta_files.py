"""Delta tables written by hand, without a JVM: Parquet files and a log of JSON lines."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_NAMES = {
    pa.string(): "string",
    pa.int64(): "long",
    pa.int32(): "integer",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.binary(): "binary",
    pa.date32(): "date",
    pa.timestamp("us", tz="UTC"): "timestamp",
}


def _type(kind):
    if pa.types.is_list(kind):
        return {"type": "array", "elementType": _type(kind.value_type), "containsNull": True}
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    return _NAMES[kind]


def write(path: Path, parts: list[pa.Table], *, protocol=None, configuration=None, version: int = 0) -> None:
    """Write one version of a table that holds these parts, a file each, and nothing else."""
    log = path / "_delta_log"
    log.mkdir(parents=True, exist_ok=True)
    fields = [
        {"name": field.name, "type": _type(field.type), "nullable": True, "metadata": {}}
        for field in parts[0].schema
    ]
    actions = [
        {"protocol": protocol or {"minReaderVersion": 1, "minWriterVersion": 2}},
        {
            "metaData": {
                "id": path.name,
                "format": {"provider": "parquet", "options": {}},
                "schemaString": json.dumps({"type": "struct", "fields": fields}),
                "partitionColumns": [],
                "configuration": configuration or {},
            }
        },
    ]
    for number, part in enumerate(parts):
        name = f"part-{version}-{number}.parquet"
        pq.write_table(part, path / name)
        actions.append(
            {
                "add": {
                    "path": name,
                    "partitionValues": {},
                    "size": (path / name).stat().st_size,
                    "modificationTime": 0,
                    "dataChange": True,
                    "stats": json.dumps({"numRecords": len(part)}),
                }
            }
        )
    (log / f"{version:020d}.json").write_text("\n".join(json.dumps(action) for action in actions))
