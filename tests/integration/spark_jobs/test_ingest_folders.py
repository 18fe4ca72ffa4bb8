"""Folders whose ids and splits need a rule of the whole folder, through Spark: the user's split, ids that
restart, and rows that are refused."""

import json

import pytest

from feature_repo.contract.tables import MERGE_KEYS
from spark_jobs.ingest import job as ingest
from spark_jobs.ingest import quarantine
from spark_jobs.ingest.held_out import held_out_file
from spark_jobs.job import JobError
from spark_jobs.lake.lake import Lake
from spark_jobs.sessions import cut as sessionise
from spark_jobs.sessions import features as session_features
from spark_jobs.sessions import training_set

START = 1_704_067_200
COLUMNS = "session_id,item_id,event_time,event_id\n"


def _session(name, begin, clicks=4, first=0):
    return [
        f"{name},i{(begin + hit) % 6},{START + 1000 * begin + 20 * hit},{hit + 1}\n"
        for hit in range(first, clicks)
    ]


@pytest.fixture
def shop(settings, tmp_path):
    """Settings of an own dataset with everything else at its default, so that a twentieth would be held
    back."""
    (tmp_path / "shop").mkdir()
    return settings.model_copy(
        update={"dataset": settings.dataset.model_copy(update={"path": tmp_path / "shop"})}
    )


def _read(spark, settings, table, *names):
    return [tuple(row) for row in Lake(spark, settings).read(table).select(*names).collect()]


def test_a_given_split_is_kept_from_the_files_to_the_training_set(spark, shop):
    folder = shop.dataset.path
    train = [line for number in range(12) for line in _session(f"s{number}", number)]
    # s10 and s11 are in both files, s20 crosses the border; event ids restart with every session.
    (folder / "clicks.csv").write_text(COLUMNS + "".join([*train, *_session("s20", 20, 3)]))
    test = [
        *train[40:],
        *_session("s20", 20, 6, 3),
        *(line for number in range(30, 33) for line in _session(f"s{number}", number)),
    ]
    (folder / "clicks_test.csv").write_text(COLUMNS + "".join(test))
    result = ingest.run(Lake(spark, shop), max_refused_share=0.1)
    assert (
        result.refused == 0
        and result.details["own_split"]
        and result.details["held_out"] == 0
        and not held_out_file(shop).exists()
    )
    assert len(result.details["notes"]) == 3 and "restarts per session" in result.details["notes"][0]
    clicks = _read(spark, shop, "clicks", "split", "event_id")
    assert len(clicks) == len(set(clicks)) == 51 + 23 and sum(split == "test" for split, _ in clicks) == 23
    sessionise.run(Lake(spark, shop))
    sessions = {
        (row[0], row[1]): row[2:]
        for row in _read(spark, shop, "sessions", "split", "session_id", "items", "first_position")
    }
    assert {name for split, name in sessions if split == "test"} == {
        "s10/test",
        "s11/test",
        "s20",
        "s30",
        "s31",
        "s32",
    }
    assert sessions["train", "s20"] == (["i2", "i3", "i4"], 0) and sessions["test", "s20"] == (
        ["i5", "i0", "i1"],
        3,
    )
    assert sessions["test", "s10/test"] == sessions["train", "s10"]
    session_features.run(Lake(spark, shop))
    # Every position but a session's first is a case: 12 sessions of 4 and one of 3; 5 of 4 and one of 3.
    assert training_set.run(Lake(spark, shop)).details["cases"] == {"train": 12 * 3 + 2, "test": 5 * 3 + 2}
    rows = _read(spark, shop, "training_set", "split", "session_id", "items")
    prefixes = sorted(row[2] for row in rows if row[:2] == ("test", "s20"))
    assert prefixes == [["i5"], ["i5", "i0"]]  # no click of the other side of the border
    for table in ("sessions", "session_features", "training_set"):
        keys = _read(spark, shop, table, *MERGE_KEYS[table])
        assert len(keys) == len(set(keys))
    assert not any(
        job.run(Lake(spark, shop)).changed for job in (ingest, sessionise, session_features, training_set)
    )
    with (folder / "clicks_test.csv").open("a") as file:
        file.writelines(_session("s40", 40))
    assert ingest.run(Lake(spark, shop)).inserted == 4


def test_rows_are_in_the_quarantine_before_a_run_stops(spark, shop):
    folder = shop.dataset.path
    good = [line for number in range(5) for line in _session(f"s{number}", number)]
    (folder / "clicks.csv").write_text(COLUMNS + "s,i1,soon,1\n" * 6 + ",i1,1704067200,2\n" * 3)
    with pytest.raises(
        JobError,
        match=(
            r"no valid click \(9 rows refused: 6 x event_time ... is no timestamp \(clicks.csv line 2: "
            r".*spark_jobs quarantine"
        ),
    ):
        ingest.run(Lake(spark, shop))
    assert quarantine.run(shop).details["refused_by"] == {
        "event_time ... is no timestamp": 6,
        "session_id ... is blank": 3,
    }
    (folder / "clicks.csv").write_text(COLUMNS + "".join(good) + "s,i1,soon,1\n" * 6)
    with pytest.raises(
        JobError, match=r"6 of 26 rows refused \(23.1%\), more than dataset.max_refused_share = 0.1"
    ):
        ingest.run(Lake(spark, shop), max_refused_share=0.1)
    assert not Lake(spark, shop).exists("clicks")
    assert (
        ingest.run(Lake(spark, shop), max_refused_share=0.3).rows == 20
        and json.loads(ingest.run(Lake(spark, shop)).to_json())["refused"] == 6
    )


def test_sessions_that_come_to_be_keyed_by_user_are_not_mixed_into_a_lake_of_others(spark, shop):
    file = shop.dataset.path / "clicks.csv"
    rows = [f"{session},i{hit},{START + hit},u\n" for session in range(3) for hit in range(3)]
    file.write_text("session_id,item_id,event_time,user_id\n" + "".join(rows))
    ingest.run(Lake(spark, shop))
    file.write_text(
        "session_id,item_id,event_time,user_id\n"
        + "".join([*rows, *(row.replace(",u", ",v").replace("i1", "i2") for row in rows)])
    )
    with pytest.raises(JobError, match="named by user/session now, and by session in the lake"):
        ingest.run(Lake(spark, shop))


def test_a_training_set_without_a_case_names_the_gap_rule(spark, shop):
    lines = [f"s{session},i{day},2024-01-{day + 1:02d},\n" for session in range(6) for day in range(4)]
    (shop.dataset.path / "clicks.csv").write_text(COLUMNS + "".join(lines))
    result = ingest.run(Lake(spark, shop))
    days, gap = result.details["notes"]
    assert "holds days without a time of day" in days
    assert "100 % of sessions would have one click with session.gap_minutes = 10" in gap
    for job in (sessionise, session_features):
        job.run(Lake(spark, shop))
    with pytest.raises(JobError, match=r"no session has 2 clicks or more.*session.gap_minutes = 10"):
        training_set.run(Lake(spark, shop))
