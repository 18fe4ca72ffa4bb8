"""A dataset out of the lake's tables: nothing held out may be learned from."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest

from feature_repo.contract.dataset.folder import DatasetFolderError
from model.data.folder import from_tables

NOW = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


def sessions(rows):
    times = [[NOW + datetime.timedelta(seconds=step) for step in range(len(row[2]))] for row in rows]
    return pa.table(
        {
            "session_id": [row[0] for row in rows],
            "first_position": pa.array([row[1] for row in rows], pa.int64()),
            "items": [row[2] for row in rows],
            "times": pa.array(times, pa.list_(pa.timestamp("us", tz="UTC"))),
            "split": [row[3] for row in rows],
        }
    )


def training_set(rows, vectors=None):
    return pa.table(
        {
            "session_id": [row[0] for row in rows],
            "event_timestamp": pa.array([NOW] * len(rows), pa.timestamp("us", tz="UTC")),
            "position": pa.array([row[1] for row in rows], pa.int64()),
            "target": [row[2] for row in rows],
            "split": [row[3] for row in rows],
            "items": [row[4] for row in rows],
            "long_vector": pa.array(vectors or [None] * len(rows), pa.list_(pa.float32())),
            "short_vector": pa.array(vectors or [None] * len(rows), pa.list_(pa.float32())),
        }
    )


def test_held_out_clicks_are_cut_off_training():
    made = from_tables(
        training_set([("a", 5, "z", "test", ["x", "y"]), ("b", 1, "y", "valid", ["x"])]),
        sessions([("a", 3, ["x", "y", "z"], "train"), ("b", 0, ["x", "y"], "train")]),
    )
    assert [[made.catalogue.item_ids[item] for item in row] for row in made.train] == [["x", "y"], ["x"]]
    assert [[made.catalogue.item_ids[item] for item in row] for row in made.validation_sequences] == [
        ["x", "y"],
        ["x", "y"],
    ]
    assert made.test.ids == ["a:5"]


def test_intents_and_item_vectors_go_with_their_rows():
    items = pa.table({"item_id": ["x", "y"], "title": ["X", None], "category": [None, None]})
    vectors = pa.table({"item_id": ["y"], "vector": pa.array([[0.0, 1.0]], pa.list_(pa.float32()))})
    made = from_tables(
        training_set([("a", 1, "y", "test", ["x"]), ("c", 1, "x", "train", ["y"])], [[1.0, 0.0], None]),
        sessions([("b", 0, ["x", "y"], "train")]),
        items,
        vectors,
    )
    assert made.test.long.tolist() == [[1.0, 0.0]]
    assert made.train_cases.long.tolist() == [[0.0, 0.0]]
    assert np.array_equal(made.catalogue.vectors, [[0, 0], [0, 1]])


def test_nan_in_an_intent_vector_is_named():
    with pytest.raises(DatasetFolderError, match="training_set: long_vector of case a:1 holds NaN"):
        from_tables(
            training_set([("a", 1, "y", "test", ["x"])], [[float("nan"), 0.0]]),
            sessions([("b", 0, ["x", "y"], "train")]),
        )


def test_items_that_the_catalogue_does_not_hold_are_known_by_their_clicks():
    items = pa.table({"item_id": ["x"], "title": ["X"], "category": [None]})
    made = from_tables(
        training_set([("a", 1, "new", "test", ["x"])]), sessions([("b", 0, ["x", "other"], "train")]), items
    )
    assert set(made.catalogue.item_ids) == {"x", "other", "new"}


def test_missing_column_is_named():
    with pytest.raises(DatasetFolderError, match="training_set: column 'target' is missing"):
        from_tables(
            training_set([("a", 1, "y", "test", ["x"])]).drop_columns(["target"]),
            sessions([("b", 0, ["x", "y"], "train")]),
        )


def test_no_session_to_learn_from_is_said():
    with pytest.raises(DatasetFolderError, match="no training session"):
        from_tables(training_set([("a", 1, "y", "test", ["x"])]), sessions([("b", 0, ["x", "y"], "test")]))
