"""What Feast promises of any pair of stores, held on ours: renamed and shared sources, several keys, no key,
a key twice, ttl, on-demand views, saved sets.

`benchmarks/feast_universal.py` runs Feast's own suite for the same.
"""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pyarrow as pa
import pytest
from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    RepoConfig,
    RequestSource,
    ValueType,
)
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import (
    SavedDatasetSparkStorage,
    SparkSource,
)
from feast.on_demand_feature_view import on_demand_feature_view
from feast.table_format import DeltaFormat
from feast.types import Float64, Int64, String

from feature_repo.stores.online.reader import OnlineReader

DAY = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def at(hours):
    return DAY + hours * HOUR


def objects():
    """A view of two keys, one of a renamed column, one of a place (asked for twice), one without a key, and
    one on demand.
    """
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    city = Entity(name="city", join_keys=["city_id"], value_type=ValueType.STRING)
    source = lambda name, **more: SparkSource(
        name=name,
        path=name,
        table_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
        **more,
    )
    key = {"driver_id": Field(name="driver_id", dtype=Int64), "city_id": Field(name="city_id", dtype=String)}
    rides = source("rides")
    trips = FeatureView(
        name="trips",
        entities=[driver, city],
        ttl=2 * HOUR,
        schema=[*key.values(), Field(name="trips", dtype=Int64)],
        source=rides,
        online=True,
    )
    tips = FeatureView(
        name="tips",
        entities=[driver, city],
        ttl=dt.timedelta(0),
        schema=[*key.values(), Field(name="tip", dtype=Float64)],
        source=rides,
    )
    weather = FeatureView(
        name="weather",
        entities=[city],
        ttl=dt.timedelta(0),
        schema=[key["city_id"], Field(name="degrees", dtype=Float64)],
        source=source("weather", field_mapping={"temp_c": "degrees"}),
    )
    renamed = FeatureView(
        name="renamed",
        entities=[city],
        ttl=dt.timedelta(0),
        schema=[key["city_id"], Field(name="degrees", dtype=Float64)],
        online=False,
        source=SparkSource(
            name="renamed",
            path="renamed",
            table_format=DeltaFormat(),
            timestamp_field="event_timestamp",
            created_timestamp_column="created",
            field_mapping={"seen_at": "event_timestamp", "temp_c": "degrees"},
        ),
    )
    prices = FeatureView(
        name="prices",
        entities=[],
        ttl=dt.timedelta(0),
        schema=[Field(name="price", dtype=Float64)],
        source=source("prices"),
    )
    extra = RequestSource(name="request", schema=[Field(name="extra", dtype=Int64)])

    @on_demand_feature_view(sources=[trips, extra], schema=[Field(name="total", dtype=Int64)])
    def sums(frame: pd.DataFrame) -> pd.DataFrame:
        found = pd.DataFrame()
        found["total"] = frame["trips"] + frame["extra"]
        return found

    start = weather.with_name("start").with_join_key_map({"city_id": "start_id"})
    end = weather.with_name("end").with_join_key_map({"city_id": "end_id"})
    services = [
        FeatureService(name="route_v1", features=[start, end]),
        FeatureService(name="prices_v1", features=[prices]),
    ]
    return [driver, city, trips, tips, weather, renamed, prices, sums, *services]


TABLES = {
    # (1, "23") and (12, "3") are one text when they are joined; the row of 04:00 is backfilled a day later.
    "rides": {
        "driver_id": pa.array([1, 12, 1, 1]),
        "city_id": ["23", "3", "23", "23"],
        "trips": pa.array([5, 7, 6, 9]),
        "tip": [0.5, 0.7, 0.6, 0.9],
        "event_timestamp": [at(1), at(1), at(3), at(4)],
        "created": [at(1), at(1), at(3), at(28)],
    },
    "weather": {
        "city_id": ["3", "23"],
        "temp_c": [10.0, 20.0],
        "event_timestamp": [at(0), at(0)],
        "created": [at(0), at(0)],
    },
    "renamed": {
        "city_id": ["3", "23"],
        "temp_c": [10.0, 20.0],
        "seen_at": [at(1), at(1)],
        "created": [at(1), at(1)],
    },
    "prices": {"price": [1.0, 2.0], "event_timestamp": [at(0), at(2)], "created": [at(0), at(2)]},
}


@pytest.fixture(scope="module", params=["spark", "auto"])  # auto reads pandas rows without Spark
def feast_store(request, spark, valkey, tmp_path_factory):
    lake = tmp_path_factory.mktemp("contract")
    for name, columns in TABLES.items():
        spark.createDataFrame(pa.table(columns)).coalesce(1).write.format("delta").save(str(lake / name))
    config = RepoConfig(
        project="contract",
        provider="feature_repo.stores.PackedProvider",
        registry=str(lake / "registry.db"),
        entity_key_serialization_version=3,
        offline_store={
            "type": "feature_repo.stores.DeltaOfflineStore",
            "lake": str(lake),
            "engine": request.param,
        },
        online_store={"type": "feature_repo.stores.PackedOnlineStore", "url": valkey.url},
    )
    store = FeatureStore(config=config)
    store.apply(objects())
    store.materialize(at(-1), at(48))  # Feast's own command
    return store


def history(store, rows, features, **options):
    frame = pd.DataFrame(rows)
    return store.get_historical_features(entity_df=frame, features=features, **options)


def values(column):
    return [None if pd.isna(value) else value for value in column]


