"""A run in which nothing changed starts no child; checks still speak."""

from __future__ import annotations

import dagster as dg
import pytest

from dagster_project.defs.batch import spark_batch
from dagster_project.resources import SettingsResource
from dagster_project.run import steps
from dagster_project.run.memory import Report, StepMemory
from feature_repo.contract import processes as bound


@pytest.fixture
def no_child(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a child process was started")

    monkeypatch.setattr(bound, "start", refuse)


@pytest.fixture
def run(settings):
    def materialise(*assets):
        with dg.DagsterInstance.ephemeral() as instance:
            return dg.materialize(
                [spark_batch],
                selection=[dg.AssetKey(name) for name in assets],
                instance=instance,
                raise_on_error=False,
                resources={"settings": SettingsResource(config="/dev/null", home=str(settings.home))},
            )

    return materialise


@pytest.fixture
def remembered(settings, write_table, click):
    def remember(name, *rows):
        step = steps.step_of(name)
        for asset in step.assets:
            write_table(asset, list(rows) if asset == name else [])
        memory = StepMemory(settings)
        memory.remember(step, memory.now(step), Report(name, rows=len(rows), seconds=3.0))

    return remember


def test_unchanged_steps_are_reported_without_a_jvm(run, remembered, click, no_child):
    remembered("clicks", click(1))
    result = run("clicks", "items", "quarantine")
    assert result.success
    done = {
        event.asset_key.to_user_string(): event.materialization
        for event in result.get_asset_materialization_events()
    }
    assert set(done) == {"clicks", "items", "quarantine"}
    assert done["clicks"].metadata["unchanged"].value is True
    assert done["clicks"].metadata["dagster/row_count"].value == 1
    assert done["clicks"].tags["dagster/data_version"] == "0"


def test_blocking_check_fails_the_run_with_its_reason(run, remembered, click, no_child):
    remembered("clicks", click(1), click(1))
    result = run("clicks")
    assert not result.success
    texts = [
        event.step_failure_data.user_failure_data.description
        for event in result.all_events
        if event.event_type_value == "STEP_FAILURE"
    ]
    assert "clicks/keys" in texts[0] and "more than once" in texts[0]


def test_child_that_is_killed_is_said_with_the_remedy(run, monkeypatch):
    real = bound.start
    monkeypatch.setattr(
        bound, "start", lambda command, **options: real(["sh", "-c", "kill -9 $$"], **options)
    )
    result = run("clicks")
    assert not result.success
    event = next(event for event in result.all_events if event.event_type_value == "STEP_FAILURE")
    assert "run the step again" in event.step_failure_data.user_failure_data.description
