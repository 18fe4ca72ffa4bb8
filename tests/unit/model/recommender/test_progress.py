"""What a person sees of a training run: a bar on a terminal, lines in a log."""

from __future__ import annotations

import io
import logging
import re
import sys

import pytest

from model.recommender.progress import shown
from model.recommender.train import Step

STEPS = [
    Step("train", 1, 3, 1, 2, 5.5),
    Step("train", 1, 3, 2, 2, 5.0),
    Step("train", 1, 3, 2, 2, 5.0, {"epoch": 1, "ndcg10": 0.25, "seconds": 2.0}),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_bar_and_a_line_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "200")
    with shown() as progress:
        for step in STEPS:
            progress(step)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    assert "━ 2/2 steps" in text
    assert "train epoch 1/3: loss 5.000, validation NDCG@10 0.2500, 2.0 s" in text


def test_a_log_gets_one_line_an_epoch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    caplog.set_level(logging.INFO, "intentstore.model.train")
    with shown() as progress:
        for step in STEPS:
            progress(step)
    assert [record.getMessage() for record in caplog.records] == [
        "train epoch 1/3: loss 5.000, validation NDCG@10 0.2500, 2.0 s"
    ]
