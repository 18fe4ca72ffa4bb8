"""Other people's column names become a dataset folder that the model reads."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.parquet
import pytest
import zstandard

from feature_repo.contract.dataset.folder import DatasetFolderError, read_clicks
from model.data.folder import load_folder
from model.data.prepare import REFUSED, main, prepare

YOOCHOOSE = (
    "SessionId\tItemId\tTime\n1\t10\t1396860669.277\n1\t11\t1396860700.5\n1\t10\t1396860800\n"
    "2\t11\t1396860900\n2\t10\t1396861000\n2\t12\t1396861001\n"
)


def test_yoochoose_names_and_split_are_found(tmp_path):
    (tmp_path / "train.tsv").write_text(YOOCHOOSE)
    (tmp_path / "test.tsv").write_text(YOOCHOOSE.replace("\n1\t", "\n7\t").replace("\n2\t", "\n8\t"))
    assert prepare(tmp_path, tmp_path / "out") == {"clicks.parquet": 6, "clicks_test.parquet": 6}
    dataset = load_folder(tmp_path / "out")
    assert dataset.protocol == "next-item"
    assert dataset.test.ids == ["7:1", "7:2", "8:1", "8:2"]
    assert dataset.test.prefixes.times[0] == 1396860669_277000


def test_recbole_files_with_types_in_the_header_are_read(tmp_path):
    clicks = "".join(f"u\t{item}\t5\t{item}00000000\n" for item in range(1, 6))
    (tmp_path / "x.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + clicks
    )
    (tmp_path / "x.item").write_text(
        'item_id:token\tmovie_title:token_seq\tclass:token_seq\n1\t"Hello" she said\tComedy Drama\n'
        "2\tB\tWar\n"
    )
    prepare(tmp_path, tmp_path / "out")
    catalogue = load_folder(tmp_path / "out").catalogue
    assert catalogue.titles[:2] == ['"Hello" she said', "B"]
    assert catalogue.categories[0] == "Comedy Drama"


def test_named_columns_win(tmp_path, capsys):
    (tmp_path / "clicks.csv").write_text("who,what,when\na,1,2020-01-01\n")
    assert (
        main(
            [
                str(tmp_path),
                str(tmp_path / "out"),
                "--session-id",
                "who",
                "--item-id",
                "what",
                "--event-time",
                "when",
            ]
        )
        == 0
    )
    assert "1 rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "clicks.csv",
            "who,item_id,event_time\na,1,1\n",
            "no column for session_id (found 'who', 'item_id', 'event_time'); name it with --session-id",
        ),
        ("clicks.csv", "session_id,item_id,event_time\na,1\n", "clicks.csv line 2: 2 values instead of 3"),
        ("other.csv", "x", "holds no clicks"),
    ],
)
def test_bad_source_is_one_line(tmp_path, capsys, file, text, message):
    (tmp_path / file).write_text(text)
    assert main([str(tmp_path), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out" / "clicks.parquet").exists()


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(DatasetFolderError, match="does not exist"):
        prepare(tmp_path / "nowhere", tmp_path / "out")


PUBLIC = {
    "REES46": (
        "2019-Oct.csv",
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
        "2019-10-01 00:00:00 "
        "UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,72d76fde-8bb3\n"
        "2019-10-01 00:00:05 "
        "UTC,cart,3900821,2053013552326770905,appliances,aqua,33.20,541312140,72d76fde-8bb3\n",
        ("72d76fde-8bb3", "44600062", "2019-10-01T00:00:00", "view"),
    ),
    "RetailRocket": (
        "events.csv",
        (
            "timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n"
            "1433224214164,992329,view,248676,\n"
        ),
        ("257597", "355908", "2015-06-02T05:02:12", "view"),
    ),
    "OTTO": (
        "train.csv",
        "session,aid,ts,type\n12899779,59625,1661724000,0\n12899779,1142000,1661724100,1\n",
        ("12899779", "59625", "2022-08-28T22:00:00", "0"),
    ),
    "Yoochoose as published": (
        "yoochoose-clicks.dat",
        "1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09.868Z,214536500,0\n",
        ("1", "214536502", "2014-04-07T10:51:09", None),
    ),
    "Diginetica": (
        "train-item-views.csv",
        (
            "session_id;user_id;item_id;timeframe;eventdate\n1;NA;81766;526309;2016-05-09\n"
            "1;NA;31331;1031018;2016-05-09\n"
        ),
        ("1", "81766", "2016-05-09T00:08:46", None),
    ),
    "Taobao": (
        "UserBehavior.csv",
        "1,2268318,2520377,pv,1511544070\n1,2333346,2520771,pv,1511561733\n",
        ("1", "2268318", "2017-11-24T17:21:10", "pv"),
    ),
    "MovieLens": (
        "ratings.csv",
        "userId,movieId,rating,timestamp\n1,31,2.5,835355493\n1,1029,3.0,835355681\n",
        ("1", "31", "1996-06-21T11:11:33", None),
    ),
    "MovieLens-100K": (
        "u.data",
        "196\t242\t3\t881250949\n186\t302\t3\t891717742\n",
        ("196", "242", "1997-12-04T15:55:49", None),
    ),
    "Coveo": (
        "browsing_train.csv",
        "session_id_hash,event_type,product_action,product_sku_hash,server_timestamp_epoch_ms,hashed_url\n"
        "aa,pageview,,bb,1550885210881,cc\naa,pageview,,dd,1550885213307,ee\n",
        ("aa", "bb", "2019-02-23T01:26:50", "pageview"),
    ),
}


@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
@pytest.mark.parametrize("log", PUBLIC)
def test_public_logs_are_known_by_their_names(tmp_path, capsys, log, packed):
    name, text, (session, item, moment, kind) = PUBLIC[log]
    pack = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[packed]
    source = tmp_path / "source"
    source.mkdir()
    (source / (name + packed)).write_bytes(pack(text.encode()))
    (source / "notes.csv").write_text("a,b\n1,2\n")
    assert main([str(source), str(tmp_path / "out")]) == 0
    rows = [row for block in read_clicks(tmp_path / "out") for row in block.rows.to_pylist()]
    assert len(rows) == 2
    assert (
        rows[0]["session_id"],
        rows[0]["item_id"],
        rows[0]["event_time"].strftime("%Y-%m-%dT%H:%M:%S"),
    ) == (session, item, moment)
    assert kind is None or rows[0]["event_type"] == kind
    heard = capsys.readouterr().out
    assert "session_id = " in heard and "item_id = " in heard and "left aside: notes.csv" in heard


def test_event_ids_are_kept_and_what_is_left_out_is_said(tmp_path, capsys):
    (tmp_path / "clicks.csv").write_text(
        "event_id,session_id,item_id,event_time,price\n7,s,i,2024-03-01,1\n8,s,i,2024-03-01,1\n"
    )
    assert main([str(tmp_path), str(tmp_path / "out")]) == 0
    (block,) = read_clicks(tmp_path / "out")
    assert block.rows.column("event_id").to_pylist() == ["7", "8"]
    assert "clicks.csv: columns that are left out: price" in capsys.readouterr().out


def test_numbers_too_large_for_a_unit_name_the_flag(tmp_path, capsys):
    (tmp_path / "clicks.csv").write_text("session_id,item_id,event_time\ns,i,1709280000000000000\n")
    assert main([str(tmp_path), str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err
    assert "nanoseconds" in line and "--time-unit" in line and line.count("\n") == 1


def test_a_session_is_preferred_to_a_user(tmp_path):
    (tmp_path / "clicks.csv").write_text("user_id,user_session,product_id,event_time\nu,s,i,2024-03-01\n")
    prepare(tmp_path, tmp_path / "out")
    (block,) = read_clicks(tmp_path / "out")
    assert (block.rows.to_pylist()[0]["session_id"], block.rows.to_pylist()[0]["user_id"]) == ("s", "u")


def test_known_names_are_read_in_a_dataset_folder_too_but_a_user_is_no_session_there(tmp_path):
    (tmp_path / "clicks.csv").write_text(
        "event_time,product_id,user_id,user_session\n2019-10-01 00:00:00 UTC,7,u,s\n"
    )
    (block,) = read_clicks(tmp_path)
    row = block.rows.to_pylist()[0]
    assert (row["session_id"], row["item_id"], row["user_id"], row["extra"]) == ("s", "7", "u", None)
    assert "session_id = 'user_session', item_id = 'product_id'" in block.notes[0]
    (tmp_path / "clicks.csv").write_text("event_time,product_id,userId\n2019-10-01,7,u\n")
    with pytest.raises(DatasetFolderError, match="column 'session_id' is missing"):
        list(read_clicks(tmp_path))


@pytest.mark.parametrize(
    ("unit", "numbers", "moment"),
    [
        ("days", ("19783", "19784.5"), "2024-03-01T00:00:00"),
        ("spreadsheet-days", ("45352.5", "45353"), "2024-03-01T12:00:00"),
        ("minutes", ("28488000", "28488001"), "2024-03-01T08:00:00"),
        ("nanoseconds", ("1709251200000000000", "1709251201000000000"), "2024-03-01T00:00:00"),
    ],
)
def test_the_unit_of_times_may_be_named(tmp_path, capsys, unit, numbers, moment):
    (tmp_path / "clicks.csv").write_text(
        "session_id,item_id,event_time\n" + "".join(f"s,i,{number}\n" for number in numbers)
    )
    assert main([str(tmp_path), str(tmp_path / "out"), "--time-unit", unit]) == 0
    (block,) = read_clicks(tmp_path / "out")
    assert block.rows.column("event_time")[0].as_py().strftime("%Y-%m-%dT%H:%M:%S") == moment
    assert f"event_time counts {unit}" in capsys.readouterr().out


def test_times_since_a_session_began_are_refused_with_the_flag_that_helps(tmp_path, capsys):
    (tmp_path / "clicks.csv").write_text("session_id,item_id,event_time\ns,i,0\ns,j,1500\n")
    assert main([str(tmp_path), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "time since the start of the session" in error and "--time-unit" in error


def test_float_ids_of_parquet_are_whole_numbers(tmp_path):
    table = pa.table({"session": [1.0, 1.0], "aid": [40050025016.0, 7.0], "ts": [1661724000.5, 1661724001.0]})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    prepare(tmp_path, tmp_path / "out")
    (block,) = read_clicks(tmp_path / "out")
    assert block.rows.column("item_id").to_pylist() == ["40050025016", "7"]
    assert block.rows.column("event_time")[0].as_py().microsecond == 500_000


def test_one_file_may_be_named(tmp_path):
    (tmp_path / "2019-Oct.csv").write_text(PUBLIC["REES46"][1])
    (tmp_path / "2019-Nov.csv").write_text(PUBLIC["REES46"][1])
    assert prepare(tmp_path / "2019-Nov.csv", tmp_path / "out") == {"clicks.parquet": 2}
    with pytest.raises(DatasetFolderError, match=r"found 2019-Nov.csv, 2019-Oct.csv; name the file itself"):
        prepare(tmp_path, tmp_path / "out")


LOG = "session_id,item_id,event_time\n" + "".join(
    f"s{row // 4},i{row % 5},{1_709_280_000 + row}\n" for row in range(40)
)


@pytest.mark.parametrize(
    ("bad", "flags", "reason"),
    [
        ('s1,"i2,1709280000', [], "the quote that begins value 2 does not close"),
        ("s1,i2", [], "2 values instead of 3"),
        ("s1,i2,soon", ["--time-unit", "seconds"], "event_time 'soon' is no number of seconds"),
    ],
)
def test_a_row_that_cannot_be_read_is_kept_with_its_reason_and_the_rest_is_written(
    tmp_path, capsys, bad, flags, reason
):
    lines = LOG.splitlines()
    (tmp_path / "clicks.csv").write_text("\n".join([*lines[:9], bad, "", *lines[9:]]) + "\n")
    assert main([str(tmp_path), str(tmp_path / "out"), *flags]) == 0
    told = capsys.readouterr().out
    assert (
        f"1 rows refused, such as clicks.csv line 10: {reason}" in told and "clicks.parquet: 40 rows" in told
    )
    (kept,) = map(json.loads, (tmp_path / "out" / REFUSED).read_text().splitlines())
    assert (
        (kept["file"], kept["line"]) == ("clicks.csv", 10)
        and reason in kept["reason"]
        and "s1" in kept["raw"]
    )
    assert load_folder(tmp_path / "out").refused == 0
    (tmp_path / "clicks.csv").write_text(LOG)
    assert main([str(tmp_path), str(tmp_path / "out")]) == 0
    assert not (tmp_path / "out" / REFUSED).exists()


def test_too_many_refused_rows_stop_with_the_reasons_and_leave_what_was_there(tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    (tmp_path / "clicks.csv").write_text(LOG)
    assert main([str(tmp_path), str(out)]) == 0
    before = (out / "clicks.parquet").read_bytes()
    (tmp_path / "clicks.csv").write_text(LOG + "s1,i2\n" * 10)
    assert main([str(tmp_path), str(out)]) == 2
    error = capsys.readouterr().err
    assert "10 of 50 rows refused (20.0%)" in error and "10 x ... values instead of ..." in error
    assert (out / "clicks.parquet").read_bytes() == before
    assert len((out / REFUSED).read_text().splitlines()) == 10
    monkeypatch.setenv("INTENTSTORE_DATASET__MAX_REFUSED_SHARE", "0.3")
    assert main([str(tmp_path), str(out)]) == 0


def test_a_table_that_fails_leaves_none_of_the_others_behind(tmp_path, capsys):
    (tmp_path / "clicks.csv").write_text(LOG)
    (tmp_path / "items.csv").write_text("item_id,title,title\na,b,c\n")
    assert main([str(tmp_path), str(tmp_path / "out")]) == 2
    assert "items.csv: column 'title' stands twice" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_files_of_before_are_named(tmp_path, capsys):
    (tmp_path / "clicks.csv").write_text(LOG)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "clicks_test.parquet").touch()
    assert main([str(tmp_path), str(tmp_path / "out")]) == 0
    assert "holds files of before, which stay: clicks_test.parquet" in capsys.readouterr().out


def test_purchases_in_a_file_of_their_own_stand_beside_the_clicks_with_their_type(tmp_path, capsys):
    source = tmp_path / "yoochoose"
    source.mkdir()
    (source / "yoochoose-clicks.dat").write_text(
        "1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09.868Z,214536500,0\n"
    )
    (source / "yoochoose-buys.dat").write_text("1,2014-04-07T10:59:09.868Z,214536500,12462,1\n")
    assert main([str(source), str(tmp_path / "out")]) == 0
    rows = [row for block in read_clicks(tmp_path / "out") for row in block.rows.to_pylist()]
    assert [(row["item_id"], row["event_type"]) for row in rows] == [
        ("214536502", None),
        ("214536500", None),
        ("214536500", "buys"),
    ]
    said = capsys.readouterr().out
    assert "1 events of type buys, put beside the clicks" in said
    assert "kept aside: buys (purchase, ends interest)" in said and "left aside" not in said
