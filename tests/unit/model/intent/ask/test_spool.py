"""Files of answers that something damaged: the whole rows count, the file is put aside, nothing blocks the
next run.
"""

from __future__ import annotations

import json
import logging
import os

import numpy as np
import pytest
import synthetic
from title_server import TitleEncoder, serve

from feature_repo.contract.settings import Settings
from model.intent.ask.answers import Answer
from model.intent.ask.spool import Spool, answer_row, spooled
from model.intent.ground.known_titles import KnownTitles
from model.intent.ground.live import answers_table, read_answers, write_answers
from model.intent.types import SessionIntent, ViewIntent
from model.study.case_intents import forget_misread, with_intents

GOOD = {
    "cache_key": "a",
    "items": ["1"],
    "long_text": "Jaws",
    "short_text": "Alien",
    "input_tokens": 5,
    "output_tokens": 3,
    "seconds": 0.1,
    "source": "llm",
    "model": "m",
    "prompt_version": "v1",
    "created": "2026-01-01T00:00:00+00:00",
}
LINE = json.dumps(GOOD).encode()


def changed(**values):
    return json.dumps({**GOOD, **values}).encode()


@pytest.mark.parametrize(
    "damage",
    [
        b"\xff\xfe\x00garbage",
        b"\x00" * 4096,
        b"[1, 2]",
        b"null",
        b"{}",
        b"17",
        b'{"cache_key": "b"}',
        b"<html>",
        changed(cache_key=None),
        changed(cache_key=""),
        changed(long_text=None),
        changed(short_text=["x"]),
        changed(input_tokens="many"),
        changed(created="yesterday"),
        changed(created=5),
        changed(items=7),
        changed(model={}),
        changed(created="0001-01-01T00:00:00"),
        b"[" * 100_000,
    ],
)
def test_a_damaged_line_puts_the_file_aside_and_keeps_its_whole_rows(tmp_path, caplog, damage):
    (tmp_path / "1-x.jsonl").write_bytes(LINE + b"\n" + damage + b"\n" + changed(cache_key="z") + b"\n")
    (tmp_path / "2-y.jsonl").write_bytes(changed(cache_key="y") + b"\n")
    with caplog.at_level(logging.INFO, "intentstore.intents"):
        rows, files = spooled(tmp_path, answer_row)
    assert [row["cache_key"] for row in rows] == ["a", "z", "y"] and [file.name for file in files] == [
        "1-x.jsonl",
        "2-y.jsonl",
    ]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1 and "1-x.jsonl" in told[0] and "line 2" in told[0] and "put aside" in told[0]
    assert damage in next((tmp_path / "damaged").iterdir()).read_bytes()
    caplog.clear()
    assert [row["cache_key"] for row in spooled(tmp_path, answer_row)[0]] == [
        "a",
        "z",
        "y",
    ] and not caplog.records


@pytest.mark.parametrize(
    "row",
    [
        changed(input_tokens=10**30, seconds=None),
        changed(output_tokens=-4),
        changed(items=[None, 3]),
        changed(created=None),
        changed(long_text="Ja\ud800ws"),
    ],
)
def test_what_can_be_cleaned_is_no_damage(tmp_path, row):
    (tmp_path / "1.jsonl").write_bytes(row + b"\n")
    (clean,), _ = spooled(tmp_path, answer_row)
    assert not (tmp_path / "damaged").exists() and clean["long_text"] == "Jaws"
    assert 0 <= clean["input_tokens"] < 2**63 and clean["output_tokens"] >= 0
    json.dumps(clean, ensure_ascii=False).encode()


def test_what_is_no_file_or_cannot_be_read_is_put_aside(tmp_path, caplog):
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    (tmp_path / "good.jsonl").write_bytes(LINE + b"\n")
    rows, files = spooled(tmp_path, answer_row)
    assert [row["cache_key"] for row in rows] == ["a"] and [file.name for file in files] == ["good.jsonl"]
    assert len(caplog.records) == 2 and spooled(tmp_path)[0] == rows


def test_a_last_line_that_lacks_its_end_alone_is_kept(tmp_path):
    (tmp_path / "1.jsonl").write_bytes(LINE)
    (tmp_path / "2.jsonl").write_bytes(changed(cache_key="b")[:-9])
    assert [row["cache_key"] for row in spooled(tmp_path, answer_row)[0]] == ["a"] and not (
        tmp_path / "damaged"
    ).exists()


