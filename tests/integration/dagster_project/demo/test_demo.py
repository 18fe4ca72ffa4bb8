"""The whole path through Dagster on a shop's own files: interrupted, killed, run to the end."""

from __future__ import annotations

import os

import dagster as dg
import pytest

from dagster_project.models import train as training_run
from feature_repo.contract.settings import load_settings
from spark_jobs.lake.log import DeltaLog


@pytest.fixture(scope="module")
def settings(demo):
    return load_settings(demo.config, {}, {})


def test_ctrl_c_ends_it_in_one_line_and_leaves_no_process(demo):
    code, said = demo.interrupted
    assert (
        code == 130 and "interrupted; tables are at their last whole version, run it again to go on" in said
    )
    assert "Traceback" not in said and demo.after_interrupt == []


def test_kill_9_leaves_no_process_that_works(demo):
    assert demo.killed and demo.after_kill == []


def test_second_start_ends_well(demo):
    assert demo.code == 0, demo.errors[-3000:]


def test_summary_shows_every_part(demo):
    for words in (
        "Tables",
        "Intents",
        "Quality",
        "Streaming",
        "Live against batch features",
        "live sessions, drawn by a fixed seed",
        "model against best baseline",
        "Checks",
        "make ui",
    ):
        assert words in demo.output
    assert "not made in this run" not in demo.output
    assert (demo.home / "demo" / "report.html").read_text(encoding="utf-8").count("<h2>") >= 7


def test_steps_done_before_the_kill_were_not_repeated(demo):
    assert "was killed; going on" in demo.errors
    assert "done   clicks: 285 rows (unchanged)" in demo.errors


def test_every_held_out_click_was_answered_and_parity_is_zero(settings):
    assert DeltaLog(settings.table("score_log")).snapshot().rows() == 15
    assert DeltaLog(settings.table("clicks")).snapshot().rows() == 300


def test_model_is_promoted_with_its_versions(settings):
    version = training_run.promoted_version(settings)
    assert version is not None
    manifest = training_run.manifest(settings, version)
    assert manifest["delta_versions"]["training_set"] >= 0 and manifest["metrics"]["rows"]
    assert "# Model" in (settings.models_dir / version / "card.md").read_text(encoding="utf-8")


def test_run_is_in_the_graph_with_pictures(demo, monkeypatch):
    monkeypatch.setitem(os.environ, "DAGSTER_HOME", str(demo.home / "dagster"))
    with dg.DagsterInstance.get() as instance:
        runs = instance.get_runs(limit=5)  # the newest first: to the end, killed, interrupted
        assert [run.status.value for run in runs] == ["SUCCESS", "FAILURE", "FAILURE"]
        event = instance.get_latest_materialization_event(dg.AssetKey("candidate_model"))
        assert event is not None and event.asset_materialization is not None
        assert "data:image/png;base64," in str(event.asset_materialization.metadata["quality_plot"].value)


def test_services_went_with_the_demo(demo):
    assert not (demo.home / "services" / "endpoints.json").exists()
