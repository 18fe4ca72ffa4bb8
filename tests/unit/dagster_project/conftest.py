"""A lake made without Spark: Parquet files and a hand-written Delta log, as the format's specification
describes them.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.contract import tables as columns
from feature_repo.contract.settings import Settings, load_settings

NOON = datetime.datetime(2026, 1, 5, 12, tzinfo=datetime.UTC)
WriteTable = Callable[..., Path]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(Path("/dev/null"), {}, {"home": str(tmp_path / "home")})


def delta_type(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return {"type": "array", "elementType": delta_type(kind.value_type), "containsNull": True}
    if pa.types.is_timestamp(kind):
        return "timestamp"
    return {"int32": "integer", "int64": "long", "date32[day]": "date", "bool": "boolean"}.get(
        str(kind), str(kind)
    )


@pytest.fixture
def write_table(settings: Settings) -> WriteTable:
    """Append one commit to a table: rows (dicts, columns left out are null), files to take away, or another
    schema.
    """

    def write(
        name: str,
        rows: list[dict[str, Any]],
        *,
        schema: pa.Schema | None = None,
        remove: tuple[str, ...] = (),
        stats: bool = True,
    ) -> Path:
        kept = schema or columns.SCHEMAS[name]
        path = settings.table(name)
        log = path / "_delta_log"
        log.mkdir(parents=True, exist_ok=True)
        version = len(list(log.glob("*.json")))
        loose = pa.schema([field.with_nullable(True) for field in kept])
        file = f"part-{version}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema=loose), path / file)
        actions: list[dict[str, Any]] = []
        if version == 0:
            fields = [
                {"name": field.name, "type": delta_type(field.type), "nullable": True, "metadata": {}}
                for field in kept
            ]
            actions.append(
                {
                    "metaData": {
                        "id": "t",
                        "schemaString": json.dumps({"type": "struct", "fields": fields}),
                        "partitionColumns": [],
                    }
                }
            )
        add: dict[str, Any] = {
            "path": file,
            "size": (path / file).stat().st_size,
            "partitionValues": {},
            "dataChange": True,
        }
        if stats:
            add["stats"] = json.dumps({"numRecords": len(rows)})
        actions += [{"add": add}, *({"remove": {"path": gone}} for gone in remove)]
        (log / f"{version:020d}.json").write_text("\n".join(map(json.dumps, actions)), encoding="utf-8")
        return path

    return write


@pytest.fixture
def click() -> Callable[..., dict[str, Any]]:
    def make(number: int, **given: Any) -> dict[str, Any]:
        time = NOON + datetime.timedelta(seconds=number)
        row = {
            "event_id": f"e{number}",
            "session_id": f"s{number % 3}",
            "item_id": f"i{number % 4}",
            "event_time": time,
            "arrival_time": time,
            "arrival_seq": number,
            "ingest_time": time,
            "event_date": time.date(),
        }
        return row | given

    return make
