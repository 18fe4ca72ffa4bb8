"""Titles to vectors, prompts and intents on real Spark, Delta and SmolLM2: budget, cache, changes, faults."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from chat_server import serve

from feature_repo.contract.tables import (
    INTENT_CACHE,
    ITEMS_SCHEMA,
    SESSION_INTENTS,
    SESSION_TEXT,
    SESSIONS_SCHEMA,
)
from model.intent.ask.asker import recipe_of
from model.intent.ground.live import LiveIntents
from spark_jobs.intents import cache as intent_cache
from spark_jobs.intents import job as intents
from spark_jobs.intents import report as intents_report
from spark_jobs.items import vectors as item_vectors
from spark_jobs.job import JobError
from spark_jobs.lake.errors import as_job_error
from spark_jobs.lake.lake import Lake
from spark_jobs.lake.log import DeltaLog
from spark_jobs.sessions import text as session_text

FILMS = [
    "Alien",
    "Brazil",
    "Casablanca",
    "Dune",
    "Fargo",
    "Gattaca",
    "Heat",
    "Jaws",
    "Kundun",
    "Psycho",
    "Rashomon",
    "Solaris",
]
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def items_table(titles):
    rows = [
        {
            "item_id": f"i{number}",
            "title": title,
            "category": None,
            "description": None,
            "event_timestamp": START,
            "created": START,
        }
        for number, title in enumerate(titles)
    ]
    return pa.Table.from_pylist(rows, schema=ITEMS_SCHEMA)


def sessions_table(sessions):
    rows = []
    for number, items in enumerate(sessions):
        times = [START + datetime.timedelta(days=number, seconds=10 * place) for place in range(len(items))]
        rows.append(
            {
                "session_id": f"s{number}",
                "session_start": times[0],
                "session_end": times[-1],
                "first_position": 0,
                "items": items,
                "event_ids": [f"s{number}e{place}" for place in range(len(items))],
                "times": times,
                "length": len(items),
                "split": "train",
                "session_date": times[0].date(),
            }
        )
    return pa.Table.from_pylist(rows, schema=SESSIONS_SCHEMA)


SESSIONS = [
    ["i0", "i1", "i2"],
    ["i3", "i4"],
    ["i5"],
    ["i0", "i6", "i7", "i8"],
    ["i9", "i10", "i11", "i2", "i3"],
    ["i4", "i5", "i6"],
    ["i3", "i7"],
    ["gone", "i1"],
]


def fill(spark, settings, titles=FILMS, sessions=SESSIONS):
    if titles:
        Lake(spark, settings).merge("items", spark.createDataFrame(items_table(titles)))
    Lake(spark, settings).synchronise("sessions", spark.createDataFrame(sessions_table(sessions)))


def with_intents(settings, llm=None, **changed):
    changes = {"intents": settings.intents.model_copy(update={"max_calls": 4, **changed})}
    changes["llm"] = settings.llm.model_copy(update={"max_new_tokens": 4, **(llm or {})})
    return settings.model_copy(update=changes)


def rows_of(spark, settings, table):
    return Lake(spark, settings).read(table).toArrow().to_pylist()


def all_jobs(spark, settings):
    return [job.run(Lake(spark, settings)) for job in (item_vectors, session_text, intents)]


def versions(settings):
    return {
        name: DeltaLog(settings.table(name)).version()
        for name in ("item_vectors", SESSION_TEXT, SESSION_INTENTS, INTENT_CACHE)
    }


@pytest.fixture(scope="module")
def texts_made(spark, base_settings, tmp_path_factory):
    """A home with vectors and texts of the sessions, made once, and what its two jobs said."""
    settings = with_intents(
        base_settings.model_copy(update={"home": tmp_path_factory.mktemp("texts") / "home"})
    )
    fill(spark, settings)
    return settings.home, item_vectors.run(Lake(spark, settings)), session_text.run(Lake(spark, settings))


@pytest.fixture
def prepared(texts_made, settings):
    """Settings of a home of this test with vectors and texts."""
    shutil.copytree(texts_made[0], settings.home)
    return settings


def test_budget_cache_and_changes(spark, texts_made, prepared):
    settings = with_intents(prepared)
    _, vectors, texts = texts_made
    first = intents.run(Lake(spark, settings))
    assert vectors.rows == 12 and np.isclose(
        np.linalg.norm(rows_of(spark, settings, "item_vectors")[0]["vector"]), 1.0, atol=1e-3
    )
    # One click alone has no prefix, and the only item before s7's last click has no title.
    assert texts.rows == 6 and texts.details["untitled"] == 1
    by_source = first.details["by_source"]
    assert first.details["llm_calls"] == 4 and by_source["llm"] in (4, 5) and sum(by_source.values()) == 6
    rows = {row["session_id"]: row for row in rows_of(spark, settings, SESSION_INTENTS)}
    assert set(rows) == {"s0", "s1", "s3", "s4", "s5", "s6"}
    for row in rows.values():
        assert (
            row["long_text"]
            and row["short_text"]
            and len(row["long_items"]) == 5
            and len(row["short_vector"]) == 384
        )
        assert np.isclose(np.linalg.norm(row["long_vector"]), 1.0, atol=1e-3) and row["cache_key"]
    assert rows["s1"]["cache_key"] == rows["s6"]["cache_key"]
    prompts = {row["session_id"]: row["long_prompt"] for row in rows_of(spark, settings, SESSION_TEXT)}
    assert "Brazil" in prompts["s0"] and "Casablanca" not in prompts["s0"]

    before = versions(settings)
    again = all_jobs(spark, settings)
    assert (
        again[2].details["llm_calls"] == 0
        and again[2].details["cached"] == 4
        and versions(settings) == before
    )
    assert not any(result.changed for result in again)

    live = LiveIntents.load(settings)
    asked = next(row for row in rows.values() if row["source"] == "llm")
    prefix = SESSIONS[int(asked["session_id"][1:])][:-1]
    answer = live.infer([prefix])[0]
    assert (
        answer.source == "llm"
        and answer.cache_key == asked["cache_key"]
        and answer.long.text == asked["long_text"]
    )
    assert np.array_equal(answer.short.vector, asked["short_vector"]) and answer.short.items == tuple(
        asked["short_items"]
    )

    changed = [title if title != "Alien" else "Aliens" for title in FILMS]
    fill(spark, settings, changed)
    results = all_jobs(spark, settings)
    assert results[0].details["encoded"] == 1 and results[1].updated == 2
    touched = {
        row["session_id"]
        for row in rows_of(spark, settings, SESSION_INTENTS)
        if row["cache_key"] != rows[row["session_id"]]["cache_key"]
    }
    assert touched == {"s0", "s3"} and results[2].details["llm_calls"] <= 2
    _live_is_what_the_table_says(spark, settings, touched)

    longer = with_intents(settings, llm={"max_new_tokens": 5})
    assert intents.run(Lake(spark, longer)).details["llm_calls"] == 4
    report = intents_report.run(Lake(spark, longer)).details
    assert set(report["sources"]) <= {"llm", "encoder"} and report["calls"] >= 8
    hits = {row["predictor"] for row in report["sources"]["llm"]["hits"]}
    assert {"random", "popularity", "co-occurrence", "shuffled intents, short"} <= hits
    assert report["sources"]["llm"]["samples"][0]["session"] and report["budget"]

    told = intents.run(Lake(spark, longer), explain=asked["session_id"]).details["explanation"]
    assert "cache key" in told and "1. " in told and "long intent from" in told
    with pytest.raises(JobError, match="session 'nobody' has no prompt"):
        intents.run(Lake(spark, longer), explain="nobody")
    kept = {row["cache_key"] for row in rows_of(spark, longer, SESSION_INTENTS)}
    assert intents.run(Lake(spark, longer), prune=True).details["pruned"] > 0
    assert {row["cache_key"] for row in rows_of(spark, longer, INTENT_CACHE)} <= kept


def _live_is_what_the_table_says(spark, settings, sessions):
    live = LiveIntents.load(settings)
    answered = [
        row
        for row in rows_of(spark, settings, SESSION_INTENTS)
        if row["source"] == "llm" and row["session_id"] in sessions
    ]
    assert answered
    for row, found in zip(
        answered, live.infer([SESSIONS[int(row["session_id"][1:])][:-1] for row in answered]), strict=True
    ):
        assert (
            found.source == "llm"
            and np.allclose(found.long.vector, row["long_vector"], atol=1e-4)
            and found.long.items == tuple(row["long_items"])
        )


def test_a_dataset_without_items_goes_on_without_intents(spark, settings):
    settings = with_intents(settings)
    fill(spark, settings, titles=None)
    results = all_jobs(spark, settings)
    assert [result.rows for result in results] == [0, 0, 0]
    assert [intent.source for intent in LiveIntents.load(settings).infer([["i1"]])] == ["none"]
    untitled = settings.model_copy(update={"home": settings.home / "untitled"})
    fill(spark, untitled, titles=[None, "", "  "])
    assert [result.rows for result in all_jobs(spark, untitled)] == [0, 0, 0]


def test_a_failing_endpoint_leaves_the_fallback_and_is_asked_again(spark, prepared):
    endpoint = prepared.endpoint.model_copy(update={"url": "http://127.0.0.1:9", "attempts": 1})
    settings = with_intents(prepared, source="endpoint").model_copy(update={"endpoint": endpoint})
    failed = intents.run(Lake(spark, settings))
    assert (
        failed.details["failed"] == 4
        and failed.details["llm_calls"] == 0
        and failed.details["by_source"] == {"encoder": 6}
    )
    assert rows_of(spark, settings, INTENT_CACHE) == []
    retries = [
        json.loads(line) for line in (settings.home / "intents" / "retry.jsonl").read_text().splitlines()
    ]
    assert len({retry["cache_key"] for retry in retries}) == 4 and all(retry["reason"] for retry in retries)
    assert intents.run(Lake(spark, settings)).details["failed"] == 4


def test_the_budget_of_a_day_is_for_the_sessions_of_that_day(spark):
    day = datetime.date(2024, 1, 2)
    moments = {
        "before": (1, "01T22:00"),
        "into": (1, "02T00:10"),
        "on": (2, "02T12:00"),
        "out of": (2, "03T00:10"),
        "after": (3, "03T09:00"),
    }
    rows = [
        (name, datetime.date(2024, 1, began), datetime.datetime.fromisoformat(f"2024-01-{last}:00+00:00"))
        for name, (began, last) in moments.items()
    ]
    frame = spark.createDataFrame(rows, "session_id string, session_date date, event_timestamp timestamp")
    chosen = {row["session_id"] for row in intents.of_days(frame, day, None).collect()}
    assert chosen == {"into", "on", "out of"}
    assert {
        row["session_id"] for row in intents.of_days(frame, day, datetime.date(2024, 1, 3)).collect()
    } == chosen | {"after"}


def test_missing_parts_are_one_clear_line(spark, settings):
    fill(spark, settings)
    with pytest.raises(JobError, match="'/nowhere' does not exist"):
        session_text.run(Lake(spark, with_intents(settings, llm={"model": "/nowhere"})))
    session_text.run(Lake(spark, with_intents(settings)))
    with pytest.raises(JobError, match="prompt version 'v9' is unknown"):
        intents.run(Lake(spark, with_intents(settings, prompt_version="v9")))
    with pytest.raises(JobError, match="run `python -m spark_jobs item-vectors` first"):
        intents.run(Lake(spark, with_intents(settings, source="encoder")))
    with pytest.raises(JobError, match="there are no intents yet"):
        intents_report.run(Lake(spark, settings))


def cached(key, text, recipe, made=START):
    return {
        "cache_key": key,
        "source": recipe.source,
        "model": recipe.model,
        "prompt_version": recipe.prompt_version,
        "items": ["i0"],
        "long_text": text,
        "short_text": text,
        "input_tokens": 1,
        "output_tokens": 1,
        "seconds": 0.1,
        "created": made,
    }


def test_misread_answers_are_dropped_everywhere_and_asked_again(spark, prepared, capsys):
    with serve(lambda prompt: "Solaris") as (url, asked):
        endpoint = prepared.endpoint.model_copy(update={"url": url, "model": "m", "attempts": 1})
        settings = with_intents(prepared, source="endpoint", max_calls=20).model_copy(
            update={"endpoint": endpoint}
        )
        recipe = recipe_of(settings)
        texts = {row["session_id"]: row for row in rows_of(spark, settings, SESSION_TEXT)}
        keys = {session: recipe.key(row["items"], row["titles"]) for session, row in texts.items()}
        old = [
            cached(keys["s0"], "<think>", recipe),
            cached(keys["s3"], "Sure! Here is one item:", recipe),
            cached(keys["s4"], "Heat", recipe),
        ]
        Lake(spark, settings).create(INTENT_CACHE)
        intent_cache.commit(
            Lake(spark, settings),
            [*old, cached("other-model", "</think>", recipe), cached("odd", "films about space", recipe)],
        )
        assert intents.run(Lake(spark, settings)).details["by_source"]["endpoint"] == 6
        assert LiveIntents.load(settings).infer([SESSIONS[4][:-1]])[0].long.text == "Heat"
        assert LiveIntents.load(settings).infer([SESSIONS[0][:-1]])[0].source != "endpoint", (
            "thinking is not served, even before it is dropped"
        )
        calls = len(asked)
        pruned = intents.run(Lake(spark, settings), action="prune", misread=True)
        assert pruned.details["misread"] == 3 and pruned.details["llm_calls"] == 0 and len(asked) == calls
        assert {row["cache_key"] for row in rows_of(spark, settings, INTENT_CACHE)} == {
            *keys.values(),
            "odd",
        } - {keys["s0"], keys["s3"]}
        assert {"s0", "s3"}.isdisjoint(
            {row["session_id"] for row in rows_of(spark, settings, SESSION_INTENTS)}
        )
        assert intents.run(Lake(spark, settings), action="prune", misread=True).details["misread"] == 0
        again = intents.run(Lake(spark, settings))
        assert again.details["llm_calls"] == 2 and again.details["kinds"] == {"name": 4}
        rows = {row["session_id"]: row["long_text"] for row in rows_of(spark, settings, SESSION_INTENTS)}
        assert (rows["s0"], rows["s3"], rows["s4"]) == ("Solaris", "Solaris", "Heat")
        assert LiveIntents.load(settings).infer([SESSIONS[0][:-1]])[0].long.text == "Solaris"
        assert intents_report.run(Lake(spark, settings)).details["kinds"]["m"]["name"] >= 4


def test_a_damaged_spool_and_a_surrogate_block_nothing(spark, prepared, caplog):
    with serve(lambda prompt: "Ja\ud800ws") as (url, _):
        endpoint = prepared.endpoint.model_copy(update={"url": url, "attempts": 1})
        settings = with_intents(prepared, source="endpoint").model_copy(update={"endpoint": endpoint})
        spool = intent_cache.spool_folder(settings)
        spool.mkdir(parents=True)
        row = {**cached("from-the-spool", "Heat\ud800", recipe_of(settings)), "created": START.isoformat()}
        (spool / "1.jsonl").write_text(json.dumps(row) + "\n{broken\n")
        (spool / "2.jsonl").write_bytes(b"\x00" * 100 + b"\n")
        first = intents.run(Lake(spark, settings))
    assert (first.details["recovered"], first.details["llm_calls"], first.details["failed"]) == (1, 4, 0)
    rows = {row["cache_key"]: row["long_text"] for row in rows_of(spark, settings, INTENT_CACHE)}
    assert rows.pop("from-the-spool") == "Heat" and set(rows.values()) == {"Jaws"}
    assert not list(spool.glob("*.jsonl")) and len(list((spool / "damaged").iterdir())) == 2
    assert sum("put aside" in record.getMessage() for record in caplog.records) == 2


def test_every_kind_of_failure_is_named_with_its_count_and_none_is_cached(spark, prepared, caplog):
    def say(prompt):
        if "short term" in prompt and "1. Alien" in prompt:
            return "I'm sorry, but I can't help with that."
        return "<think>Okay" if "1. Psycho" in prompt else "" if "1. Dune" in prompt else "1. Jaws\n2. Heat"

    with serve(say) as (url, _):
        endpoint = prepared.endpoint.model_copy(update={"url": url, "attempts": 1})
        settings = with_intents(prepared, source="endpoint", max_calls=20).model_copy(
            update={"endpoint": endpoint}
        )
        details = intents.run(Lake(spark, settings)).details
    assert (details["failed"], details["llm_calls"], details["kinds"]) == (4, 1, {"listed": 2})
    refused, thinking = (
        "the endpoint's answer is a refusal",
        "the endpoint's answer is reasoning that was cut by the bound of 6 tokens",
    )
    assert details["failures"] == {refused: 2, thinking: 1, "the endpoint refused with status 400": 1}
    told = " ".join(record.getMessage() for record in caplog.records)
    assert f"2 of 4 failed calls: {refused}" in told and f"1 of 4 failed calls: {thinking}" in told
    assert [row["long_text"] for row in rows_of(spark, settings, INTENT_CACHE)] == ["Jaws"]


def test_a_worker_s_error_tells_its_cause(spark, settings):
    def fail(batches):
        for _ in batches:
            raise ValueError("item 7 has no title")
        yield

    with pytest.raises(JobError, match="item 7 has no title"), as_job_error("session_intents", settings):
        spark.range(3).mapInArrow(fail, "id long").collect()


def test_a_killed_run_repeats_no_finished_call(spark, prepared):
    settings = with_intents(prepared, max_calls=20)
    config = settings.home / "config.toml"
    config.write_text(
        f'home = "{settings.home}"\nassets = "{settings.assets_dir}"\n[intents]\nmax_calls = 20\n[llm]\n'
        "max_new_tokens = 4\nbatch_size = 1\n"
        '[spark]\nmaster = "local[1]"\ndriver_memory = "1g"\njava_options = "-XX:TieredStopAtLevel=1"\n'
        "shuffle_partitions = 2\n"
    )
    command = [sys.executable, "-m", "spark_jobs", "intents", "--config", str(config)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    running = subprocess.Popen(
        command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    pause = threading.Event()
    spool = settings.home / "intents" / "spool"
    while running.poll() is None and sum(file.read_text().count("\n") for file in spool.glob("*.jsonl")) < 3:
        pause.wait(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    result = intents.run(Lake(spark, settings))
    keys = {row["cache_key"] for row in rows_of(spark, settings, INTENT_CACHE)}
    assert result.details["recovered"] >= 3
    assert result.details["recovered"] + result.details["llm_calls"] == len(keys)
    assert not list(spool.glob("*.jsonl"))
