"""Which Delta tables are read without a JVM, and in whose words the others are refused."""

from __future__ import annotations

import datetime as dt
import json
import os

import delta_files
import pyarrow as pa
import pytest
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat

from feature_repo.stores.offline.errors import FeatureTableError, OnlySparkError
from feature_repo.stores.offline.local.tables import open_table
from feature_repo.stores.offline.pins import pinned

ROWS = pa.table({"n": pa.array([1, 2], pa.int64())})
START = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)


def source(path, **properties):
    return SparkSource(
        name="t", path=str(path), table_format=DeltaFormat(**properties), timestamp_field="event"
    )


def numbers(table):
    return [row for part in table.parts(["n"]) for row in part.column("n").to_pylist()]


@pytest.fixture
def versions(tmp_path):
    """Three versions, an hour apart, of one, two and three rows."""
    for version in range(3):
        rows = pa.table({"n": pa.array(range(version + 1), pa.int64())})
        delta_files.write(tmp_path / "t", [rows], version=version)
        log = tmp_path / "t" / "_delta_log" / f"{version:020d}.json"
        if version:  # what the version before had is removed
            gone = {"remove": {"path": f"part-{version - 1}-0.parquet", "dataChange": True}}
            log.write_text(log.read_text() + "\n" + json.dumps(gone))
        moment = (START + dt.timedelta(hours=version)).timestamp()
        os.utime(log, (moment, moment))
    return tmp_path


@pytest.mark.parametrize(
    ("pin", "version"),
    [
        (None, 2),
        (0, 0),
        ("2024-05-01T01:59:59Z", 1),
        ("2024-05-01 01:00:00", 1),
        ("2024-05-01T03:30:00+02:00", 1),
        ("2030-01-01", 2),
    ],
)
def test_a_version_or_a_time_pins_what_was_there(versions, pin, version):
    with pinned({} if pin is None else {"t": pin}):
        table = open_table(source("t"), str(versions), None)
    assert (table.version, numbers(table)) == (version, list(range(version + 1)))


def test_a_definition_pins_too_and_the_block_wins(versions):
    fixed = SparkSource(
        name="t",
        path=str(versions / "t"),
        table_format=DeltaFormat(properties={"versionAsOf": "1"}),
        timestamp_field="event",
    )
    assert open_table(fixed, None, None).version == 1
    with pinned({"t": 0}):
        assert open_table(fixed, None, None).version == 0


@pytest.mark.parametrize(
    ("pin", "words"),
    [
        (9, "cannot be read at {'versionAsOf': 9}.*never written"),
        ("2001-01-01T00:00:00Z", "no version as of 2001"),
        ("yesterday evening", "'yesterday evening' is no time to pin"),
    ],
)
def test_a_version_that_is_not_there_is_named(versions, pin, words):
    with pinned({"t": pin}), pytest.raises(FeatureTableError, match=words):
        open_table(source("t"), str(versions), None)


def test_a_table_that_was_never_written_names_the_job(tmp_path):
    with pytest.raises(FeatureTableError, match=r"'t' is no Delta table yet.*run the Spark job"):
        open_table(source("t"), str(tmp_path), None)


def test_a_file_that_was_vacuumed_is_said_when_it_is_read(versions):
    with pinned({"t": 0}):
        table = open_table(source("t"), str(versions), None)
    (versions / "t" / "part-0-0.parquet").unlink()
    with pytest.raises(FeatureTableError, match="vacuumed past the pinned version"):
        numbers(table)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"configuration": {"delta.columnMapping.mode": "id"}}, "maps its columns by id"),
        (
            {
                "protocol": {
                    "minReaderVersion": 3,
                    "minWriterVersion": 7,
                    "readerFeatures": ["v2Checkpoint", "timestampNtz"],
                    "writerFeatures": [],
                }
            },
            "uses v2Checkpoint, which only Spark reads",
        ),
        ({"protocol": {"minReaderVersion": 4, "minWriterVersion": 8}}, "uses reader version 4"),
    ],
)
def test_a_form_that_this_reader_does_not_know_is_left_to_spark(tmp_path, form, words):
    delta_files.write(tmp_path / "t", [ROWS], **form)
    with pytest.raises(OnlySparkError, match=words):
        open_table(source("t"), str(tmp_path), None)


def test_deletion_vectors_are_left_to_spark(tmp_path):
    delta_files.write(tmp_path / "t", [ROWS])
    log = tmp_path / "t" / "_delta_log" / f"{0:020d}.json"
    marked = [json.loads(line) for line in log.read_text().splitlines()]
    marked[-1]["add"]["deletionVector"] = {"storageType": "u", "cardinality": 1}
    log.write_text("\n".join(map(json.dumps, marked)))
    with pytest.raises(OnlySparkError, match="deletion vectors, which only Spark reads"):
        open_table(source("t"), str(tmp_path), None)


@pytest.mark.parametrize("path", ["s3://bucket/t", "hdfs://host/t"])
def test_a_table_elsewhere_is_left_to_spark(path):
    with pytest.raises(OnlySparkError, match="is no local folder"):
        open_table(source(path), None, None)


def test_a_source_that_is_no_delta_table_is_left_to_spark(tmp_path):
    query = SparkSource(name="q", query="SELECT 1 n", timestamp_field="event")
    with pytest.raises(OnlySparkError, match="'q' is no Delta table"):
        open_table(query, str(tmp_path), None)
