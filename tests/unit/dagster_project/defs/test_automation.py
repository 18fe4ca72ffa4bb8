"""Sensors and conditions without a daemon."""

from __future__ import annotations

import dagster as dg
import pytest

from dagster_project.definitions import defs
from dagster_project.defs import automation, catalogue
from dagster_project.defs.batch import spark_batch
from dagster_project.resources import SettingsResource
from dagster_project.run import observe
from dagster_project.run.steps import BATCH
from streaming.topics import watch as kafka_watch


@pytest.fixture
def resource(settings):
    return SettingsResource(config="/dev/null", home=str(settings.home))


@pytest.fixture
def own_files(monkeypatch, tmp_path):
    monkeypatch.setenv("INTENTSTORE_DATASET__PATH", str(tmp_path))
    (tmp_path / "clicks.csv").write_text("a", encoding="utf-8")
    return tmp_path


def test_conditions_ask_for_nothing_when_all_is_fresh():
    with dg.DagsterInstance.ephemeral() as instance:
        keys = [dg.AssetKey(name) for name in catalogue.assets_of(BATCH)]
        keys += [
            dg.AssetKey(name)
            for name in ("candidate_model", "model_quality", "promoted_model", "model_card", "new_items")
        ]
        for key in keys:
            instance.report_runless_asset_event(dg.AssetMaterialization(key))
        first = dg.evaluate_automation_conditions(defs, instance)
        again = dg.evaluate_automation_conditions(defs, instance, cursor=first.cursor)
        assert again.total_requested == 0


@pytest.mark.parametrize(("passed", "requested"), [(True, 1), (False, 0)])
def test_new_candidate_is_promoted_by_itself_only_if_its_checks_passed(passed, requested):
    candidate, wanted = dg.AssetKey("candidate_model"), dg.AssetSelection.assets("promoted_model")
    checks = defs.get_repository_def().asset_graph.get_check_keys_for_assets({candidate})
    with dg.DagsterInstance.ephemeral() as instance:
        for name in ("candidate_model", "promoted_model"):
            instance.report_runless_asset_event(dg.AssetMaterialization(name))
        first = dg.evaluate_automation_conditions(defs, instance, asset_selection=wanted)
        instance.report_runless_asset_event(dg.AssetMaterialization(candidate))
        for check in checks:
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    candidate, check.name, passed=passed, metadata={}, severity=dg.AssetCheckSeverity.ERROR
                )
            )
        second = dg.evaluate_automation_conditions(
            defs, instance, asset_selection=wanted, cursor=first.cursor
        )
        assert second.get_num_requested(dg.AssetKey("promoted_model")) == requested


def test_new_vectors_reach_the_models_by_themselves():
    wanted, deps = (
        dg.AssetSelection.assets("new_items"),
        [dg.AssetKey(name) for name in ("items", "item_vectors", "promoted_model")],
    )
    checks = defs.get_repository_def().asset_graph.get_check_keys_for_assets(set(deps))
    with dg.DagsterInstance.ephemeral() as instance:
        for key in [*deps, dg.AssetKey("new_items")]:
            instance.report_runless_asset_event(dg.AssetMaterialization(key))
        first = dg.evaluate_automation_conditions(defs, instance, asset_selection=wanted)
        instance.report_runless_asset_event(dg.AssetMaterialization("item_vectors"))
        for check in checks:
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(check.asset_key, check.name, passed=True, metadata={})
            )
        second = dg.evaluate_automation_conditions(
            defs, instance, asset_selection=wanted, cursor=first.cursor
        )
        assert second.get_num_requested(dg.AssetKey("new_items")) == 1


def test_first_look_at_the_folder_only_remembers(resource, own_files):
    found = automation.new_files(dg.build_sensor_context(), settings=resource)
    assert isinstance(found, dg.SensorResult) and found.cursor and not found.run_requests


def test_changed_folder_asks_for_one_run(resource, own_files):
    context = dg.build_sensor_context(cursor="what was before")
    found = automation.new_files(context, settings=resource)
    assert (
        isinstance(found, dg.SensorResult) and found.run_requests is not None and len(found.run_requests) == 1
    )


def test_unchanged_folder_asks_for_none(resource, own_files):
    cursor = observe.files_cursor(resource.load())
    assert isinstance(
        automation.new_files(dg.build_sensor_context(cursor=cursor), settings=resource), dg.SkipReason
    )


def test_broker_that_is_down_is_said_with_the_remedy(resource):
    found = automation.live(dg.build_sensor_context(), settings=resource)
    assert isinstance(found, dg.SkipReason) and "streaming up" in (found.skip_message or "")


def test_live_half_becomes_observations(resource, monkeypatch):
    monkeypatch.setattr(
        kafka_watch, "group_state", lambda settings: kafka_watch.GroupState({"0": 9}, {"0": 7}, 1, 6)
    )
    monkeypatch.setattr(observe, "latency", lambda settings: {"p50_ms": 3.0, "p99_ms": 9.0})
    monkeypatch.setattr(automation, "online_store", lambda settings: {"keys": 4, "bytes": 100})
    found = automation.live(dg.build_sensor_context(), settings=resource)
    assert isinstance(found, dg.SensorResult)
    shown = {
        event.asset_key.to_user_string(): {name: value.value for name, value in event.metadata.items()}
        for event in found.asset_events
    }
    assert shown["live/consumer"] == {"lag": 2, "p50_ms": 3.0, "p99_ms": 9.0, "model_version": "none"}
    assert shown["kafka/dead_letters"]["records"] == 1 and shown["online_store"]["keys"] == 4


def test_failed_run_becomes_one_notice(monkeypatch):
    sent = []
    monkeypatch.setattr(automation.notify, "send", lambda title, text, webhook: sent.append((title, text)))

    @dg.op
    def breaks():
        raise dg.Failure("the broker is down; start it")

    @dg.job
    def job():
        breaks()

    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        logged = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
        event = logged[0].get_dagster_event()
        context = dg.build_run_status_sensor_context(
            sensor_name="failures",
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            dagster_event=event,
        ).for_run_failure()
        automation.failures(context)
    assert len(sent) == 1 and "breaks" in sent[0][0]


def test_daily_assets_backfill_in_one_run():
    from dagster_project.defs.batch import spark_daily

    assert (
        spark_daily.backfill_policy is not None and spark_daily.backfill_policy.max_partitions_per_run is None
    )


def test_steps_share_one_pool_so_that_one_jvm_runs_at_a_time():
    assert spark_batch.op.pool == "spark"
