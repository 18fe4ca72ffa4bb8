"""The as-of join without a JVM against the plain-Python oracle, on Delta tables written by hand."""

from __future__ import annotations

import random
from functools import partial

import delta_files
import pandas as pd
import pyarrow as pa
import pytest
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.table_format import DeltaFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.stores.offline import entity_rows
from feature_repo.stores.offline.local import join
from feature_repo.stores.offline.local.tables import open_table
from oracles.asof import HistoryRow
from oracles.asof_cases import (
    WORLDS,
    any_asked,
    any_history,
    any_ttl_us,
    check_50000_seeded_cases,
    check_case,
    payloads,
    view_of,
)

TIME = pa.timestamp("us", tz="UTC")


def table_of(history):
    return pa.table(
        {
            "a": pa.array([row.key[0] for row in history], pa.string()),
            "b": pa.array([row.key[1] for row in history], pa.string()),
            "event": pa.array([row.event_us for row in history], pa.int64()).cast(TIME),
            "created": pa.array([row.created_us for row in history], pa.int64()).cast(TIME),
            "n": pa.array([row.payload for row in history], pa.int64()),
            "v": pa.array([[float(row.payload)] * 3 for row in history], pa.list_(pa.float32())),
        }
    )


def source(folder):
    return SparkSource(name="cases", path=str(folder), table_format=DeltaFormat(), timestamp_field="event")


def run(folder, history, asked, ttl_us=0, known_by_created=False, files=3):
    """Payload numbers found, a row an entity row."""
    rows = table_of(history)
    size = -(-len(rows) // files)
    delta_files.write(folder, [rows.slice(begin, size) for begin in range(0, len(rows), size)])
    table = open_table(source(folder), None, None)
    entities = entity_rows.from_pandas(
        pd.DataFrame(
            {
                "x": pd.Series([key[0] for key, _ in asked], dtype="string"),
                "y": pd.Series([key[1] for key, _ in asked], dtype="string"),
                "event_timestamp": pd.to_datetime([at for _, at in asked], unit="us", utc=True),
            }
        )
    )
    view = view_of(ttl_us, known_by_created)
    join.check_table(view, table)
    join.check_keys(view, table, entities)
    return payloads(join.features(view, table, entities))


@pytest.mark.parametrize(("seed", "ttl_us", "known_by_created"), WORLDS)
def test_50000_seeded_cases_equal_the_oracle(tmp_path, seed, ttl_us, known_by_created):
    check_50000_seeded_cases(partial(run, tmp_path), seed, ttl_us, known_by_created)


@given(rows=any_history, asked=any_asked, ttl_us=any_ttl_us, known_by_created=st.booleans())
@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_case_equals_the_oracle(tmp_path_factory, rows, asked, ttl_us, known_by_created):
    check_case(partial(run, tmp_path_factory.mktemp("case")), rows, asked, ttl_us, known_by_created)


def test_ties_give_the_same_row_whatever_the_layout(tmp_path):
    history = [HistoryRow(("1", "2"), 5, 5, number) for number in range(20)]
    asked = [(("1", "2"), 9), (("1", "2"), 5), (("1", "2"), 9)]
    shuffled = random.Random(7).sample(history, len(history))
    first = run(tmp_path / "a", history, asked)
    assert first == run(tmp_path / "b", shuffled, asked, files=1)
    assert len(set(first)) == 1


def test_a_key_of_many_wide_parts_does_not_overflow():
    values = pa.chunked_array([pa.array([f"k{number}" for number in range(70_000)])])
    have, want = join.asof.key_numbers([values] * 6, [values] * 6)
    assert len(set(have.tolist())) == 70_000 and (have == want).all()
