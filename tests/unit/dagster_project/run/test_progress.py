"""What a person at the graph reads while Spark works."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from dagster_project.run.progress import LOG_LINES, Progress, end_of_log, stages


class Tracker:
    """One stage that moves with every look."""

    done = 0

    def getActiveStageIds(self):  # noqa: N802 - Spark's name
        return [3, 4]

    def getStageInfo(self, stage):  # noqa: N802 - Spark's name
        Tracker.done += 1
        return (
            SimpleNamespace(stageId=stage, numTasks=8, numCompletedTasks=min(8, Tracker.done))
            if stage == 3
            else None
        )


SESSION = SimpleNamespace(sparkContext=SimpleNamespace(statusTracker=Tracker))


def test_running_stages_are_named_with_their_tasks():
    Tracker.done = 4
    assert stages(SESSION) == "stage 3: 5 of 8 tasks"


def test_progress_is_told_until_the_step_ends_and_only_when_it_moves():
    Tracker.done = 0
    lines, enough = [], threading.Event()

    def say(line):
        lines.append(line)
        if len(lines) == 4:
            enough.set()

    with Progress("sessionise", lambda: SESSION, say, every_seconds=0.01):
        assert enough.wait(30)
    told = len(lines)
    assert lines[0].startswith("sessionise: stage 3: ") and len(set(lines)) == told


def test_nothing_is_told_before_spark_is_up():
    lines = []
    with Progress("ingest", lambda: None, lines.append, every_seconds=0.01):
        pass
    assert lines == []


def test_end_of_sparks_log_is_short(tmp_path):
    assert end_of_log(tmp_path) == ""
    (tmp_path / "spark").mkdir()
    (tmp_path / "spark" / "driver.log").write_text(
        "\n".join(f"line {number}" for number in range(100)), encoding="utf-8"
    )
    assert (
        end_of_log(tmp_path).splitlines()[-1] == "line 99"
        and len(end_of_log(tmp_path).splitlines()) == LOG_LINES
    )