RIDES = {
    "driver_id": [1, 12, 1, 1, 12, 1],
    "city_id": ["23", "3", "3", "23", "3", "23"],
    "event_timestamp": [at(2), at(2), at(2), at(3), at(9), at(5)],
}


def test_several_keys_ttl_and_a_shared_source(feast_store):
    frame = history(feast_store, RIDES, ["trips:trips", "tips:tip"]).to_df()
    # the fifth is older than the two hours of `trips`
    assert values(frame["trips"]) == [5, 7, None, 6, None, 9]
    assert values(frame["tip"]) == [0.5, 0.7, None, 0.6, 0.7, 0.9]


def test_backfilled_row_is_unknown_before_it_was_made(feast_store):
    found = history(feast_store, RIDES, ["tips:tip"], filter_by_created_timestamp=True).to_df()
    assert values(found["tip"]) == [0.5, 0.7, None, 0.6, 0.7, 0.6]


def test_renamed_column_and_the_same_view_for_two_places(feast_store):
    rows = {"start_id": ["3", "23", "9"], "end_id": ["23", "23", "3"], "event_timestamp": [at(1)] * 3}
    frame = history(
        feast_store, rows, feast_store.get_feature_service("route_v1"), full_feature_names=True
    ).to_df()
    assert values(frame["start__degrees"]) == [10.0, 20.0, None]
    assert values(frame["end__degrees"]) == [20.0, 20.0, 10.0]
    asked = {"start_id": ["3", "9"], "end_id": ["23", "3"]}
    online = feast_store.get_online_features(
        feast_store.get_feature_service("route_v1"), entity_rows=asked, full_feature_names=True
    ).to_dict()
    assert (online["start__degrees"], online["end__degrees"]) == ([10.0, None], [20.0, 10.0])


def test_view_without_a_key(feast_store):
    frame = history(
        feast_store, {"driver_id": [1, 2], "event_timestamp": [at(1), at(3)]}, ["prices:price"]
    ).to_df()
    assert values(frame["price"]) == [1.0, 2.0]
    assert feast_store.get_online_features(["prices:price"], entity_rows=[{"driver_id": 1}]).to_dict()[
        "price"
    ] == [2.0]
    assert OnlineReader(feast_store, "prices_v1").read({})["prices"].columns["price"].tolist() == [2.0]


def test_on_demand_view_with_request_data(feast_store):
    rows = {"driver_id": [1], "city_id": ["23"], "event_timestamp": [at(2)], "extra": [100]}
    assert history(feast_store, rows, ["sums:total"]).to_df()["total"].tolist() == [105]
    both = history(feast_store, rows, ["trips:trips", "sums:total"]).to_df()
    assert (both["trips"].tolist(), both["total"].tolist()) == ([5], [105])


def test_feasts_own_materialisation_serves_the_latest_with_true_statuses(feast_store):
    asked = [
        {"driver_id": 1, "city_id": "23"},
        {"driver_id": 12, "city_id": "3"},
        {"driver_id": 1, "city_id": "3"},
    ]
    answer = feast_store.get_online_features(["tips:tip"], entity_rows=asked)
    assert answer.to_dict()["tip"] == [0.9, 0.7, None]
    assert answer.to_dict(include_event_timestamps=True)["tip__ts"] == [
        int(at(4).timestamp()),
        int(at(1).timestamp()),
        0,
    ]


def test_saved_set_is_what_was_read_and_is_not_overwritten(feast_store, spark):
    job = history(feast_store, RIDES, ["tips:tip"])
    # A set saved by path cannot be read back by Feast 0.67 itself: it makes a source of it that has no name.
    # one catalogue of tables for both engines
    table = SavedDatasetSparkStorage(table=f"saved_rides_{feast_store.config.offline_store.engine}")
    saved = feast_store.create_saved_dataset(from_=job, name="rides", storage=table)
    again = saved.to_df().sort_values(["event_timestamp", "driver_id", "city_id"]).reset_index(drop=True)
    first = job.to_df().sort_values(["event_timestamp", "driver_id", "city_id"]).reset_index(drop=True)
    pd.testing.assert_frame_equal(again[sorted(again)], first[sorted(first)], check_dtype=False)
    with pytest.raises(SavedDatasetLocationAlreadyExists, match="saved_rides"):
        feast_store.create_saved_dataset(from_=job, name="other", storage=table)
    folder = SavedDatasetSparkStorage(path="saved_rides", file_format="parquet")  # of the lake
    job.persist(folder)
    assert spark.read.parquet(f"{feast_store.config.offline_store.lake}/saved_rides").count() == len(first)
    with pytest.raises(SavedDatasetLocationAlreadyExists, match="saved_rides"):
        job.persist(folder)
    job.persist(folder, allow_overwrite=True)


def test_no_entity_rows_are_every_key_of_the_time_asked(feast_store):
    found = feast_store.get_historical_features(
        features=["tips:tip"], start_date=at(0), end_date=at(2)
    ).to_df()
    assert sorted(zip(found["driver_id"], found["city_id"], found["tip"], strict=True)) == [
        (1, "23", 0.5),
        (12, "3", 0.7),
    ]
    assert set(found["event_timestamp"]) == {pd.Timestamp(at(2))}


def test_time_column_may_be_renamed(feast_store):
    frame = history(
        feast_store, {"city_id": ["3", "23"], "event_timestamp": [at(2), at(0)]}, ["renamed:degrees"]
    ).to_df()
    assert values(frame["degrees"]) == [10.0, None]
