"""The slim as-of join on Spark against the plain-Python oracle, case by case."""

from __future__ import annotations

import random
from functools import partial

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.stores.offline import asof
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

SCHEMA = pa.schema(
    [
        ("a", pa.string()),
        ("b", pa.string()),
        ("event", pa.int64()),
        ("created", pa.int64()),
        ("n", pa.int64()),
        ("v", pa.list_(pa.float32())),
    ]
)


def run(spark, history, asked, ttl_us=0, known_by_created=False, broadcast=True):
    """Payload numbers found, as rows come back, sorted by row number."""
    rows = [
        (*row.key, row.event_us, row.created_us, row.payload, [float(row.payload)] * 3) for row in history
    ]
    table = pa.Table.from_arrays(
        [
            pa.array(list(column), field.type)
            for column, field in zip(zip(*rows, strict=True), SCHEMA, strict=True)
        ],
        schema=SCHEMA,
    )
    frame = spark.createDataFrame(table).selectExpr(
        "a", "b", "timestamp_micros(event) event", "timestamp_micros(created) created", "n", "v"
    )
    entities = spark.createDataFrame(
        pa.table(
            {
                "x": pa.array([key[0] for key, _ in asked], pa.string()),
                "y": pa.array([key[1] for key, _ in asked], pa.string()),
                asof.AT: pa.array([at for _, at in asked], pa.int64()),
                asof.ROW: pa.array(range(len(asked)), pa.int64()),
            }
        )
    )
    plan = asof.ViewPlan(frame, view_of(ttl_us, known_by_created))
    joined = asof.join(entities, [plan], len(asked) if broadcast else asof.BROADCAST_ROWS + 1)
    answer = joined.select(asof.ROW, "n", "v").toArrow().sort_by(asof.ROW)
    assert answer.column(asof.ROW).to_pylist() == list(range(len(asked))), "rows in are rows out"
    return payloads(answer)


@pytest.mark.parametrize(("seed", "ttl_us", "known_by_created"), WORLDS)
def test_50000_seeded_cases_equal_the_oracle(spark, seed, ttl_us, known_by_created):
    check_50000_seeded_cases(partial(run, spark), seed, ttl_us, known_by_created)


@given(rows=any_history, asked=any_asked, ttl_us=any_ttl_us, known_by_created=st.booleans())
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_case_equals_the_oracle(spark, rows, asked, ttl_us, known_by_created):
    check_case(partial(run, spark), rows, asked, ttl_us, known_by_created)


def test_ties_give_the_same_row_whatever_the_layout_and_the_way_of_fetching(spark):
    history = [HistoryRow(("1", "2"), 5, 5, number) for number in range(20)]
    asked = [(("1", "2"), 9), (("1", "2"), 5), (("1", "2"), 9)]
    shuffled = random.Random(7).sample(history, len(history))
    first, second, third = (
        run(spark, history, asked),
        run(spark, shuffled, asked),
        run(spark, shuffled, asked, broadcast=False),
    )
    assert first == second == third
    assert len(set(first)) == 1
