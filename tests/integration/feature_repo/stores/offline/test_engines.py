"""The two engines of the offline store give the same bytes: every type, ties, versions, forms of tables."""

from __future__ import annotations

import datetime as dt
import logging
import random
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, RepoConfig, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat
from feast.types import Int64, String

from feature_repo.stores.offline.errors import FeatureTableError
from feature_repo.stores.offline.local import reads
from feature_repo.stores.offline.local.content_hash import content_hashes
from feature_repo.stores.offline.local.reads import LocalRetrievalJob
from feature_repo.stores.offline.retrieval import DeltaRetrievalJob

DAY = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
TYPES = {
    "a_bool": pa.bool_(),
    "a_byte": pa.int8(),
    "a_short": pa.int16(),
    "an_int": pa.int32(),
    "a_long": pa.int64(),
    "a_float": pa.float32(),
    "a_double": pa.float64(),
    "a_text": pa.string(),
    "some_bytes": pa.binary(),
    "a_date": pa.date32(),
    "a_time": pa.timestamp("us", tz="UTC"),
    "a_wall_time": pa.timestamp("us"),
    "a_price": pa.decimal128(10, 2),
    "a_sum": pa.decimal128(38, 4),
    "floats": pa.list_(pa.float32()),
    "texts": pa.list_(pa.string()),
    "lists": pa.list_(pa.list_(pa.int32())),
}
NESTED = {
    "a_map": pa.map_(pa.string(), pa.int32()),
    "a_struct": pa.struct([("x", pa.int32()), ("y", pa.string())]),
}


def values(dice, kind):
    """A few values of a type, edges among them, and null."""
    numbers = {pa.int8(): 2**7, pa.int16(): 2**15, pa.int32(): 2**31, pa.int64(): 2**63}
    if kind in numbers:
        found = [0, -1, -numbers[kind], numbers[kind] - 1, dice.randint(-99, 99)]
    elif pa.types.is_floating(kind):
        found = [0.0, -0.0, float("nan"), float("inf"), -1.5, 2.0**-20]
    elif pa.types.is_decimal(kind):
        nines = "9" * (kind.precision - kind.scale)  # a sign in front of a Decimal would round it
        found = [Decimal(0), Decimal("-1.25"), Decimal(nines), Decimal(f"-{nines}"), Decimal("1.28")]
    elif pa.types.is_timestamp(kind):
        moments = [dt.datetime(1700, 1, 2, 3), dt.datetime(2024, 5, 1, 2, 3, 4, 5), dt.datetime(3000, 1, 1)]
        found = [moment.replace(tzinfo=dt.UTC) if kind.tz else moment for moment in moments]
    elif pa.types.is_list(kind):
        inner = values(dice, kind.value_type)
        found = [[], inner, [dice.choice(inner)], list(reversed(inner))]
    else:
        found = {
            pa.bool_(): [True, False],
            pa.string(): ["", "a", "é" * 20, "x" * 40],
            pa.binary(): [b"", b"\x00\xff", b"y" * 33],
            pa.date32(): [dt.date(1970, 1, 1), dt.date(1900, 3, 1), dt.date(2024, 2, 29)],
        }[kind]
    return [*found, None]


def rows_of(seed, count, types=TYPES):
    """Rows of 40 keys that tie often, each value drawn from the edges of its type."""
    dice = random.Random(seed)
    drawn = {name: [dice.choice(values(dice, kind)) for _ in range(count)] for name, kind in types.items()}
    hours = [dice.randint(0, 6) for _ in range(count)]
    return pa.table(
        {
            "driver_id": pa.array([dice.randint(0, 39) for _ in range(count)], pa.int64()),
            "event_timestamp": [DAY + dt.timedelta(hours=hour) for hour in hours],
            "created": [DAY + dt.timedelta(hours=hour + dice.randint(0, 1)) for hour in hours],
            **{name: pa.array(drawn[name], kind) for name, kind in types.items()},
        }
    )


