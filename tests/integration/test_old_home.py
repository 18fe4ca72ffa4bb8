"""A home that the code of commit 3fb4aa6 made goes on working: model folder, tables, state of the consumer,
registry, rows of the online store. Its bytes are frozen in `homes/`, with what that code read in them. The
shop is made up (40 sessions, 12 items).
"""

from __future__ import annotations

import base64
import json
import tarfile
from pathlib import Path

import pytest

from feature_repo import definitions
from feature_repo.contract import session
from feature_repo.contract import tables as columns
from feature_repo.registry import plan, store
from feature_repo.stores.packed.live import session_schema
from intentstore.doctor import home as doctor
from model.recommender import artifact
from model.recommender.loaded_model import load_model
from spark_jobs.ingest import job as ingest
from spark_jobs.lake.lake import Lake
from spark_jobs.lake.log import DeltaLog
from spark_jobs.sessions import cut as sessionise
from streaming.consumer.state import Outbox, PartitionStore

# columns that the next write adds
ADDED_SINCE = {columns.ITEMS: {"raw", "available", "attributes", "extra"}, columns.SESSIONS: {"weights"}}
FROZEN = Path(__file__).with_name("homes") / "3fb4aa6.tar.gz"


@pytest.fixture
def old(settings, tmp_path):
    """Settings of the home that was unpacked, with its shop."""
    with tarfile.open(FROZEN) as archive:
        archive.extractall(tmp_path, filter="data")
    # the lake notes which folder it holds; this one was unpacked elsewhere
    (tmp_path / "home" / "lake" / "dataset.json").write_text(json.dumps({"dataset": str(tmp_path / "shop")}))
    dataset = settings.dataset.model_copy(update={"path": tmp_path / "shop"})
    return settings.model_copy(update={"home": tmp_path / "home", "dataset": dataset})


@pytest.fixture
def expected(old):
    """What the code of that commit read in it."""
    return json.loads((old.home / "expected.json").read_text(encoding="utf-8"))


def test_the_frozen_bytes_are_few():
    assert FROZEN.stat().st_size < 1_000_000


def test_the_promoted_model_gives_the_answers_that_it_gave(old, expected):
    folder = artifact.promoted_dir(old.models_dir)
    assert folder is not None
    model = load_model(old, folder)
    for before, now in zip(
        expected["model"], model.recommend([row["session"] for row in expected["model"]], 5), strict=True
    ):
        assert list(now.scored.items) == before["items"]
        assert list(now.scored.scores) == pytest.approx(before["scores"], abs=1e-4)


def test_the_tables_are_read_without_a_jvm(old, expected):
    clicks = DeltaLog(old.table(columns.CLICKS)).read()
    assert set(clicks["item_id"].to_pylist()) <= {f"i{place}" for place in range(12)}
    for name, rows in expected["rows"].items():
        log = DeltaLog(old.table(name))
        assert log.read().num_rows == rows
        stored = log.stored_schema()
        absent = {field.name for field in columns.TABLES[name].fields if field.name not in stored}
        assert absent == ADDED_SINCE.get(name, set())
    assert doctor.tables(old).state == "ok"


def test_jobs_go_on_from_the_tables(old, expected, spark):
    lake = Lake(spark, old)
    assert ingest.run(lake).inserted == 0
    clicks = old.dataset.path / "clicks.csv"
    with clicks.open("a", encoding="utf-8") as file:
        file.write("new,i0,2026-01-01T00:00:01+00:00\nnew,i1,2026-01-01T00:00:02+00:00\n")
    assert ingest.run(lake).inserted == 2
    assert sessionise.run(lake).inserted == 1
    assert DeltaLog(old.table(columns.SESSIONS)).read().num_rows == expected["rows"][columns.SESSIONS] + 1


@pytest.mark.parametrize("partition", ["0", "1"])
def test_the_consumer_finds_its_state(old, expected, partition):
    folder = old.home / "state" / "intentstore" / f"clicks-{partition}"
    before, opened = expected[partition], PartitionStore(folder)
    try:
        assert opened.next_offset == before["next_offset"]
        states = dict(opened.sessions())
        assert {name: session.features(state) for name, state in states.items()} == before["sessions"]
        outbox = opened.outbox()
        assert outbox.sessions == [before["outbox_session"]]
        assert [answer[0] for answer in outbox.answers] == [before["next_offset"] - 2]
        assert [(letter.offset, letter.value) for letter in outbox.letters] == [
            (before["next_offset"] - 1, b"{no json")
        ]
        name, state = next(iter(states.items()))
        click = session.FoldClick("after", "i0", state.event_timestamp_us + 1, state.created_us + 1)
        opened.write(
            before["next_offset"] + 1, {name: session.apply(state, click, session.FoldConfig())}, Outbox(), []
        )
    finally:
        opened.close()
    again = PartitionStore(folder)
    try:
        assert again.next_offset == before["next_offset"] + 1
        assert again.states([name])[name].count == state.count + 1
    finally:
        again.close()


def test_rows_of_the_online_store_are_read(old, expected):
    packed = json.loads((old.home / "online.json").read_text(encoding="utf-8"))
    features = {**expected["0"]["sessions"], **expected["1"]["sessions"]}
    schema = session_schema()
    assert len(packed) == len(features) == 40
    for value, before in zip(packed.values(), features.values(), strict=True):
        row = schema.decode(base64.b64decode(value), ["items", "click_count", "duration_seconds"])
        assert list(row["items"]) == before["items"]
        assert row["click_count"] == before["click_count"]
        assert row["duration_seconds"] == pytest.approx(before["duration_seconds"])


def test_the_registry_is_read_and_no_service_of_it_breaks(old):
    registered = plan.shape_of_registry(store.feature_store(old))
    assert set(registered.views) >= {"session_features", "item_text"}
    plan.refuse_breaking(plan.compare(registered, plan.shape_of(definitions.OBJECTS)))
