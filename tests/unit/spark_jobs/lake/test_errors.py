"""What a failed Spark job says: the cause out of the worker's own error, in one line."""

from __future__ import annotations

import pytest

from feature_repo.contract.settings import Settings
from spark_jobs.__main__ import _unexpected
from spark_jobs.lake.errors import explain, newest_log, one_line, worker_cause
from spark_jobs.session import KEPT_LOGS, _new_log

FRAMES = '  File "/x/worker.py", line 3, in process\n    serializer.dump_stream(out)\n           ^^^^^\n'
HEAD = (
    "\n  An exception was thrown from the Python worker. Please see the stack trace below.\nTraceback "
    "(most recent call last):\n"
)
JVM = (
    "An error occurred while calling o88.parquet.\n: org.apache.spark.SparkException: Job aborted due to "
    "stage failure: Task 0 in stage 3.0 failed 1 times: org.apache.spark.api.python.PythonException: "
    "Traceback (most recent call last):\n"
)
BEHIND = (
    "\n\n\tat org.apache.spark.api.python.BasePythonRunner.read(PythonRunner.scala:581)\n"
    "\tat java.base/java.lang.Thread.run\n\nDriver stacktrace:\n\tat org.x\n"
)


@pytest.mark.parametrize("before", [HEAD, JVM])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            (
                "UnicodeEncodeError: 'utf-8' codec can't encode character '\\ud800' in position 2: "
                "surrogates not allowed"
            ),
            None,
        ),
        ("KeyError: 'title'", None),
        ("MemoryError", None),
        ("model.x.OwnError: item 7\nsecond line\nlast line", "model.x.OwnError: item 7 ... last line"),
        (
            "ValueError: first\n\n"
            "During handling of the above exception, another exception occurred:\n\nTraceback (most recent "
            f"call last):\n{FRAMES}TypeError: second",
            "TypeError: second",
        ),
    ],
)
def test_a_worker_s_error_tells_its_cause(tmp_path, before, error, said):
    text = f"{before}{FRAMES}{error}{BEHIND}"
    assert worker_cause(text) == f"a Python worker failed: {said or error}" == one_line(RuntimeError(text))
    line = explain(text, "session_intents", Settings(home=tmp_path))
    assert (
        (said or error) in line
        and "session_intents" in line
        and "\n" not in line
        and "stack trace below" not in line
    )
    line = _unexpected(RuntimeError(text), tmp_path)
    assert (said or error) in line and "\n" not in line and "stack trace below" not in line


def test_our_own_error_in_a_worker_stands_alone(tmp_path):
    text = f"{JVM}{FRAMES}spark_jobs.job.JobError: 'x.gguf' cannot be read; fetch it again{BEHIND}"
    assert explain(text, "intent_cache", Settings(home=tmp_path)) == "'x.gguf' cannot be read; fetch it again"


def test_a_worker_that_was_killed_is_told_with_the_remedy():
    assert "spark.master" in worker_cause(
        "org.apache.spark.SparkException: Python worker exited unexpectedly (crashed)\n\tat x"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "org.apache.spark.SparkException: no worker\n\tat x",
        "Traceback (most recent call last):\n",
    ],
)
def test_other_errors_are_not_taken_for_a_worker_s(text):
    assert worker_cause(text) == ""


def test_each_start_of_spark_has_a_log_of_its_own(tmp_path):
    (tmp_path / "spark").mkdir()
    (tmp_path / "spark" / "driver.log").write_text("of an older version")
    logs = []
    for place in range(3):
        logs.append(_new_log(tmp_path / "spark", f"intentstore dagster run-{place}"))
        logs[-1].write_text(str(place))
        assert newest_log(tmp_path) == logs[-1] and (tmp_path / "spark" / "driver.log").read_text() == str(
            place
        )
    assert [log.read_text() for log in logs] == ["0", "1", "2"] and all(
        f"run-{place}" in log.name for place, log in enumerate(logs)
    )
    assert "of an older version" in {log.read_text() for log in logs[0].parent.iterdir()}
    for _ in range(KEPT_LOGS):
        newest = _new_log(tmp_path / "spark", "x")
        newest.touch()
    assert len(list(newest.parent.iterdir())) <= KEPT_LOGS and newest.exists()
