"""A shop that has clicks and nothing else: every step of the graph, from ingest to live answers that agree
with the batch.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from dagster_project.models import promotion
from dagster_project.models import train as training_run
from dagster_project.run.child import Work, run_step
from dagster_project.run.steps import BATCH, LIVE
from feature_repo.contract.settings import load_settings
from model.config import ModelConfig

CONFIG = """
home = {home}
assets = {assets}
[dataset]
path = {folder}
live_share = 0.1
[intents]
source = "encoder"
[spark]
shuffle_partitions = 2
[kafka]
bootstrap_servers = {brokers}
clicks_topic = "plain-clicks"
recommendations_topic = "plain-answers"
dead_letter_topic = "plain-dead"
partitions = 2
[online]
url = {online}
"""


def write_clicks(folder: Path) -> None:
    """Sixty sessions of five clicks, each within one of three neighbourhoods of four items."""
    folder.mkdir()
    draw, lines = random.Random(3), ["session_id,item_id,event_time"]
    for session in range(60):
        lines += [
            (
                f"s{session},i{4 * (session % 3) + draw.randrange(4)},"
                f"{1_760_000_000 + session * 7_200 + 20 * click}"
            )
            for click in range(5)
        ]
    (folder / "clicks.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def configured(tmp_path, base_settings, services):
    """The settings file of the shop; no items.csv beside its clicks."""
    write_clicks(tmp_path / "shop")
    values = {
        "home": tmp_path / "home",
        "assets": base_settings.assets_dir,
        "folder": tmp_path / "shop",
        "brokers": services.bootstrap_servers,
        "online": services.online_store_url,
    }
    file = tmp_path / "intentstore.toml"
    file.write_text(
        CONFIG.format(**{name: json.dumps(str(value)) for name, value in values.items()}), encoding="utf-8"
    )
    return file


def test_clicks_alone_go_from_ingest_to_live_answers(configured, spark):
    settings = load_settings(configured, os.environ, {})
    work = Work(settings, [], "batch", [], False, {}, str(configured))
    reports = {step.name: run_step(step, None, work, lambda: spark) for step in BATCH}
    assert (
        reports["ingest"].rows == 270
        and reports["ingest"].details["items"] == 0
        and reports["item_vectors"].rows == 0
    )
    # every click but the first of 54 sessions
    assert reports["session_features"].rows == 270 and reports["training_set"].rows == 216

    candidate = training_run.train_candidate(
        settings, ModelConfig(dim=16, epochs=2), progress=lambda line: None
    )
    assert promotion.promote(settings, candidate.version, "test")

    live = {step.name: run_step(step, None, work, lambda: spark) for step in LIVE}
    assert (
        live["replay"].details["answers"] == 30
        and live["score_log"].rows == 30
        and live["kafka_clicks"].rows == 300
    )
    assert live["parity"].details["compared"] > 0
    assert not any(live["parity"].details[kind] for kind in ("mismatch", "missing", "extra", "stale"))
