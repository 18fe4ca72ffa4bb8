"""A Spark cluster of two workers on this machine: a step of the graph gives the same table there as in one
JVM.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import dagster as dg
import pyspark
import pytest

from dagster_project.defs.batch import spark_batch
from dagster_project.resources import SettingsResource
from feature_repo.contract import processes as bound
from feature_repo.contract import tables as columns
from spark_jobs.lake.lake import Lake
from spark_jobs.lake.log import DeltaLog
from streaming.services.processes import free_port

SPARK_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"
START_SECONDS = 60
SETTINGS = """
home = "{home}"
assets = "{assets}"
[dataset]
path = "{folder}"
[spark]
driver_memory = "512m"
shuffle_partitions = 2
java_options = "-XX:TieredStopAtLevel=1"
conf = {{ "spark.executor.memory" = "512m", "spark.executor.cores" = "1", "spark.executor.extraJavaOptions" = "-XX:TieredStopAtLevel=1" }}
"""  # noqa: E501


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A master and two workers of one core each; yields the master's address."""
    folder, port, page = tmp_path_factory.mktemp("cluster"), free_port(), free_port()
    environment = {
        **os.environ,
        "SPARK_HOME": str(SPARK_CLASS.parent.parent),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "192m",
        "SPARK_DAEMON_JAVA_OPTS": "-XX:TieredStopAtLevel=1",
    }
    master = [
        "org.apache.spark.deploy.master.Master",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--webui-port",
        str(page),
    ]
    worker = [
        "org.apache.spark.deploy.worker.Worker",
        f"spark://127.0.0.1:{port}",
        "--cores",
        "1",
        "--memory",
        "600m",
        "--webui-port",
        "0",
    ]
    commands = [master, *([*worker, "-d", str(folder / f"work{number}")] for number in range(2))]
    started = [
        bound.start([str(SPARK_CLASS), *command], env=environment, log=folder / f"log{number}")
        for number, command in enumerate(commands)
    ]
    try:
        wait_for_workers(started[0], f"http://127.0.0.1:{page}/json/", 2)
        yield f"spark://127.0.0.1:{port}"
    finally:
        for process in reversed(started):
            bound.stop(process, 5)


def wait_for_workers(master: subprocess.Popen[bytes], address: str, number: int) -> None:
    for _ in range(START_SECONDS * 2):
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:
                if json.load(answer)["aliveworkers"] == number:
                    return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            pass  # it is still starting
        try:
            master.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"the master ended with {master.returncode}")
    raise AssertionError(f"no {number} workers within {START_SECONDS} s")


def test_step_on_a_cluster_gives_the_table_of_one_jvm(cluster, spark, settings, assets_dir, tmp_path):
    from spark_jobs.ingest import job as ingest
    from spark_jobs.sessions import cut as sessionise

    shop = tmp_path / "shop"
    shop.mkdir()
    lines = [
        f"s{number % 7},i{number % 5},2026-01-0{1 + number % 9}T10:{number % 60:02d}:00"
        for number in range(300)
    ]
    (shop / "clicks.csv").write_text("\n".join(["session_id,item_id,event_time", *lines]), encoding="utf-8")
    local = settings.model_copy(update={"dataset": settings.dataset.model_copy(update={"path": shop})})
    ingest.run(Lake(spark, local))
    home = tmp_path / "cluster-home"
    shutil.copytree(local.lake, home / "lake")
    sessionise.run(Lake(spark, local))
    config = tmp_path / "settings.toml"
    config.write_text(SETTINGS.format(home=home, assets=assets_dir, folder=shop), encoding="utf-8")

    resource = SettingsResource(config=str(config), spark_master=cluster)
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [spark_batch],
            selection=[dg.AssetKey("sessions")],
            instance=instance,
            resources={"settings": resource},
        )
    assert result.success
    names = columns.SCHEMAS[columns.SESSIONS].names
    found, wanted = (
        sorted(map(str, DeltaLog(one.table(columns.SESSIONS)).read(names).to_pylist()))
        for one in (resource.load(), local)
    )
    assert found == wanted and len(wanted) > 20