def test_an_answer_with_a_lone_surrogate_is_cleaned_where_it_comes_in(tmp_path):
    answer = Answer("Ja\udc00ws", "\ud83d\udc1f Alien\x00", 1, 1, 0.1)
    assert (answer.long_text, answer.short_text) == ("Jaws", " Alien ")
    spool = Spool(tmp_path)
    spool.append({**GOOD, **vars(answer)})
    spool.close()
    assert spooled(tmp_path, answer_row)[0][0]["long_text"] == "Jaws"


def intent(text="Jaws", dim=4):
    view = ViewIntent(text, ("1",), (0.5,), np.ones(dim, np.float32))
    return SessionIntent(view, view, "llm", "key")


@pytest.mark.parametrize("content", [b"", b"ARROW1\x00\x00", b"\x00" * 5000, b"not arrow at all", None])
def test_live_answers_that_cannot_be_read_are_put_aside(tmp_path, caplog, content):
    file = tmp_path / "answers.arrow"
    write_answers(file, answers_table(["key"], [intent()]))
    assert set(read_answers(file, 4)) == {"key"}
    file.write_bytes(file.read_bytes()[:-200] if content is None else content)
    assert read_answers(file, 4) == {} and not file.exists() and len(caplog.records) == 1
    assert "answers.arrow" in caplog.text and "put aside" in caplog.text and read_answers(file, 4) == {}


def test_live_answers_of_another_form_are_put_aside(tmp_path):
    import pyarrow as pa

    file = tmp_path / "answers.arrow"
    for table in (
        pa.table({"cache_key": ["a"]}),
        answers_table(["key"], [intent()]).set_column(5, "long_vector", pa.array([b"abc"])),
    ):
        write_answers(file, table)
        assert read_answers(file, 4) == {} and not file.exists()


def test_live_answers_that_are_thinking_are_not_served(tmp_path):
    file = tmp_path / "answers.arrow"
    write_answers(file, answers_table(["a", "b"], [intent(), intent("<think>")]))
    assert set(read_answers(file, 4)) == {"a"}


def study_settings(home, url):
    return Settings.model_validate(
        {
            "home": str(home),
            "intents": {"source": "encoder", "max_calls": 4, "fallback": "none", "top_r": 1},
            "endpoint": {"url": url, "attempts": 1},
        }
    )


def test_answers_of_a_study_that_are_damaged_or_misread_are_asked_again(tmp_path, caplog):
    with serve(lambda prompt: "thing 3") as (url, asked):
        settings = study_settings(tmp_path, url)
        data = with_intents(synthetic.dataset(), settings, "endpoint", TitleEncoder())
        file = next((tmp_path / "intent_answers").iterdir())
        lines = file.read_bytes().splitlines()
        assert len(lines) == 4 and len(asked) == 8
        misread = json.dumps({**json.loads(lines[2]), "long": "<think>"}).encode()
        file.write_bytes(b"\n".join([lines[0], b'{"key": "x"\xff', lines[1], misread, b'{"key": "cut of']))
        again = with_intents(synthetic.dataset(), settings, "endpoint", TitleEncoder())
        assert len(asked) == 8 + 4 and np.array_equal(again.test.long, data.test.long)
        with_intents(synthetic.dataset(), settings, "endpoint", TitleEncoder())
        assert len(asked) == 12
    assert sum("put aside" in record.getMessage() for record in caplog.records) == 1


def test_misread_answers_of_a_study_are_forgotten(tmp_path):
    file = tmp_path / "intent_answers" / "x.jsonl"
    file.parent.mkdir()
    rows = [
        {"key": str(place), "long": text, "short": "thing 3"}
        for place, text in enumerate(["thing 3", "<think>", "Sure! Here is one item:", "Jaws"])
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert forget_misread(Settings(home=tmp_path), KnownTitles(["thing 3"])) == 2
    assert [json.loads(line)["key"] for line in file.read_text().splitlines()] == ["0", "3"]
    assert os.listdir(file.parent) == ["x.jsonl"]
