"""Historical reads through Feast's own calls on Delta tables."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest
from delta.tables import DeltaTable
from feast.errors import FeatureViewNotFoundException

from feature_repo.registry import store
from feature_repo.stores.offline.errors import (
    EntityFrameError,
    FeatureTableError,
    FutureRowsWarning,
    NullKeyWarning,
)
from feature_repo.stores.offline.local.reads import LocalRetrievalJob
from feature_repo.stores.offline.retrieval import DeltaRetrievalJob

START = dt.datetime(2024, 3, 10, 6, 0, tzinfo=dt.UTC)  # of the small lake


def at(seconds):
    return START + dt.timedelta(seconds=seconds)


@pytest.fixture(scope="module", params=["spark", "auto"])  # auto reads pandas rows without Spark
def engine(request):
    return request.param


@pytest.fixture(scope="module")
def lake(engine, spark, base_settings, small, tmp_path_factory, valkey):
    return small.lake(spark, base_settings, tmp_path_factory.mktemp("lake"), valkey)


@pytest.fixture(scope="module")
def feast_store(lake, engine):
    opened = store.feature_store(lake)
    opened.config.offline_store.engine = engine
    return opened


def test_rows_of_pandas_are_read_by_the_engine_that_is_named(feast_store, engine):
    kind = {"spark": DeltaRetrievalJob, "auto": LocalRetrievalJob}[engine]
    assert type(ask(feast_store, entity_rows(("a", 2)))) is kind


def ask(
    feast_store,
    entity_df,
    features=("session_features:click_count", "session_intents:long_vector"),
    **options,
):
    return feast_store.get_historical_features(entity_df=entity_df, features=list(features), **options)


def entity_rows(*rows, **more):
    return pd.DataFrame(
        {
            "session_id": [key for key, _ in rows],
            "event_timestamp": [at(second) for _, second in rows],
            **more,
        }
    )


def counts(frame):
    return [None if pd.isna(value) else int(value) for value in frame["click_count"]]


def test_rows_come_back_as_given_with_the_latest_known_feature(feast_store):
    asked = entity_rows(
        ("b", 8000), ("a", 2), ("a", 1.5), ("nobody", 9), (None, 9), ("a", 0), ("a", 2), note=list("tuvwxyz")
    )
    frame = ask(feast_store, asked).to_df()
    assert counts(frame) == [5, 3, 1, None, None, None, 3]
    assert frame["note"].tolist() == list("tuvwxyz")
    assert [None if v is None else list(v) for v in frame["long_vector"]] == [
        [0.5] * 4,
        [0.25] * 4,
        [0.25] * 4,
        None,
        None,
        None,
        [0.25] * 4,
    ]


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York"])
def test_no_session_time_zone_or_clock_change_moves_a_row(feast_store, spark, zone):
    # 06:00 to 08:00 UTC on 10 March 2024 spans New York's missing hour.
    asked = entity_rows(("b", 3599), ("b", 3600), ("b", 7199), ("b", 7200))
    spark.conf.set("spark.sql.session.timeZone", zone)
    try:
        frame = ask(feast_store, asked).to_df()
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")
    assert counts(frame) == [None, 4, 4, 5]
    assert frame["event_timestamp"].tolist() == asked["event_timestamp"].tolist()


def test_sql_and_spark_frames_give_the_same_as_pandas(feast_store, spark):
    asked = entity_rows(("b", 8000), ("a", 2), ("a", 1.5))
    spark.createDataFrame(asked).coalesce(1).createOrReplaceTempView("asked")
    by_sql = ask(feast_store, "SELECT * FROM asked").to_df()
    by_spark = ask(feast_store, spark.table("asked")).to_spark_df().toPandas()
    assert counts(by_sql) == counts(by_spark) == counts(ask(feast_store, asked).to_df()) == [5, 3, 1]


def test_order_is_kept_across_partitions(feast_store, spark):
    asked = pd.DataFrame(
        {"session_id": list("abz") * 40, "event_timestamp": [at(9000)] * 120, "place": range(120)}
    )
    assert ask(feast_store, asked).to_spark_df().toPandas()["place"].tolist() == list(range(120))
    spread = spark.createDataFrame(asked).repartition(5, "place")
    order = [row.place for row in spread.collect()]
    assert [row.place for row in ask(feast_store, spread).to_spark_df().collect()] == order


def test_knowledge_time_cut_off_hides_the_later_correction(feast_store):
    asked = entity_rows(("a", 2), ("a", 3))
    assert counts(ask(feast_store, asked).to_df()) == [3, 3]
    assert counts(ask(feast_store, asked, filter_by_created_timestamp=True).to_df()) == [2, 3]


def test_full_feature_names_keep_an_entity_column_of_the_same_name(feast_store):
    asked = entity_rows(("a", 2), click_count=[77])
    frame = ask(feast_store, asked, full_feature_names=True).to_df()
    assert (frame["click_count"][0], frame["session_features__click_count"][0]) == (77, 3)
    with pytest.raises(EntityFrameError, match="'click_count' would occur twice"):
        ask(feast_store, asked)


def test_pinned_version_reads_the_same_set_again_and_is_recorded(lake, spark, feast_store, small):
    asked = entity_rows(("a", 50))
    before = ask(feast_store, asked)
    first = before.to_df()
    small.write(spark, lake, "session_features", [small.feature_row("a", 40, 40, 9)], mode="append")
    later = ask(feast_store, asked)
    assert counts(before.to_df()) == counts(first) == [3], "a job that was planned keeps its version"
    assert counts(later.to_df()) == [9]
    assert later.delta_versions["session_features"] == before.delta_versions["session_features"] + 1
    with store.pinned(before.delta_versions):
        again = ask(feast_store, asked)
    pd.testing.assert_frame_equal(again.to_df(), first)
    assert again.delta_versions == before.delta_versions


def test_table_that_is_missing_or_vacuumed_is_named(lake, spark, feast_store, small):
    with pytest.raises(FeatureTableError, match="'item_popularity' is no Delta table yet"):
        asked = pd.DataFrame({"item_id": ["i"], "event_timestamp": [at(1)]})
        feast_store.get_historical_features(entity_df=asked, features=["item_popularity:clicks_total"])
    with (
        store.pinned({"session_features": 999}),
        pytest.raises(FeatureTableError, match="cannot be read at {'versionAsOf': 999}"),
    ):
        ask(feast_store, entity_rows(("a", 2)))
    version = store.pinned({"session_intents": 0})
    small.write(
        spark, lake, "session_intents", [small.intent_row("a", 1, 0.25), small.intent_row("b", 3600, 0.5)]
    )
    with version:
        job = ask(feast_store, entity_rows(("a", 2)))
    # A listing in ten thousand tasks, as for an object store, would take half a minute here.
    changed = {
        "spark.databricks.delta.retentionDurationCheck.enabled": "false",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
    }
    for name, value in changed.items():
        spark.conf.set(name, value)
    try:
        spark.sql(f"VACUUM delta.`{lake.table('session_intents')}` RETAIN 0 HOURS")
    finally:
        for name in changed:
            spark.conf.unset(name)
    with pytest.raises(FeatureTableError, match="vacuumed past the pinned version"):
        job.to_df()


def test_a_time_pins_the_version_of_then(lake, spark, feast_store, small):
    asked = entity_rows(("t", 5050))  # after the times that other tests look at
    small.write(spark, lake, "session_features", [small.feature_row("t", 5001, 5001, 1)], mode="append")
    history = DeltaTable.forPath(spark, str(lake.table("session_features"))).history(1).first()
    small.write(spark, lake, "session_features", [small.feature_row("t", 5002, 5002, 2)], mode="append")
    assert counts(ask(feast_store, asked).to_df()) == [2]
    with store.pinned({"session_features": history["timestamp"].replace(tzinfo=dt.UTC).isoformat()}):
        job = ask(feast_store, asked)
    assert (counts(job.to_df()), job.delta_versions["session_features"]) == ([1], history["version"])
    with (
        store.pinned({"session_features": "2001-01-01T00:00:00Z"}),
        pytest.raises(FeatureTableError, match="no version as of 2001"),
    ):
        ask(feast_store, asked)


def test_pandas_times_without_a_zone_are_utc(feast_store):
    aware = entity_rows(("b", 3600), ("b", 7199))
    naive = aware.assign(event_timestamp=aware["event_timestamp"].dt.tz_localize(None))
    assert counts(ask(feast_store, naive).to_df()) == counts(ask(feast_store, aware).to_df()) == [4, 4]


def test_feature_that_a_view_has_not_is_named(feast_store):
    with pytest.raises((KeyError, ValueError, FeatureTableError), match="nothing"):
        ask(feast_store, entity_rows(("a", 2)), features=["session_features:nothing"])


def test_feast_never_writes_delta(lake, spark, feast_store):
    frame = spark.read.format("delta").load(str(lake.table("session_features"))).limit(1).toPandas()
    with pytest.raises(FeatureTableError, match=r"'session_features'.*python -m spark_jobs session-features"):
        feast_store.write_to_offline_store("session_features", frame)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"session_id": [], "event_timestamp": pd.to_datetime([], utc=True)}), "has no rows"),
        (
            pd.DataFrame({"session": ["a"], "event_timestamp": [at(1)]}),
            "needs the entity column 'session_id'",
        ),
        (
            pd.DataFrame({"session_id": [1], "event_timestamp": [at(1)]}),
            "is bigint, view 'session_features' has string",
        ),
        (pd.DataFrame({"session_id": ["a"], "event_timestamp": pd.to_datetime([None], utc=True)}), "is null"),
        (pd.DataFrame({"session_id": ["a"]}), "none is named 'event_timestamp'"),
        (
            pd.DataFrame({"session_id": ["a", "b"], "event_timestamp": [at(1), pd.NaT]}),
            "row 1: 'event_timestamp' is null",
        ),
        (
            pd.DataFrame({"session_id": ["a", "b"], "event_timestamp": ["2024-03-10", "yesterday"]}),
            "row 1: 'event_timestamp' = 'yesterday' is no time",
        ),
        (
            pd.DataFrame({"session_id": ["a"], "event_timestamp": [1_710_050_400]}),
            "column 'event_timestamp' is int64, no times",
        ),
        (
            pd.DataFrame({"session_id": ["a", 1], "event_timestamp": [at(1), at(1)]}),
            "row 1: 'session_id' = 1 is another type than str",
        ),
        (pd.DataFrame({"session_id": [None], "event_timestamp": [at(1)]}), "is void, view"),
        (
            pd.DataFrame([["a", "b", at(1)]], columns=["session_id", "session_id", "event_timestamp"]),
            "every column a name of its own",
        ),
        ([{"session_id": "a"}], "entity_df is a list"),
    ],
)
def test_bad_entity_rows_are_refused_in_one_line(feast_store, frame, words):
    with pytest.raises(EntityFrameError, match=words) as caught:
        ask(feast_store, frame, features=["session_features:click_count"])
    assert "view 'session_features'" in str(caught.value) and "\n" not in str(caught.value)


def test_rows_without_a_key_come_back_empty_with_a_warning(feast_store):
    asked = pd.DataFrame({"session_id": ["a", None, None], "event_timestamp": [at(3600)] * 3})
    words = "view 'session_features': row 1 and 1 more of entity_df without 'session_id'"
    with pytest.warns(NullKeyWarning, match=words):
        frame = ask(feast_store, asked, features=["session_features:click_count"]).to_df()
    assert counts(frame)[0] is not None and counts(frame)[1:] == [None, None]


def test_rows_of_a_time_to_come_are_answered_with_a_warning(feast_store):
    asked = pd.DataFrame({"session_id": ["a"], "event_timestamp": [dt.datetime(2199, 1, 1, tzinfo=dt.UTC)]})
    with pytest.warns(FutureRowsWarning, match="2199.*more than a day ahead"):
        frame = ask(feast_store, asked, features=["session_features:click_count"]).to_df()
    known = ask(
        feast_store, asked.assign(event_timestamp=[at(3600)]), features=["session_features:click_count"]
    )
    assert frame["click_count"].tolist() == known.to_df()["click_count"].tolist() != [None]


def test_times_without_a_zone_are_refused_in_spark(feast_store, spark):
    asked = spark.sql("SELECT 'a' session_id, TIMESTAMP_NTZ'2024-03-10 06:00:02' event_timestamp")
    with pytest.raises(EntityFrameError, match="no time zone"):
        ask(feast_store, asked)


def test_unknown_feature_view_is_named(feast_store):
    with pytest.raises(FeatureViewNotFoundException, match="nothing_v9"):
        ask(feast_store, entity_rows(("a", 2)), features=["nothing_v9:click_count"])


def test_a_range_of_time_stands_in_for_entity_rows(feast_store):
    frame = feast_store.get_historical_features(
        features=["session_features:click_count"], start_date=at(0), end_date=at(3600)
    ).to_df()
    assert dict(zip(frame["session_id"], counts(frame), strict=True)) == {"a": 9, "b": 4}


def test_latest_rows_are_chosen_in_spark(lake, feast_store, spark):
    provider = feast_store._get_provider()
    source = feast_store.get_feature_view("session_features").batch_source
    pull = provider.offline_store.pull_latest_from_table_or_query
    frame = pull(
        feast_store.config,
        source,
        ["session_id"],
        ["click_count"],
        "event_timestamp",
        "created",
        at(0),
        at(10),
    ).to_df()
    assert dict(zip(frame["session_id"], frame["click_count"], strict=True)) == {"a": 3}
