"""The quarantine is printed without Spark, and a folder is looked at before it."""

import datetime
import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet
import pytest

from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import QUARANTINE_SCHEMA
from spark_jobs.__main__ import main

REASONS = [
    *[
        f"clicks.csv line {line}: event_time 'x{line}' is no timestamp; expected ISO 8601"
        for line in range(2, 7)
    ],
    *[f"clicks.csv line {line}: item_id '' is blank; give every click an item id" for line in range(7, 9)],
]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("INTENTSTORE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Settings(home=tmp_path / "home")


def _filled(settings):
    """Write the table as a Delta log of one commit."""
    folder = settings.table("quarantine")
    (folder / "_delta_log").mkdir(parents=True)
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    rows = [
        {"source": "shop", "line": line, "reason": reason, "raw": "{}", "ingest_time": now}
        for line, reason in enumerate(REASONS, start=2)
    ]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA), folder / "part.parquet")
    add = {
        "add": {
            "path": "part.parquet",
            "size": (folder / "part.parquet").stat().st_size,
            "partitionValues": {},
            "dataChange": True,
        }
    }
    (folder / "_delta_log" / f"{0:020d}.json").write_text(json.dumps(add) + "\n")


def test_reasons_are_counted_with_an_example_each(home, capsys):
    _filled(home)
    assert main(["quarantine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "7 rows refused"
    assert (
        lines[1].split(maxsplit=1)[0] == "5"
        and "event_time ... is no timestamp: clicks.csv line 2:" in lines[1]
    )


def test_some_rows_are_chosen_by_their_reason_and_all_are_json(home, capsys):
    _filled(home)
    assert main(["quarantine", "--reason", "BLANK", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == 2 and [row["line"] for row in found["details"]["refused"]] == [7, 8]
    assert found["details"]["refused_by"] == {"item_id ... is blank": 2}


def test_no_quarantine_yet_is_one_line(home, capsys):
    assert main(["quarantine"]) == 1
    assert "run `python -m spark_jobs ingest` first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"clicks.csv": "session_id,item,event_time\ns,a,1704067200\n"}, "column 'item_id' is missing"),
        (
            {
                "clicks.csv": "session_id,item_id,event_time\ns,a,1704067200\n",
                "clicks_test.csv": "session_id,item_id\ns,a\n",
            },
            "clicks_test.csv: column 'event_time'",
        ),
        (
            {"clicks.csv": "session_id,item_id,event_time\ns,a,1704067200\n", "items.csv": "id,title\n1,x\n"},
            "items.csv: column 'item_id' is missing",
        ),
        ({"clicks.csv": ""}, "clicks.csv is empty"),
        ({}, "holds no clicks"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_before_spark_starts(
    home, files, words, tmp_path, monkeypatch, capsys
):
    (tmp_path / "shop").mkdir()
    for name, text in files.items():
        (tmp_path / "shop" / name).write_text(text)

    def never(*arguments, **settings):
        raise AssertionError("Spark was started")

    monkeypatch.setattr("spark_jobs.session.spark_session", never)
    assert main(["ingest", "--dataset", str(tmp_path / "shop")]) == 1
    err = capsys.readouterr().err.strip()
    assert words in err and len(err.splitlines()) == 1


def test_a_missing_column_is_said_without_a_jvm(home, tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "clicks.csv").write_text("session_id,item,event_time\ns,a,1704067200\n")
    code = (
        "import sys; from spark_jobs.__main__ import main; code = main(sys.argv[1:]); "
        "print(sorted({'pyspark', 'torch', 'feast', 'pandas'} & set(sys.modules))); exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "ingest", "--dataset", "shop"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        done.returncode == 1 and "column 'item_id' is missing" in done.stderr and done.stdout.strip() == "[]"
    )
