"""Frames that cannot be online rows: one line with view, column and row, before any server is asked."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from feast import Entity, FeatureView, Field, RepoConfig, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat
from feast.types import Int64, Set, String

from feature_repo.registry.store import applied_store
from feature_repo.stores.asked import RegistryError
from feature_repo.stores.online.provider import PackedProvider
from feature_repo.stores.packed.slots import PackedValueError

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
VIEW = FeatureView(
    name="clicks",
    entities=[Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)],
    schema=[
        Field(name="user_id", dtype=String),
        Field(name="n", dtype=Int64),
        Field(name="s", dtype=Set(Int64)),
    ],
    source=SparkSource(name="clicks", path="clicks", table_format=DeltaFormat(), timestamp_field="ts"),
)


@pytest.fixture
def provider(tmp_path):
    return PackedProvider(
        RepoConfig(
            project="p",
            provider="feature_repo.stores.PackedProvider",
            registry=str(tmp_path / "r.db"),
            entity_key_serialization_version=3,
            offline_store={"type": "feature_repo.stores.DeltaOfflineStore"},
            online_store={
                "type": "feature_repo.stores.PackedOnlineStore",
                "url": "redis://:hush@127.0.0.1:1/0",
            },
        )
    )


def frame(**columns):
    return pd.DataFrame({"user_id": ["a", "b"], "n": [1, 2], "s": [{1}, {2}], "ts": [NOW, NOW]} | columns)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (frame(ts=[NOW, pd.NaT]), "view 'clicks': row 1 without 'ts'"),
        (frame(ts=[None, None]), "row 0 and 1 more without 'ts'"),
        (frame(user_id=[None, "b"]), "view 'clicks': row 0 without 'user_id'"),
        (frame().drop(columns="n"), r"no column \['n'\]"),
        (frame().drop(columns="user_id"), r"no column \['user_id'\]"),
        (frame(n=[1, "two"]), "feature 'n' = 'two' in row 1"),
        (frame(s=[{1}, {"x"}]), r"feature 's' = \{'x'\} in row 1"),
        (frame(ts=[NOW, NOW + dt.timedelta(days=9999)]), "more than a day ahead"),
    ],
)
def test_a_frame_that_does_not_fit_is_one_line(provider, given, told):
    with pytest.raises(PackedValueError, match=told) as caught:
        provider.ingest_df(VIEW, given)
    assert "\n" not in str(caught.value)


def test_a_store_that_is_away_is_no_fault_of_the_frame(provider):
    from feature_repo.stores.packed.refusals import OnlineStoreError

    with pytest.raises(OnlineStoreError) as caught:
        provider.ingest_df(VIEW, frame(n=[1, np.nan]))
    assert "hush" not in str(caught.value)


def test_a_registry_that_was_never_applied_names_the_command(tmp_path):
    from feature_repo.contract.settings import load_settings

    with pytest.raises(RegistryError, match="python -m feature_repo apply"):
        applied_store(load_settings(None, {}, {"home": str(tmp_path)}))
