"""What Feast's universal test suite needs to run on our stores: both the suite's configuration module and a
pytest plugin.

The suite imports container and cloud libraries at its head even where no test of ours needs them: absent ones
are stood in for by empty modules, and every test that would really use one is listed in `NOT_RUN` with its
reason.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import types
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

ABSENT = (
    "testcontainers",
    "minio",
    "keycloak",
    "boto3",
    "botocore",
    "great_expectations",
    "docker",
    "kubernetes",
    "moto",
    "psycopg",
    "pymysql",
    "google.cloud",
)
NOT_RUN = {
    "test_dqm_validation": "needs great_expectations < 1, which wants numpy 1",
    "test_s3_custom_endpoint": "the suite itself leaves it out",
    "test_redis_versioning": "starts redis in Docker, and is about the keys of Feast's own redis store",
    "_dynamo": "starts DynamoDB in Docker",
    "test_offline_write": (
        "Feast writes no Delta here: Spark jobs do (refused in one line, a test of ours holds that)"
    ),
    "test_non_entity_mode_preserves_multiple_timestamps": "writes Delta through Feast; Spark jobs do here",
    "test_push_features_to_offline_store": "Feast writes no Delta here: Spark jobs do",
    "test_feature_logging": (
        "Feast's Spark store, which ours extends, has no logging destination; score_log is ours"
    ),
}
WITHOUT_TTL = {
    "test_odfv_write_methods": (
        "with `ttl_seconds: 0`: it expects rows years past their ttl, which Feast's stores serve and ours "
        "does not"
    )
}
ONLY_OTHERS = "asks for the vector search or the pool of another store by name"


class _Empty(types.ModuleType):
    """A module whose every name is an exception class: good for import, base class and `except`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, fullname: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not any(fullname == name or fullname.startswith(f"{name}.") for name in ABSENT):
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        return None


sys.meta_path.append(_Finder())  # last: what is installed is used


def _spark() -> Any:
    from feature_repo.contract.settings import load_settings
    from spark_jobs.session import spark_session

    assets = os.environ.get(
        "INTENTSTORE_ASSETS", str(Path(__file__).resolve().parent.parent / ".intentstore" / "assets")
    )
    changes = {
        "home": tempfile.gettempdir() + "/feast_universal",
        "assets": assets,
        "spark.driver_memory": "1g",
        "spark.shuffle_partitions": 2,
    }
    return spark_session(load_settings(Path(os.devnull), {}, changes), app="feast_universal")


