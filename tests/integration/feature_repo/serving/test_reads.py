"""Whole services read over HTTP are answered as Feast's own handler answers them, value for value, and
without it.
"""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, RepoConfig, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp
from starlette.testclient import TestClient

from feature_repo.serving.reads import ServiceReads

NOW = dt.datetime.now(dt.UTC).replace(microsecond=120_000)
PLAIN = {
    "big": Int64,
    "small": Int32,
    "double": Float64,
    "single": Float32,
    "yes": Bool,
    "word": String,
    "moment": UnixTimestamp,
    "floats": Array(Float32),
    "doubles": Array(Float64),
    "numbers": Array(Int64),
    "words": Array(String),
    "flags": Array(Bool),
}
ROWS = [
    {
        "big": 2**62,
        "small": -3,
        "double": 0.1,
        "single": 0.1,
        "yes": True,
        "word": 'ä "x"',
        "moment": NOW,
        "floats": [0.1, 2.0],
        "doubles": [0.1],
        "numbers": [1, 2],
        "words": ["a", ""],
        "flags": [True, False],
    },
    {
        "big": 1,
        "small": 2,
        "double": float("inf"),
        "single": float("-inf"),
        "yes": False,
        "word": "",
        "moment": NOW,
        "floats": [1.5, 2.5],
        "doubles": [0.1, 0.2],
        "numbers": [],
        "words": [],
        "flags": [True],
    },
    dict.fromkeys(PLAIN),
]


@pytest.fixture(scope="module")
def feast_store(valkey, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reads")
    config = RepoConfig(
        project="reads",
        provider="feature_repo.stores.PackedProvider",
        registry=str(folder / "registry.db"),
        entity_key_serialization_version=3,
        offline_store={"type": "feature_repo.stores.DeltaOfflineStore"},
        online_store={"type": "feature_repo.stores.PackedOnlineStore", "url": valkey.url},
    )
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    make = lambda name, fields, hours: FeatureView(
        name=name,
        entities=[user],
        ttl=dt.timedelta(hours=hours),
        schema=[Field(name="user_id", dtype=Int64), *fields],
        source=SparkSource(
            name=name,
            path=name,
            table_format=DeltaFormat(),
            timestamp_field="ts",
            created_timestamp_column="created",
        ),
    )
    plain = make("plain", [Field(name=name, dtype=kind) for name, kind in PLAIN.items()], 0)
    aged = make("aged", [Field(name="n", dtype=Int64)], 1)
    raw = make("raw", [Field(name="blob", dtype=Bytes)], 0)
    store = FeatureStore(config=config)
    services = [
        FeatureService(name="all_v1", features=[plain, aged]),
        FeatureService(name="raw_v1", features=[raw]),
    ]
    store.apply([user, plain, aged, raw, *services])
    frame = pd.DataFrame(
        [{**row, "user_id": number, "ts": NOW, "created": NOW} for number, row in enumerate(ROWS)]
    )
    store.write_to_online_store("plain", frame.astype({"big": "Int64", "small": "Int32", "yes": "boolean"}))
    old = NOW - dt.timedelta(seconds=4000)
    store.write_to_online_store(
        "aged", pd.DataFrame({"user_id": [0, 1], "n": [5, 6], "ts": [NOW, old], "created": [NOW, old]})
    )
    store.write_to_online_store(
        "raw", pd.DataFrame({"user_id": [0], "blob": [b"\xff"], "ts": [NOW], "created": [NOW]})
    )
    return store


@pytest.fixture(scope="module")
def servers(feast_store):
    """Feast's application alone, the same behind `ServiceReads`, and a count of what passed through to it."""
    from feast.feature_server import get_app
    from feast.permissions.server.utils import (
        AuthManagerType,
        ServerType,
        init_auth_manager,
        init_security_manager,
    )

    init_security_manager(auth_type=AuthManagerType.NONE, fs=feast_store)
    init_auth_manager(
        auth_type=AuthManagerType.NONE,
        server_type=ServerType.REST,
        auth_config=feast_store.config.auth_config,
    )
    app, passed = get_app(feast_store, 60), []

    async def counted(scope, receive, send):
        passed.append(scope.get("path"))
        await app(scope, receive, send)

    with TestClient(Switch(app, ServiceReads(counted, feast_store, 60))) as client:
        yield client, passed


class Switch:
    """Answers by the application that the header `way` names; one event loop for both."""

    def __init__(self, feast, ours):
        self.ways = {b"feast": feast, b"ours": ours}

    async def __call__(self, scope, receive, send):
        await self.ways[dict(scope.get("headers", [])).get(b"way", b"feast")](scope, receive, send)


def columns(answer):
    return dict(zip(answer["metadata"]["feature_names"], answer["results"], strict=True))


def test_answer_equals_feasts_without_passing_through_it(servers):
    client, passed = servers
    body = {"feature_service": "all_v1", "entities": {"user_id": [2, 0, 1, 99, 0]}}
    before = len(passed)
    ours, feasts = (
        client.post("/get-online-features", json=body, headers={"way": way}).json()
        for way in ("ours", "feast")
    )
    assert len(passed) == before
    assert columns(ours) == columns(feasts)
    assert columns(ours)["n"]["statuses"] == [
        "NOT_FOUND",
        "PRESENT",
        "OUTSIDE_MAX_AGE",
        "NOT_FOUND",
        "PRESENT",
    ]
    assert columns(ours)["double"]["values"] == [None, 0.1, "Infinity", None, 0.1]


@pytest.mark.parametrize(
    "body",
    [
        {"feature_service": "all_v1", "entities": {"user_id": [1]}, "full_feature_names": True},
        {"feature_service": "raw_v1", "entities": {"user_id": [0]}},
        {"features": ["plain:big"], "entities": {"user_id": [0]}},
    ],
)
def test_what_needs_feasts_handler_gets_it(servers, body):
    client, passed = servers
    before = len(passed)
    ours, feasts = (
        client.post("/get-online-features", json=body, headers={"way": way}) for way in ("ours", "feast")
    )
    assert len(passed) == before + 1
    assert (ours.status_code, columns(ours.json())) == (200, columns(feasts.json()))
