"""The graph as it is defined: its shape is pinned by a snapshot, so that no edge, check or sensor changes
unseen.
"""

from __future__ import annotations

import json
import subprocess
import sys

import dagster as dg
import pytest

from dagster_project import code
from dagster_project.definitions import defs
from dagster_project.defs.catalogue import CATALOGUE
from dagster_project.run import steps

HEAVY = ("torch", "pyspark", "transformers", "feast", "kafka", "pandas", "matplotlib", "redis")


@pytest.fixture(scope="module")
def graph():
    return defs.get_repository_def().asset_graph


def fresh_for(policy):
    return None if policy is None else str(policy.fail_window.to_timedelta())


def names(keys):
    return sorted(key.to_user_string() for key in keys)


def test_assets_their_deps_groups_and_kinds(graph, snapshot):
    shape = {
        key.to_user_string(): {
            "deps": names(graph.get(key).parent_keys),
            "group": graph.get(key).group_name,
            "kinds": sorted(
                tag.removeprefix("dagster/kind/")
                for tag in graph.get(key).tags
                if tag.startswith("dagster/kind/")
            ),
            "partitions": type(graph.get(key).partitions_def).__name__
            if graph.get(key).partitions_def
            else None,
            "made_here": graph.get(key).is_materializable,
            "automated": graph.get(key).automation_condition is not None,
            "fresh_for": fresh_for(graph.get(key).freshness_policy),
        }
        for key in sorted(graph.get_all_asset_keys())
    }
    assert shape == snapshot


def test_checks_and_which_of_them_stop_what_follows(graph, snapshot):
    assert {
        key.to_user_string(): graph.get(key).blocking for key in sorted(graph.asset_check_keys)
    } == snapshot


def test_jobs_schedules_and_sensors(snapshot):
    repository = defs.get_repository_def()
    named = sorted(
        (job for job in repository.get_all_jobs() if not job.name.startswith("__")), key=lambda job: job.name
    )
    shape = {
        "jobs": {job.name: names(job.asset_layer.selected_asset_keys) for job in named},
        "schedules": {
            one.name: [one.cron_schedule, one.default_status.value] for one in repository.schedule_defs
        },
        "sensors": {
            one.name: [one.minimum_interval_seconds, one.default_status.value]
            for one in sorted(repository.sensor_defs, key=lambda one: one.name)
        },
    }
    assert shape == snapshot


def test_everything_is_on_without_toggling():
    repository = defs.get_repository_def()
    assert {one.default_status for one in repository.sensor_defs} == {dg.DefaultSensorStatus.RUNNING}
    assert {one.default_status for one in repository.schedule_defs} == {dg.DefaultScheduleStatus.RUNNING}


def test_every_asset_has_words_owner_and_group(graph):
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description and node.owners and node.group_name not in (None, "default"), key


def test_everything_that_is_made_here_has_a_freshness_policy_and_only_days_and_live_wait_for_a_person(graph):
    made = [graph.get(key) for key in graph.get_all_asset_keys() if graph.get(key).is_materializable]
    assert [node.key for node in made if node.freshness_policy is None] == []
    assert {node.key.path[0] for node in made if node.automation_condition is None} == {"daily", "live"}


def test_tables_carry_their_columns(graph):
    for asset, table in steps.TABLES.items():
        schema = graph.get(dg.AssetKey(asset.split("/"))).metadata["dagster/column_schema"]
        assert schema.schema.columns if hasattr(schema, "schema") else schema.columns, table


def test_every_step_has_words_for_each_asset():
    assert {
        asset for family in (steps.BATCH, steps.LIVE, steps.DAILY) for step in family for asset in step.assets
    } == set(CATALOGUE)


def test_every_step_has_code_of_its_own_job():
    for step in (*steps.BATCH, *steps.LIVE, *steps.DAILY):
        assert step.code_version() == code.code_version(step.module)


def test_steps_come_after_what_they_read():
    for family in (steps.BATCH, steps.LIVE, steps.DAILY):
        made: set[str] = set()
        own = {asset for step in family for asset in step.assets}
        for step in family:
            assert set(step.reads) & own <= made, step.name
            made |= set(step.assets)


def test_loading_the_definitions_brings_in_nothing_heavy():
    code = (
        f"import sys, json, dagster_project.definitions; print(json.dumps([name for name in {HEAVY!r} if "
        "name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []
