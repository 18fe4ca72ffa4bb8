"""Bad input through the real graph: which asset failed, what the message names, and that nothing downstream
ran.
"""

from __future__ import annotations

import datetime
import logging
from concurrent.futures import ThreadPoolExecutor

from secret_settings import ENDPOINT, KAFKA, REST, hushed, online

from dagster_project.lake.days import Days
from dagster_project.resources import SettingsResource
from dagster_project.run import child as spark_steps
from dagster_project.run import steps
from dagster_project.run.memory import StepMemory
from feature_repo.contract import tables as columns
from spark_jobs.lake.log import DeltaLog
from streaming.topics import ensure as topics
from streaming.topics import watch as kafka_watch

DAY = "2026-01-02"
BROKER_TIMEOUT_MS = 500


def test_click_file_without_a_column_stops_at_clicks(graph):
    graph.write_clicks(head="session_id,item_id,moment")
    good, text, made = graph("clicks", "items", "quarantine", "sessions", "candidate_model")
    assert not good and made == set()
    assert text.startswith("ingest: ") and "column 'event_time' is missing" in text and "rename" in text
    assert DeltaLog(graph.settings.table(columns.SESSIONS)).version() < 0


def test_day_without_clicks_stops_at_its_first_asset(graph):
    good, text, made = graph("daily/clicks", "daily/sessions", "daily/session_features", day=DAY)
    assert not good and made == {"daily/clicks"}
    assert f"ingest {DAY}: check daily/clicks/has_clicks failed" in text and "dataset folder" in text
    assert DeltaLog(graph.settings.table(columns.SESSIONS)).version() < 0


def test_endpoint_that_is_down_stops_before_the_training_set_and_says_no_secret(graph, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    down = f"{KAFKA}{online(1)}{ENDPOINT}max_calls = 2\n{REST}"
    names = (
        "clicks",
        "items",
        "item_vectors",
        "sessions",
        "session_text",
        "session_intents",
        "session_features",
        "training_set",
    )
    good, text, made = graph(*names, more=down)
    assert not good and "training_set" not in made and "session_intents" in made
    assert "intents: check session_intents/model_answers failed" in text and "endpoint" in text
    settings = SettingsResource(config=str(graph.shop.parent / "settings.toml")).load()
    # not remembered as done
    assert StepMemory(settings).unchanged(steps.step_of("session_intents")) is None
    printed, files = capfd.readouterr(), graph.settings.home.rglob("*.log")
    hushed("\n".join([text, printed.out, printed.err, caplog.text, *(file.read_text() for file in files)]))


def test_broker_that_is_down_stops_the_live_half(graph, monkeypatch):
    monkeypatch.setattr(kafka_watch, "TIMEOUT_MS", BROKER_TIMEOUT_MS)
    monkeypatch.setattr(topics, "_TIMEOUT_MS", BROKER_TIMEOUT_MS)
    down = '[kafka]\nbootstrap_servers = "127.0.0.1:9"\n[online]\nurl = "redis://127.0.0.1:9/0"\n'
    good, text, made = graph("live/replay", "live/recommendations", "live/clicks", "live/parity", more=down)
    assert not good and made == set()
    assert text.startswith("replay: ") and "127.0.0.1:9" in text


def test_two_runs_of_one_day_at_once_give_each_click_once(graph):
    graph("clicks", day=None)
    settings = SettingsResource(config=str(graph.shop.parent / "settings.toml")).load()
    step = steps.step_of("daily/session_features")
    day = Days(datetime.date(2026, 1, 3), datetime.date(2026, 1, 3))
    work = spark_steps.Work(settings, [step.name], "daily", [str(day)], True, {})

    def one(number):
        memory = StepMemory(settings)
        with memory.alone(step):
            return spark_steps.carry_out(step, day, work, memory, spark_steps.LazySpark(settings))[0].inserted

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(one, range(2)))
    rows = DeltaLog(settings.table(columns.SESSION_FEATURES)).read(["session_id", "event_id"]).to_pylist()
    assert len(rows) == len({(row["session_id"], row["event_id"]) for row in rows}) == 20
    assert sorted(outcomes) == [0, 20]  # the second waits, and finds nothing left to do
