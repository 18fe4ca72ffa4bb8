"""Every command that reads a folder x every bad kind of folder: one line with the file's name, never empty,
never of a library.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from model.__main__ import main as model_main
from model.data.prepare import main as prepare_main

HEADER = "session_id,item_id,event_time\n"
GOOD = HEADER + "".join(f"s{row // 4},i{row % 7},{1_709_280_000 + row}\n" for row in range(60))
FOREIGN = re.compile(
    r"Traceback|Arrow(Invalid|Type|Key)|KeyError|Exception|Error:|None$|: $|\bpyarrow\b|0x[0-9a-f]{6}"
)


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    return lambda folder: (
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode()) and None
    )


def parquet(name: str, **columns: pa.Array) -> Callable[[Path], None]:
    rows = {"session_id": ["s"] * 3, "item_id": ["a", "b", "c"], "event_time": ["2024-03-01T10:00:00Z"] * 3}

    def make(folder: Path) -> None:
        table = (
            pa.table({**rows, **columns})
            if name.startswith("clicks")
            else pa.table({"item_id": ["a", "b", "c"], **columns})
        )
        pyarrow.parquet.write_table(table, folder / name)

    return make


def sequences_and_a_test(folder: Path) -> None:
    text("sequences.txt", "s i1 i2\n")(folder)
    text("clicks_test.csv", GOOD)(folder)


def parquet_of_no_row(folder: Path) -> None:
    parquet("clicks.parquet")(folder)
    table = pyarrow.parquet.read_table(folder / "clicks.parquet")
    pyarrow.parquet.write_table(table.slice(0, 0), folder / "clicks.parquet")


def cut(make: Callable[[Path], None]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        make(folder)
        (file,) = folder.iterdir()
        file.write_bytes(file.read_bytes()[:-20])

    return spoil


def nested(folder: Path) -> None:
    (folder / "clicks.parquet" / "day=1").mkdir(parents=True)


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "nothing": (lambda folder: None, "holds"),
    "empty file": (text("clicks.csv", ""), "clicks.csv"),
    "header alone": (text("clicks.csv", HEADER), "click"),
    "column twice": (
        text("clicks.csv", "session_id,item_id,event_time,item_id\ns,a,2024-03-01,a\n"),
        "clicks.csv",
    ),
    "column missing": (text("clicks.csv", "session_id,item_id\ns,a\n"), "clicks.csv"),
    "utf-16": (text("clicks.csv", GOOD.encode("utf-16")), "clicks.csv"),
    "zip as csv": (text("clicks.csv", b"PK\x03\x04rest"), "clicks.csv"),
    "gzip as csv": (text("clicks.csv", gzip.compress(GOOD.encode())), "clicks.csv"),
    "gzip cut": (cut(text("clicks.csv.gz", gzip.compress(GOOD.encode()))), "clicks.csv.gz"),
    "csv as parquet": (text("clicks.parquet", GOOD), "clicks.parquet"),
    "parquet cut": (cut(parquet("clicks.parquet")), "clicks.parquet"),
    "parquet empty": (text("clicks.parquet", ""), "clicks.parquet"),
    "folder without parts": (nested, "clicks.parquet"),
    "list of items": (parquet("clicks.parquet", item_id=pa.array([["a"], ["b"], ["c"]])), "clicks.parquet"),
    "map of users": (
        parquet("clicks.parquet", session_id=pa.array([[("a", 1)]] * 3, pa.map_(pa.string(), pa.int64()))),
        "clicks.parquet",
    ),
    "struct of items": (parquet("clicks.parquet", item_id=pa.array([{"id": 1}] * 3)), "clicks.parquet"),
    "bytes": (parquet("clicks.parquet", session_id=pa.array([b"a"] * 3)), "clicks.parquet"),
    "durations": (
        parquet("clicks.parquet", event_time=pa.array([1, 2, 3], pa.duration("s"))),
        "clicks.parquet",
    ),
    "times since a start": (text("clicks.csv", HEADER + "s,a,0\ns,b,1500\n"), "clicks.csv"),
    "struct title": (parquet("items.parquet", title=pa.array([{"en": "a"}] * 3)), "items.parquet"),
    "items empty": (text("items.csv", ""), "items.csv"),
    "title a truth value": (parquet("items.parquet", title=pa.array([True] * 3)), "items.parquet"),
    "lists of numbers": (parquet("items.parquet", category=pa.array([[1]] * 3)), "items.parquet"),
    "times of day": (
        parquet("clicks.parquet", event_time=pa.array([1, 2, 3], pa.time64("us"))),
        "clicks.parquet",
    ),
    "sequences and a test": (sequences_and_a_test, "clicks_test.csv"),
    "no line of names": (text("clicks.csv", "7,1,7\n7,2,7\n"), "clicks.csv"),
    "parquet without a row": (parquet_of_no_row, "click"),
    "items column twice": (text("items.csv", "item_id,title,title\na,b,c\n"), "items.csv"),
}


def ingest(folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The command without a JVM: a folder that cannot be read is refused before Spark has anything to do."""
    from spark_jobs import session as spark_session
    from spark_jobs.__main__ import main as spark_main

    class NoSpark:
        def stop(self) -> None: ...

    monkeypatch.setattr(spark_session, "spark_session", lambda *given: NoSpark())
    return spark_main(["ingest", "--dataset", str(folder), "--set", f"home={home}"])


@pytest.mark.parametrize("command", ["benchmark", "study", "prepare", "ingest"])
@pytest.mark.parametrize("kind", BAD)
def test_each_command_refuses_each_bad_folder_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    kind: str,
) -> None:
    monkeypatch.setenv("INTENTSTORE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    folder, out = tmp_path / "shop", tmp_path / "out"
    folder.mkdir()
    make, named = BAD[kind]
    make(folder)
    if named.startswith("items"):
        (folder / "clicks.csv").write_text(GOOD)
    options = ["--set", "text=false", "--intents", "none"]
    run = {
        "benchmark": lambda: model_main(
            ["benchmark", str(folder), "--out", str(out), "--no-text", "--intents", "none"]
        ),
        "study": lambda: model_main(["study", str(folder), "--out", str(out), *options]),
        "prepare": lambda: prepare_main([str(folder), str(out)]),
        "ingest": lambda: ingest(folder, tmp_path / "home", monkeypatch),
    }[command]
    assert run() in (1, 2)
    (line,) = [
        line for line in capsys.readouterr().err.splitlines() if not line.startswith(("20", "ingest:"))
    ]
    assert named in line and len(line) > 40 and not FOREIGN.search(line), line