def store_of(lake, names, *, engine="auto"):
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    source = SparkSource(
        name="rides",
        path="rides",
        table_format=DeltaFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    fields = [Field(name=name, dtype=String) for name in names]  # names are what a read looks at
    view = FeatureView(
        name="rides",
        entities=[driver],
        ttl=dt.timedelta(0),
        schema=[Field(name="driver_id", dtype=Int64), *fields],
        source=source,
    )
    store = FeatureStore(
        config=RepoConfig(
            project="engines",
            provider="local",
            registry=str(lake / "registry.db"),
            entity_key_serialization_version=3,
            offline_store={
                "type": "feature_repo.stores.DeltaOfflineStore",
                "lake": str(lake),
                "engine": engine,
            },
            online_store={"type": "sqlite", "path": str(lake / "online.db")},
        )
    )
    store.apply([driver, view])
    return store


def read(store, engine, asked, names):
    store.config.offline_store.engine = engine
    return store.get_historical_features(entity_df=asked, features=[f"rides:{name}" for name in names])


ASKED = pd.DataFrame(
    {
        "driver_id": np.arange(300) % 45,
        "event_timestamp": [DAY + dt.timedelta(minutes=25 * (n % 17)) for n in range(300)],
        "note": pd.Categorical([f"n{n % 3}" for n in range(300)]),
        "shanghai": pd.date_range("2024-01-01", periods=300, freq="h", tz="Asia/Shanghai"),
        "wall": pd.date_range("2024-01-01", periods=300, freq="h"),
        "nothing": [None] * 300,
    }
)


@pytest.fixture(scope="module")
def rides(spark, tmp_path_factory):
    """A table of every type: two files in partitions, then a column more in a later version."""
    lake = tmp_path_factory.mktemp("engines")
    later = {**TYPES, "later": pa.string()}
    first, second = rows_of(1, 2000), rows_of(2, 500, later)
    frame = spark.createDataFrame(first).selectExpr("*", "CAST(event_timestamp AS DATE) AS day")
    frame.write.format("delta").partitionBy("day").save(str(lake / "rides"))
    frame = spark.createDataFrame(second).selectExpr("*", "CAST(event_timestamp AS DATE) AS day")
    frame.write.format("delta").mode("append").option("mergeSchema", "true").save(str(lake / "rides"))
    return lake


def test_every_type_and_every_tie_is_read_alike(rides):
    names = [*TYPES, "later", "day"]
    store = store_of(rides, names)
    for by_created in (False, True):
        answers = [
            store.get_historical_features(
                entity_df=ASKED,
                features=[f"rides:{name}" for name in names],
                filter_by_created_timestamp=by_created,
            )
            for store.config.offline_store.engine in ("spark", "local")
        ]
        assert [type(job) for job in answers] == [DeltaRetrievalJob, LocalRetrievalJob]
        by_spark, by_hand = [job.to_arrow() for job in answers]
        assert by_hand.column("a_text").null_count < 200, "the cases are not empty ones"
        order = by_spark.column_names
        assert by_hand.column_names == order
        assert [str(by_hand.schema.field(n).type) for n in order] == [
            str(by_spark.schema.field(n).type) for n in order
        ]
        pd.testing.assert_frame_equal(by_hand.to_pandas(), by_spark.to_pandas())
        assert answers[0].delta_versions == answers[1].delta_versions == {"rides": 1}


def test_contents_are_hashed_as_spark_hashes_them(spark):
    rows = rows_of(3, 400)
    for names in ([name] for name in TYPES), [list(TYPES)]:
        for chosen in names:
            frame = spark.createDataFrame(rows.select(chosen))
            by_spark = frame.selectExpr(f"xxhash64({', '.join(chosen)}) AS hash").toArrow()
            assert content_hashes(rows.select(chosen)) == by_spark.column("hash").to_pylist(), chosen


def test_maps_that_tie_are_left_to_spark_and_said(spark, tmp_path, caplog):
    kinds = {**NESTED, "number": pa.int32()}
    rows = pa.table(
        {
            "driver_id": [1, 1, 2],
            "event_timestamp": [DAY] * 3,
            "created": [DAY] * 3,
            "a_map": pa.array([[("k", 1)], [("k", 2)], [("k", 3)]], NESTED["a_map"]),
            "a_struct": pa.array([{"x": 1, "y": "a"}, {"x": 2, "y": None}, None], NESTED["a_struct"]),
            "number": pa.array([1, 2, 3], pa.int32()),
        }
    )
    spark.createDataFrame(rows).coalesce(1).write.format("delta").save(str(tmp_path / "rides"))
    store = store_of(tmp_path, kinds)
    alone = pd.DataFrame({"driver_id": [2], "event_timestamp": [DAY]})
    found = read(store, "local", alone, kinds).to_arrow().to_pylist()[0]
    assert (found["a_map"], found["a_struct"], found["number"]) == ([("k", 3)], None, 3)
    tied = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [DAY, DAY]})
    with caplog.at_level(logging.INFO, "intentstore.features"):
        found = read(store, "auto", tied, kinds).to_df()
    assert found["number"].tolist() == read(store, "spark", tied, kinds).to_df()["number"].tolist()
    assert [line for line in caplog.messages if "rows tie and are told apart by 'a_map'" in line]


