"""A small shop goes from a dataset folder to sessions, features and training set; every job again changes
nothing.
"""

import datetime
import itertools

import pyarrow as pa
import pyarrow.parquet
import pytest

from dagster_project.checks import expectations
from feature_repo.contract.tables import MERGE_KEYS, SCHEMAS
from spark_jobs.ingest import job as ingest
from spark_jobs.ingest.held_out import held_out_file
from spark_jobs.items import popularity as item_popularity
from spark_jobs.job import JobError
from spark_jobs.lake.frames import spark_schema
from spark_jobs.lake.lake import Lake
from spark_jobs.sessions import cut as sessionise
from spark_jobs.sessions import features as session_features
from spark_jobs.sessions import training_set

START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)


def _line(session, item, minutes, event=""):
    return f"{session},{item},{(START + datetime.timedelta(minutes=minutes)).isoformat()},{event}\n"


def _clicks():
    # 20 sessions an hour apart, five clicks each; the last two of each share their instant. One cookie comes
    # back after its gap.
    for n in range(20):
        for k, minute in enumerate((0, 1, 2, 3, 3)):
            yield _line(f"s{n % 19}", f"i{(n + k) % 7}", n * 60 + minute, f"e{n}-{k}")


def _write(folder, lines, items="item_id,title\ni0,Red shoe\ni1,Blue shoe\ni2,\n"):
    folder.mkdir(exist_ok=True)
    (folder / "clicks.csv").write_text("session_id,item_id,event_time,event_id\n" + "".join(lines))
    (folder / "items.csv").unlink(missing_ok=True)
    if items:
        (folder / "items.csv").write_text(items)


@pytest.fixture
def shop(settings, tmp_path):
    """Settings of an own dataset, nothing held back."""
    dataset = settings.dataset.model_copy(update={"path": tmp_path / "shop", "live_share": 0.0})
    _write(tmp_path / "shop", _clicks())
    return settings.model_copy(update={"dataset": dataset})


def _rows(spark, settings, table):
    names = [name for name in SCHEMAS[table].names if name not in ("created", "ingest_time")]
    frame = Lake(spark, settings).read(table).select(*names)
    return frame.orderBy(*MERGE_KEYS.get(table, ("source", "line"))).collect()


JOBS = (ingest, sessionise, session_features, item_popularity, training_set)
TABLES = ("clicks", "items", "quarantine", "sessions", "session_features", "item_popularity", "training_set")


def test_whole_path_and_a_second_run_changes_nothing(spark, shop):
    for job in JOBS:
        job.run(Lake(spark, shop))
    counts = {table: Lake(spark, shop).read(table).count() for table in TABLES}
    assert (
        counts["clicks"] == 100
        and counts["sessions"] == 20
        and counts["session_features"] == 100
        and counts["training_set"] == 80
    )
    splits = [row["split"] for row in Lake(spark, shop).read("sessions").orderBy("session_start").collect()]
    assert splits == ["train"] * 16 + ["valid"] * 2 + ["test"] * 2
    positions = {
        (row["session_id"], row["first_position"]) for row in Lake(spark, shop).read("sessions").collect()
    }
    assert {("s0", 0), ("s0", 5)} <= positions
    versions = {table: Lake(spark, shop).version(table) for table in TABLES}
    again = [job.run(Lake(spark, shop)) for job in JOBS]
    assert not any(result.changed for result in again)
    assert {table: Lake(spark, shop).version(table) for table in TABLES} == versions
    _no_case_knows_its_target(spark, shop)
    _new_clicks_give_what_a_full_run_gives(spark, shop)


def _no_case_knows_its_target(spark, shop):
    for case in Lake(spark, shop).read("training_set").collect():
        before = case["position"] % 5  # also where the target has the same instant as the click before it
        assert before > 0 and case["click_count"] == before and len(case["items"]) == before
    manifest = training_set.manifest_file(shop).read_text()
    assert '"session_features": ' in manifest and '"version": 1' in manifest


def _new_clicks_give_what_a_full_run_gives(spark, shop):
    more = [
        _line("s3", "i6", 3 * 60 + 4, "late"),
        _line("new", "news", 5000, "n0"),
        _line("new", "i1", 5001, "n1"),
    ]
    # s5 was last seen at hour 5; it had been here three days earlier too, and those clicks only arrive now:
    # sessions, but no cases.
    more += [_line("s5", f"i{k}", k - 3 * 24 * 60, f"old{k}") for k in range(3)]
    _write(shop.dataset.path, itertools.chain(_clicks(), more))
    result = ingest.run(Lake(spark, shop))
    # i3..i6 and news are not in the catalogue: kept, counted
    assert result.inserted == 6 and result.details["unknown_items"] == 5
    done = session_features.run(Lake(spark, shop)).details["sessions_done"]
    assert done == 3
    sessionise.run(Lake(spark, shop))
    assert training_set.run(Lake(spark, shop)).details["overtaken"] == 1
    assert (
        Lake(spark, shop).read("sessions").count() == 22
        and Lake(spark, shop).read("training_set").count() == 82
    )
    checks = expectations.of(("sessions", "session_features", "training_set"))
    assert [entry.name for entry in checks if not expectations.verify(entry, shop, {}).passed] == []
    step_by_step = {
        table: _rows(spark, shop, table) for table in ("sessions", "session_features", "training_set")
    }
    for table in step_by_step:
        _remove(shop.table(table))
    for job in (sessionise, session_features, training_set):
        job.run(Lake(spark, shop))
    assert {table: _rows(spark, shop, table) for table in step_by_step} == step_by_step
    _bounds_are_kept(spark, shop)


