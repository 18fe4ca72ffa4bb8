"""Files in the score log's folder that are none of the consumer's."""

from __future__ import annotations

import pyarrow as pa
import pytest

from feature_repo.contract.tables import SCORE_LOG_SCHEMA
from spark_jobs.ingest.score_log import read_score_log

NAMES = SCORE_LOG_SCHEMA.names


def file_of(folder, table):
    file = folder / "clicks-0-0-1.arrow"
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return file


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"a": [1]}),
        pa.table({name: pa.nulls(1) for name in NAMES}),
        pa.table({name: [{"x": 1}] for name in NAMES}),
        pa.Table.from_arrays([pa.array([1])] * 2, names=["topic", "topic"]),
    ],
    ids=["other columns", "nothing in them", "other types", "one twice"],
)
def test_an_arrow_file_of_others_is_left_where_it_is(tmp_path, table, caplog):
    file = file_of(tmp_path, table)
    assert read_score_log(file) is None
    assert file.exists() and str(file) in caplog.text


@pytest.mark.parametrize("content", [b"", b"hello", b"ARROW1", b"ARROW1\0\0" + b"\xff" * 200, b"\xff" * 64])
def test_another_kind_of_file_is_left_where_it_is(tmp_path, content, caplog):
    file = tmp_path / "x.arrow"
    file.write_bytes(content)
    assert read_score_log(file) is None
    assert file.exists() and str(file) in caplog.text


def test_an_empty_score_log_of_ours_is_read(tmp_path):
    assert read_score_log(file_of(tmp_path, SCORE_LOG_SCHEMA.empty_table())).num_rows == 0
