"""Feast's calls with rows, frames and ranges that are none: one line with view, column and row, before any
server is asked; and a registry that nothing was ever applied to.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import traceback
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value
from pydantic import SecretStr

from feature_repo.__main__ import main
from feature_repo.contract.settings import load_settings
from feature_repo.registry import store as stores
from feature_repo.stores.asked import RegistryError, RequestError
from feature_repo.stores.packed.refusals import OnlineStoreError
from feature_repo.stores.packed.slots import PackedValueError

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
VIEW, PUSH = "session_features", "session_features_push"
ASK = [f"{VIEW}:click_count"]


def settings_of(home):
    settings = load_settings(None, {}, {"home": str(home)})
    online = settings.online.model_copy(update={"url": SecretStr("redis://:hush@127.0.0.1:1/0")})
    return settings.model_copy(update={"online": online})


@pytest.fixture(scope="module")
def applied(tmp_path_factory):
    """Our store, and Feast's own on the same configuration."""
    settings = settings_of(tmp_path_factory.mktemp("applied"))
    stores.apply(settings)
    opened = stores.feature_store(settings)
    return SimpleNamespace(ours=opened, plain=FeatureStore(config=opened.config))


def frame(drop=None, **columns):
    """Two rows of session_features."""
    seconds = ("repeat_share", "duration_seconds", "mean_gap_seconds", "last_gap_seconds")
    made = pd.DataFrame(
        {
            "session_id": ["a", "b"],
            "event_timestamp": [NOW, NOW],
            "created": [NOW, NOW],
            "items": [["i"], ["j"]],
            "last_item": ["i", "j"],
            **{name: [1, 2] for name in ("click_count", "distinct_items", "late_clicks")},
            **{name: [0.5, 1.0] for name in seconds},
            "session_start": [NOW, NOW],
        }
        | columns
    )
    return made.drop(columns=[drop] if drop else [])


def told(call, kind=(RequestError, PackedValueError)):
    with pytest.raises(kind) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line and "hush" not in "".join(traceback.format_exception(caught.value))
    return line


ROWS = {
    "no column": ({}, "entity_rows is empty"),
    "empty column": ({"session_id": []}, "entity_rows is empty"),
    "no row": ([], "entity_rows is empty"),
    "null": ({"session_id": ["a", None]}, "row 1 of entity_rows without 'session_id'"),
    "nan": ({"session_id": [float("nan"), "a", np.nan]}, "row 0 and 1 more of entity_rows without"),
    "NaT": ([{"session_id": "a"}, {"session_id": pd.NaT}], "row 1 of entity_rows without 'session_id'"),
    "NA": (pd.DataFrame({"session_id": ["a", pd.NA]}).to_dict("list"), "row 1 of entity_rows without"),
    "message": ({"session_id": RepeatedValue(val=[Value(string_val="a"), Value()])}, "row 1 of entity_rows"),
    "other column": ({"visitor": ["a"]}, "needs the column 'session_id'; entity_rows has ['visitor']"),
    "other columns by row": ([{"session_id": "a"}, {"id": "a"}], "row 1 of entity_rows has ['id']"),
    "other lengths": ({"session_id": ["a"], "x": [1, 2]}, "differ in length"),
    "a text": ({"session_id": "abc"}, "no rows"),
    "no list": ({"session_id": None}, "no rows"),
    "a number": ({"session_id": 7}, "no rows"),
    "a list as key": ({"session_id": ["a", ["b"]]}, "row 1 of entity_rows has 'session_id' = ['b']"),
    "no rows of a tuple": ((), "entity_rows is empty"),
    "none": (None, "no rows"),
}


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("whose", ["ours", "plain"])
@pytest.mark.parametrize("call", ["get_online_features", "get_online_features_async"])
def test_rows_that_name_no_entity_are_one_line(applied, kind, whose, call):
    rows, words = ROWS[kind]

    def ask():
        answer = getattr(getattr(applied, whose), call)(features=ASK, entity_rows=rows)
        return asyncio.run(answer) if call.endswith("async") else answer

    line = told(ask)
    assert words in line and f"view '{VIEW}'" in line


@pytest.mark.parametrize(
    "rows",
    [
        {"session_id": ["a"]},
        [{"session_id": "a"}],
        ({"session_id": "a"},),
        {"session_id": ("a",)},
        {"session_id": np.array(["a"])},
        {"session_id": pd.Series(["a"])},
        {"session_id": RepeatedValue(val=[Value(string_val="a")])},
    ],
)
def test_good_rows_are_asked_for(applied, rows):
    told(lambda: applied.ours.get_online_features(ASK, rows), OnlineStoreError)


WRITES = ("write_to_online_store", "push")
FRAMES = {
    "NaT": (frame(event_timestamp=[NOW, pd.NaT]), "row 1 without 'event_timestamp'"),
    "null id": (frame(session_id=[None, "b"]), "row 0 without 'session_id'"),
    "no feature": (frame("click_count"), "has no column ['click_count']"),
    "no key": (frame("session_id"), "has no column ['session_id']"),
    "no time": (frame("event_timestamp"), "has no column ['event_timestamp']"),
    "no row": (frame().iloc[:0], "the frame has no rows"),
    "none": (None, "there is no frame"),
    "wrong type": (frame(click_count=[1, "two"]), "feature 'click_count' = 'two' in row 1"),
}


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize(
    "call", ["write_to_online_store", "write_to_online_store_async", "push", "push_async"]
)
def test_a_frame_that_cannot_be_rows_is_one_line(applied, kind, call):
    given, words = FRAMES[kind]

    def write():
        done = getattr(applied.ours, call)(PUSH if call.startswith("push") else VIEW, given)
        return asyncio.run(done) if call.endswith("async") else done

    line = told(write)
    assert words in line and f"view '{VIEW}'" in line