def test_a_form_that_only_spark_reads_goes_to_spark(spark, tmp_path, caplog):
    spark.sql(
        f"CREATE TABLE delta.`{tmp_path / 'rides'}` "
        "(driver_id BIGINT, event_timestamp TIMESTAMP, created TIMESTAMP, n INT) USING delta TBLPROPERTIES "
        "('delta.columnMapping.mode' = 'name', 'delta.minReaderVersion' = '2', "
        "'delta.minWriterVersion' = '5')"
    )
    moment = "TIMESTAMP'2024-05-01 00:00:00'"
    spark.sql(f"INSERT INTO delta.`{tmp_path / 'rides'}` VALUES (2, {moment}, {moment}, 7)")
    store = store_of(tmp_path, ["n"])
    asked = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [DAY, DAY]})
    with caplog.at_level(logging.INFO, "intentstore.features"):
        job = read(store, "auto", asked, ["n"])
    assert isinstance(job, DeltaRetrievalJob)
    assert [n if n == n else None for n in job.to_df()["n"]] == [None, 7]
    assert len([line for line in caplog.messages if "maps its columns by name" in line]) == 1
    with pytest.raises(FeatureTableError, match=r"maps its columns.*engine is local, set it to auto"):
        read(store, "local", asked, ["n"])


def test_more_rows_than_a_million_go_to_spark(rides, monkeypatch, caplog):
    monkeypatch.setattr(reads, "ENTITY_ROWS", 299)
    store = store_of(rides, TYPES)
    with caplog.at_level(logging.INFO, "intentstore.features"):
        job = read(store, "auto", ASKED[["driver_id", "event_timestamp"]], ["a_long"])
    assert isinstance(job, DeltaRetrievalJob)
    assert caplog.messages == ["history is read by Spark: 300 entity rows are more than 299"]
    assert isinstance(read(store, "auto", ASKED[:299], ["a_long"]), LocalRetrievalJob)


def test_sources_are_looked_at_alike(rides):
    store = store_of(rides, TYPES)
    source = store.get_feature_view("rides").batch_source
    offline = store._get_provider().offline_store
    offline.validate_data_source(store.config, source)
    columns = dict(offline.get_table_column_names_and_types_from_data_source(store.config, source))
    assert columns["floats"] == "array<float>" and columns["a_sum"] == "decimal(38,4)"
    from feature_repo.stores.offline import spark_reads

    frame = spark_reads.open_table(spark_reads.session(store.config), store.config, source).frame
    assert columns == {field.name: field.dataType.simpleString() for field in frame.schema}