def _bounds_are_kept(spark, shop):
    few = shop.model_copy(
        update={"session": shop.session.model_copy(update={"cases_per_session": 2, "max_cases": 30})}
    )
    cases = training_set.run(Lake(spark, few)).details[
        "cases"
    ]  # overtaken ones are left out of what was drawn
    assert 28 <= cases["train"] <= 30 and cases["valid"] <= 6 and cases["test"] <= 6
    for case in (
        Lake(spark, shop).read("training_set").where("split = 'test' and session_id != 'new'").collect()
    ):
        assert case["position"] % 5 in (2, 4)  # the last one, and one half-way


def _remove(folder):
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def test_refused_rows_are_quarantined_once_with_file_line_and_reason(spark, shop):
    bad = ["s1,i1,31-02-2024,b1\n", ",i1,2024-01-01,b2\n", _line("s1", "i1", 1, "e0-0")]
    _write(shop.dataset.path, itertools.chain(_clicks(), bad), items=None)
    first = ingest.run(Lake(spark, shop))
    assert first.refused == 3 and first.rows == 100 and first.details["items"] == 0
    ingest.run(Lake(spark, shop))
    rows = {row["line"]: row["reason"] for row in Lake(spark, shop).read("quarantine").collect()}
    assert sorted(rows) == [102, 103, 104]
    assert (
        "event_time '31-02-2024' is no timestamp" in rows[102]
        and "session_id" in rows[103]
        and "seen before at line 2" in rows[104]
    )


def test_one_date_ingests_that_day_only(spark, shop):
    _write(shop.dataset.path, [_line("a", "i1", 0, "x"), _line("a", "i1", 2000, "y")])
    assert ingest.run(Lake(spark, shop), date=datetime.date(2024, 1, 2)).inserted == 1
    assert ingest.run(Lake(spark, shop), date=datetime.date(2024, 1, 2)).inserted == 0
    assert ingest.run(Lake(spark, shop)).inserted == 1


def test_newest_sessions_are_held_back_whole(spark, shop):
    # The cut falls into session 18; it stays, only what begins after the cut goes.
    settings = shop.model_copy(update={"dataset": shop.dataset.model_copy(update={"live_share": 0.08})})
    result = ingest.run(Lake(spark, settings))
    held = pyarrow.parquet.read_table(held_out_file(settings))
    assert result.details["held_out"] == held.num_rows == 5 and result.rows == 95
    assert set(held.column("session_id").to_pylist()) == {"s0"} and held.column("event_id").to_pylist() == [
        f"e19-{k}" for k in range(5)
    ]
    assert ingest.run(Lake(spark, settings)).inserted == 0
    # A hundred older clicks move the cut back into what is known already; nothing of that is held back now,
    # and what was held back stays so.
    older = [_line(f"old{n}", "i1", -1000 - n, f"o{n}") for n in range(100)]
    _write(shop.dataset.path, itertools.chain(_clicks(), older))
    assert ingest.run(Lake(spark, settings)).inserted == 100
    assert (
        pyarrow.parquet.read_table(held_out_file(settings)).column("event_id").to_pylist()
        == held.column("event_id").to_pylist()
    )


def test_another_dataset_is_not_mixed_into_the_lake(spark, shop, tmp_path):
    ingest.run(Lake(spark, shop))
    _write(tmp_path / "other", _clicks())
    other = shop.model_copy(update={"dataset": shop.dataset.model_copy(update={"path": tmp_path / "other"})})
    with pytest.raises(JobError, match="INTENTSTORE_HOME"):
        ingest.run(Lake(spark, other))


def test_a_job_before_its_input_says_which_to_run(spark, settings):
    with pytest.raises(JobError, match="spark_jobs ingest"):
        sessionise.run(Lake(spark, settings))


@pytest.mark.parametrize("left", ["", "_staged_commits", ".00000000000000000000.json.3f1c.tmp"])
def test_a_table_whose_creation_was_killed_is_created(spark, settings, left):
    # What kill -9 leaves between making the folder of the log and its first commit.
    log = settings.table("items") / "_delta_log"
    log.mkdir(parents=True)
    if left.endswith(".tmp"):
        (log / left).write_bytes(b"{")
    elif left:
        (log / left).mkdir()
    assert Lake(spark, settings).create("items")
    assert Lake(spark, settings).read("items").schema == spark_schema("items")
    assert not Lake(spark, settings).create("items")


def test_decoded_titles_keep_their_raw_text_also_in_an_items_table_of_before(spark, shop):
    _write(shop.dataset.path, _clicks())
    before = pa.schema([field for field in SCHEMAS["items"] if field.name != "raw"])
    row = {
        "item_id": "i0",
        "title": "Red shoe",
        "event_timestamp": datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC),
        "created": START,
    }
    spark.createDataFrame(pa.Table.from_pylist([row], schema=before)).write.format("delta").save(
        str(shop.table("items"))
    )
    _write(
        shop.dataset.path,
        _clicks(),
        items="item_id,title\ni0,Red shoe\ni1,Men&#39;s &amp;amp; boys&#39; shoe\n",
    )
    ingest.run(Lake(spark, shop))
    found = {row["item_id"]: (row["title"], row["raw"]) for row in Lake(spark, shop).read("items").collect()}
    assert found == {
        "i0": ("Red shoe", None),
        "i1": ("Men's & boys' shoe", '{"title": "Men&#39;s &amp;amp; boys&#39; shoe"}'),
    }