@pytest.mark.parametrize("kind", ["NaT", "null id", "none", "wrong type", "no key", "no time"])
def test_a_plain_store_refuses_what_reaches_our_provider(applied, kind):
    given, words = FRAMES[kind]
    assert words in told(lambda: applied.plain.write_to_online_store(VIEW, given))


def test_inputs_without_rows_and_unknown_views_are_one_line(applied):
    assert "has no rows" in told(lambda: applied.ours.write_to_online_store(VIEW, inputs={"session_id": []}))
    assert "it has session_features" in told(lambda: applied.ours.write_to_online_store("nothing", frame()))


def test_a_frame_of_null_features_is_written_and_not_left_out(applied):
    nulls = {name: [None, None] for name in frame().columns[3:]}
    told(lambda: applied.ours.write_to_online_store(VIEW, frame(**nulls)), OnlineStoreError)


@pytest.mark.parametrize("value", [pd.NaT, None, "2026-01-01"])
def test_a_range_without_an_end_is_one_line(applied, value):
    assert "start_date is" in told(lambda: applied.ours.materialize(value, NOW))
    assert "end_date is" in told(lambda: applied.ours.materialize(NOW, value))
    assert "end_date is" in told(lambda: applied.ours.materialize_incremental(value))


def test_empty_lists_are_one_line(applied):
    assert "session_ranker_v1" in told(lambda: applied.ours.get_online_features([], {"session_id": ["a"]}))
    assert "session_ranker_v1" in told(lambda: applied.ours.get_historical_features(frame(), []))
    assert "empty list" in told(lambda: applied.ours.materialize(NOW, NOW, []))


@pytest.mark.parametrize("value", [Value(), Value(null_val=1)])
def test_rows_that_feast_materialises_without_key_or_time_are_named_by_the_store(applied, value):
    view, provider = applied.ours.get_feature_view(VIEW), applied.ours._get_provider()
    good, bad = (
        EntityKey(join_keys=["session_id"], entity_values=[one]) for one in (Value(string_val="a"), value)
    )
    features = {field.name: Value() for field in view.features}

    def write(key, moment):
        rows = [(good, features, NOW, NOW), (key, features, moment, NOW)]
        provider.online_write_batch(applied.ours.config, view, rows, None)

    assert "row 1 without 'session_id'" in told(lambda: write(bad, NOW))
    assert "row 1 without event time" in told(lambda: write(good, pd.NaT))


@pytest.mark.parametrize("column", ["session_id", "event_timestamp"])
def test_rows_of_a_table_without_key_or_time_are_named_by_the_worker(applied, column):
    import pyarrow as pa

    view = applied.ours.get_feature_view(VIEW)
    writer = applied.ours._get_provider().online_store.writer(applied.ours.config, view)
    table = pa.Table.from_pandas(frame(), preserve_index=False)
    place = table.column_names.index(column)
    some = pa.array([table.column(column)[0].as_py(), None], table.column(column).type)
    batch = table.set_column(place, column, some).combine_chunks().to_batches()[0]
    line = told(lambda: writer.rows(batch))
    assert f"view '{VIEW}': row 1 (" in line and f"without '{column}'" in line
    assert ("b" if column == "event_timestamp" else "2026-01-01") in line


CALLS = {
    "get_online_features": lambda store: store.get_online_features(ASK, {"session_id": ["a"]}),
    "by no feature": lambda store: store.get_online_features([], {"session_id": ["a"]}),
    "get_historical_features": lambda store: store.get_historical_features(frame(), ASK),
    "write_to_online_store": lambda store: store.write_to_online_store(VIEW, frame()),
    "push": lambda store: store.push(PUSH, frame()),
    "materialize": lambda store: store.materialize(NOW, NOW),
    "materialize_incremental": lambda store: store.materialize_incremental(NOW),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_registry_never_applied_names_the_command(tmp_path, call):
    opened = stores.feature_store(settings_of(tmp_path))
    assert "python -m feature_repo apply" in told(lambda: CALLS[call](opened), RegistryError)


@pytest.mark.parametrize(
    "words", ["catalogue --no-statistics", "nearest shoes", "serve", "serve --allow-writes"]
)
def test_a_command_on_a_registry_never_applied_is_one_line_with_the_command(tmp_path, capsys, words):
    assert main(["--home", str(tmp_path), "token", "shop", "--services", "*"]) == 0
    capsys.readouterr()
    assert main(["--home", str(tmp_path), *words.split()]) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "python -m feature_repo apply" in line


def test_a_plan_of_a_registry_never_applied_is_all_that_would_be_added_and_says_so(tmp_path, capsys):
    assert main(["--home", str(tmp_path), "plan"]) == 0
    found = capsys.readouterr()
    assert "added" in found.out and "python -m feature_repo apply" in found.err


def test_a_registry_that_is_no_registry_is_one_line(tmp_path, capsys):
    (tmp_path / "feast").mkdir()
    (tmp_path / "feast" / "registry.db").write_bytes(b"\xff\xfe no registry")
    assert main(["--home", str(tmp_path), "nearest", "shoes"]) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and len(line) > 30
