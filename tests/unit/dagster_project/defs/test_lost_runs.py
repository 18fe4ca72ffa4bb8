"""A run whose process was killed does not stay in progress for ever."""

from __future__ import annotations

import os
import subprocess
import sys

import dagster as dg
import pytest
from dagster._core.events import EngineEventData

from dagster_project.defs import automation
from dagster_project.instance import home as instance_home


@dg.job
def job() -> None:
    """Does nothing; its run is only ever recorded."""


@pytest.fixture
def instance(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def running(instance, pid):
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    if pid is not None:
        instance.report_engine_event(
            f"Started process for run (pid: {pid}).", run, EngineEventData.in_process(pid)
        )
    return run.run_id


def status(instance, run):
    return instance.get_run_by_id(run).status


@pytest.fixture
def own(instance):
    """A process that was started with this home."""
    started = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, env={**os.environ}
    )
    yield started
    started.kill()
    started.wait()


def test_run_of_a_living_process_is_left_alone(instance, own):
    run = running(instance, own.pid)
    assert (
        instance_home.close_lost_runs(instance) == [] and status(instance, run) is dg.DagsterRunStatus.STARTED
    )


def test_run_of_a_killed_process_is_marked_as_failed_by_the_sensor(instance, own):
    run = running(instance, own.pid)
    own.kill()
    own.wait()
    found = automation.lost_runs(dg.build_sensor_context(instance=instance))
    assert run[:8] in found.skip_message and status(instance, run) is dg.DagsterRunStatus.FAILURE


def test_number_that_another_program_got_meanwhile_does_not_count(instance):
    run = running(instance, os.getpid())  # started with another home, or none
    assert instance_home.close_lost_runs(instance) == [run]


def test_run_that_is_still_starting_is_left_alone(instance):
    running(instance, None)
    assert instance_home.close_lost_runs(instance) == []
