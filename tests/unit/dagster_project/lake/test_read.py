"""Reading Delta without a JVM."""

from __future__ import annotations

import pyarrow.compute as pc
import pytest

from spark_jobs.lake.log import DeltaLog, LakeError


def test_version_is_minus_one_where_there_is_no_table(settings):
    assert DeltaLog(settings.table("clicks")).version() == -1


def test_rows_of_all_commits_are_read(settings, write_table, click):
    write_table("clicks", [click(1), click(2)])
    path = write_table("clicks", [click(3)])
    assert DeltaLog(path).version() == 1
    assert sorted(DeltaLog(path).read(["event_id"])["event_id"].to_pylist()) == ["e1", "e2", "e3"]
    assert DeltaLog(path).snapshot().rows() == 3


def test_removed_files_are_gone_in_the_new_version_and_there_in_the_old(settings, write_table, click):
    write_table("clicks", [click(1)])
    path = write_table("clicks", [click(2)], remove=("part-0.parquet",))
    assert DeltaLog(path).read(["event_id"])["event_id"].to_pylist() == ["e2"]
    assert DeltaLog(path).read(["event_id"], version=0)["event_id"].to_pylist() == ["e1"]


def test_rows_are_counted_by_the_footer_when_the_log_has_no_statistics(write_table, click):
    assert DeltaLog(write_table("clicks", [click(1), click(2)], stats=False)).snapshot().rows() == 2


def test_filter_keeps_matching_rows_only(write_table, click):
    path = write_table("clicks", [click(1), click(2)])
    assert DeltaLog(path).read(["event_id"], filter=pc.field("event_id") == "e2")["event_id"].to_pylist() == [
        "e2"
    ]


def test_empty_table_has_the_contracts_columns(write_table):
    assert "event_id" in DeltaLog(write_table("clicks", [])).read().column_names


def test_missing_table_is_named_with_the_remedy(settings):
    with pytest.raises(LakeError, match="materialise the asset 'clicks' first"):
        DeltaLog(settings.table("clicks")).read()


def test_version_of_the_future_is_refused(write_table, click):
    with pytest.raises(LakeError, match="has no version 7"):
        DeltaLog(write_table("clicks", [click(1)])).snapshot(7)


def test_stored_schema_tells_types_as_delta_does(write_table, click):
    assert DeltaLog(write_table("clicks", [click(1)])).stored_schema()["event_time"] == "timestamp"
