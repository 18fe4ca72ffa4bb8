"""What another team does with Feast alone, each in a new process: no function of ours is called first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import feature_repo

REPO = Path(feature_repo.__file__).parent
READ = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
import datetime as dt
import pandas as pd
from feast import FeatureStore
from pyspark.sql import SparkSession

store = FeatureStore(sys.argv[1])
print("views", len(store.list_feature_views()))
rows = pd.DataFrame({"session_id": ["a"], "event_timestamp": [dt.datetime(2024, 3, 10, 7, tzinfo=dt.UTC)]})
known = store.get_historical_features(rows, ["session_features:click_count"])
print("history", known.to_df()["click_count"].tolist())
print("session", SparkSession.getActiveSession())
print("frame", [row["click_count"] for row in known.to_spark_df().collect()])
answer = store.get_online_features(["session_features:click_count"], [{"session_id": "a"}])
print("online", sorted(answer.to_dict()))
"""
WITHOUT_DELTA = """
import sys
import pandas as pd
from pyspark.sql import SparkSession
from feast import FeatureStore

SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
rows = pd.DataFrame({"session_id": ["a"], "event_timestamp": [pd.Timestamp("2024-03-10", tz="UTC")]})
try:
    FeatureStore(sys.argv[1]).get_historical_features(rows, ["session_features:click_count"]).to_spark_df()
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def ask(lake, valkey, tmp_path):
    """Run a program in an empty folder, with nothing but the environment to find the home."""

    def run(*command):
        environment = {
            **os.environ,
            "INTENTSTORE_HOME": str(lake.home),
            "INTENTSTORE_ASSETS": str(lake.assets_dir),
            "INTENTSTORE_ONLINE__URL": valkey.url,
            "INTENTSTORE_SPARK__DRIVER_MEMORY": "1g",
        }
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    return run


def test_history_and_online_rows_without_a_step_of_ours(ask):
    done = ask(sys.executable, "-W", "ignore", "-c", READ, str(REPO))
    assert done.returncode == 0, done.stderr[-2000:]
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert int(said["views"]) >= 4
    assert said["history"].startswith("[") and said["history"] not in ("[None]", "[nan]")
    assert said["session"] == "None", "pandas rows are read without Spark"
    assert said["frame"] == said["history"].replace(".0", "")
    assert said["online"] == "['click_count', 'session_id']"
    opened = [line for line in done.stderr.splitlines() if line.startswith("no Spark session is active")]
    assert len(opened) == 1


def test_the_feast_command_reads_the_homes_registry(ask):
    done = ask(str(Path(sys.executable).with_name("feast")), "-c", str(REPO), "feature-views", "list")
    assert done.returncode == 0 and "session_features" in done.stdout, done.stderr[-2000:]


def test_a_session_without_delta_is_named_with_the_remedy(ask):
    done = ask(sys.executable, "-W", "ignore", "-c", WITHOUT_DELTA, str(REPO))
    assert done.stdout.startswith("FeatureTableError the active Spark session cannot read Delta; "), (
        done.stderr[-2000:]
    )
