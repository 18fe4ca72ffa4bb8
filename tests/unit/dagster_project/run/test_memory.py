"""Steps run again exactly when something they read has changed."""

from __future__ import annotations

import pytest

from dagster_project.lake.days import Days
from dagster_project.run import steps
from dagster_project.run.memory import Report, StepMemory
from feature_repo.contract.settings import load_settings
from spark_jobs.ingest.held_out import held_out_file

SESSIONISE = steps.step_of("sessions")


@pytest.fixture
def memory(settings, write_table, click):
    write_table("clicks", [click(1)])
    write_table("sessions", [{"session_id": "s1", "length": 1}])
    found = StepMemory(settings)
    found.remember(SESSIONISE, found.now(SESSIONISE), Report("sessions", rows=1))
    return found


def test_nothing_changed_skips_with_the_old_report(memory):
    assert memory.unchanged(SESSIONISE) == Report("sessions", rows=1, skipped=True)


def test_new_input_version_runs_again(memory, write_table, click):
    write_table("clicks", [click(2)])
    assert memory.unchanged(SESSIONISE) is None


def test_changed_setting_runs_again(memory, settings):
    other = load_settings(None, {"INTENTSTORE_SESSION__GAP_MINUTES": "3"}, {"home": str(settings.home)})
    assert StepMemory(other).unchanged(SESSIONISE) is None


def test_setting_that_the_step_does_not_read_changes_nothing(memory, settings):
    other = load_settings(None, {"INTENTSTORE_HTTP__PORT": "1234"}, {"home": str(settings.home)})
    assert StepMemory(other).unchanged(SESSIONISE) is not None


def test_changed_code_runs_again(memory, monkeypatch):
    monkeypatch.setattr(steps.Step, "code_version", lambda step: "other")
    assert memory.unchanged(SESSIONISE) is None


def test_lost_output_table_runs_again(memory, settings):
    (settings.table("sessions") / "_delta_log" / f"{0:020d}.json").unlink()
    assert memory.unchanged(SESSIONISE) is None


def test_other_day_is_another_memory(memory):
    assert memory.unchanged(SESSIONISE, Days.parse("2026-01-05")) is None


def test_torn_memory_file_only_costs_a_rerun(memory, settings):
    next((settings.home / "dagster" / "steps").iterdir()).write_text("{", encoding="utf-8")
    assert memory.unchanged(SESSIONISE) is None


def test_new_file_in_the_dataset_folder_runs_ingest_again(settings, tmp_path, write_table, click):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "clicks.csv").write_text("session_id,item_id,event_time\n", encoding="utf-8")
    own = load_settings(None, {}, {"home": str(settings.home), "dataset.path": str(folder)})
    ingest, memory = steps.step_of("clicks"), StepMemory(own)
    for name in ingest.assets:
        write_table(name, [])
    memory.remember(ingest, memory.now(ingest), Report("clicks"))
    assert memory.unchanged(ingest) is not None
    (folder / "items.csv").write_text("item_id,title\n", encoding="utf-8")
    assert memory.unchanged(ingest) is None


def test_topic_that_grew_runs_the_kafka_step_again(settings, write_table):
    step = steps.step_of("live/clicks")
    write_table("clicks", [])
    memory = StepMemory(settings, lambda: {"0": 5})
    memory.remember(step, memory.now(step), Report("clicks"))
    assert memory.unchanged(step) is not None
    assert StepMemory(settings, lambda: {"0": 6}).unchanged(step) is None


def test_clicks_newly_held_back_are_replayed(settings, write_table):
    step = steps.step_of("live/replay")
    memory = StepMemory(settings)
    held_out = held_out_file(settings)
    held_out.parent.mkdir(parents=True)
    held_out.write_bytes(b"five clicks")
    memory.remember(step, memory.now(step), Report("live/replay"))
    (held_out.parent / "report.html").write_text("of the demo", encoding="utf-8")
    assert memory.unchanged(step) is not None
    held_out.write_bytes(b"five clicks and one")
    assert memory.unchanged(step) is None


def test_secrets_are_never_in_the_fingerprint_as_they_are(settings):
    from pydantic import SecretStr

    from dagster_project.run.memory import plain

    assert "hunter2" not in str(plain({"url": SecretStr("hunter2")}))