class DeltaDataSourceCreator:
    """Writes the suite's frames as Delta tables and points `DeltaOfflineStore` at them."""

    def __init__(self, project_name: str, *_: Any, **__: Any) -> None:
        self.project_name, self.folder = project_name, Path(tempfile.mkdtemp(prefix="feast_universal"))

    def setup(self, registry: Any) -> None:
        """Nothing to set up beside the folder."""

    def create_offline_store_config(self) -> Any:
        """Make the configuration of our offline store."""
        from feature_repo.stores.offline.store import DeltaOfflineStoreConfig

        _spark()
        return DeltaOfflineStoreConfig(lake=str(self.folder))

    def create_data_source(
        self,
        df: pd.DataFrame,
        destination_name: str,
        created_timestamp_column: str = "created_ts",
        field_mapping: dict[str, str] | None = None,
        timestamp_field: str | None = "ts",
    ) -> Any:
        """Write a frame as a Delta table and return its source."""
        from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
        from feast.table_format import DeltaFormat

        name = self.get_prefixed_table_name(destination_name)
        path = self.folder / f"{name}_{uuid.uuid4().hex[:6]}"
        _spark().createDataFrame(as_table(df)).coalesce(1).write.format("delta").save(str(path))
        return SparkSource(
            name=name,
            path=path.name,
            table_format=DeltaFormat(),
            timestamp_field=timestamp_field,
            created_timestamp_column=created_timestamp_column,
            field_mapping=field_mapping or {"ts_1": "ts"},
        )

    def create_saved_dataset_destination(self) -> Any:
        """Make a place for a saved data set."""
        from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import (
            SavedDatasetSparkStorage,
        )

        # one by path has no name, which Feast 0.67 itself trips over
        return SavedDatasetSparkStorage(table=f"saved_{uuid.uuid4().hex[:6]}")

    def create_logged_features_destination(self) -> Any:
        """There is none; see `NOT_RUN`."""
        return None

    def get_prefixed_table_name(self, suffix: str) -> str:
        """Name a table after the project."""
        return f"{self.project_name}_{suffix}"

    def teardown(self) -> None:
        """Remove the tables."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def xdist_groups() -> list[str]:
        """No groups."""
        return []

    @staticmethod
    def test_markers() -> list[Any]:
        """No marks."""
        return []


def as_table(df: pd.DataFrame) -> pa.Table:
    """Turn a frame into what Delta holds: microseconds UTC, string where all is null."""
    table = pa.Table.from_pandas(df, preserve_index=False)
    return pa.table({field.name: _as_delta(table.column(field.name)) for field in table.schema})


def _as_delta(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us", tz="UTC"), safe=False)
    if pa.types.is_list(kind) and pa.types.is_timestamp(kind.value_type):
        return column.cast(pa.list_(pa.timestamp("us", tz="UTC")), safe=False)
    if pa.types.is_null(kind):
        return column.cast(pa.string())
    if pa.types.is_list(kind) and pa.types.is_null(kind.value_type):
        return column.cast(pa.list_(pa.string()))
    return column


PACKED: Any = (
    {"type": "feature_repo.stores.PackedOnlineStore", "url": os.environ.get("FEAST_UNIVERSAL_URL", "")},
    None,
)
AVAILABLE_OFFLINE_STORES = [("local", DeltaDataSourceCreator)]
AVAILABLE_ONLINE_STORES = {"redis": PACKED}
ALIASES = ("sqlite", "mongodb")  # tests that are written for one of these by name, and hold for any store


def pytest_configure(config: pytest.Config) -> None:
    """Let the suite's provider `local` be ours, as feature_store.yaml has it."""
    from feast.infra.provider import PROVIDERS_CLASS_FOR_TYPE

    PROVIDERS_CLASS_FOR_TYPE["local"] = "feature_repo.stores.PackedProvider"


RECORDS: list[dict[str, Any]] = []


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Point tests for one store by name at ours where they hold for any store."""
    repo = sys.modules.get("tests.universal.feature_repos.repo_configuration")
    if repo is not None:
        repo.OFFLINE_STORE_TO_PROVIDER_CONFIG["file"] = AVAILABLE_OFFLINE_STORES[0]  # type: ignore[attr-defined]
    for mark in metafunc.definition.own_markers:
        only = mark.kwargs.get("only") if mark.name == "universal_online_stores" else None
        if only and "redis" not in only and set(only) & set(ALIASES):
            mark.kwargs["only"] = ["redis"]


@pytest.fixture
def worker_id() -> str:
    """What pytest-xdist would give."""
    return "master"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out what is not run, with its reason."""
    kept = []
    for item in items:
        why = next((why for part, why in NOT_RUN.items() if part in item.nodeid), None)
        if why:
            RECORDS.append(_record(item.nodeid, "not_run", why))
        else:
            kept.append(item)
    items[:] = kept


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Switch ages off for the tests that serve rows past them."""
    test = item.name.partition("[")[0]
    PACKED[0]["ttl_seconds"] = 0.0 if test in WITHOUT_TTL else None


def _record(nodeid: str, outcome: str, why: str) -> dict[str, Any]:
    file, _, test = nodeid.partition("::")
    return {
        "test": f"{Path(file).parent.name}/{Path(file).stem}::{test.partition('[')[0]}",
        "outcome": outcome,
        "why": why,
    }


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note the outcome of each case: failed anywhere is failed."""
    outcome: Any = yield
    report, note = outcome.get_result(), WITHOUT_TTL.get(item.name.partition("[")[0], "")
    if report.skipped:
        why = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
        RECORDS.append(_record(item.nodeid, "not_run", ONLY_OTHERS if "empty parameter set" in why else why))
    elif report.failed or report.when == "call":
        RECORDS.append(
            _record(
                item.nodeid,
                "failed" if report.failed else "passed",
                report.longreprtext[-300:] if report.failed else note,
            )
        )


def pytest_runtest_logfinish(nodeid: str, location: Any) -> None:
    """Write the records after each test: a run that is cut short has shown what it has shown."""
    save()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the records."""
    save()


def save() -> None:
    """Write the records so far."""
    Path(os.environ["FEAST_UNIVERSAL_RECORDS"]).write_text(json.dumps(RECORDS), encoding="utf-8")
