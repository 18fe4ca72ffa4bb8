"""Every `intentstore` command that README shows is one: verb, options and values are taken as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from feature_repo.contract import cli
from intentstore.__main__ import VERBS, app

ROOT = Path(__file__).resolve().parents[3]
HELP = {"--help", "-h"}


def commands_of(text):
    """Return the commands of a page: lines of its shell blocks, and its code spans."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    spans = re.findall(r"`(intentstore [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [" ".join(shlex.split(line, comments=True)) for line in [*lines, *spans] if "intentstore " in line]


README = commands_of((ROOT / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("line", README)
def test_a_command_of_readme_is_taken(line, tmp_path, monkeypatch):
    words = shlex.split(line)[1:]
    monkeypatch.chdir(tmp_path)
    for word in words:  # folders that the reader has
        if word in ("data/shop", "DATASET_DIR"):
            (tmp_path / word).mkdir(parents=True)
    command, name = cli.command_of(app), "intentstore"
    while getattr(command, "commands", None) is not None and words and words[0] not in HELP:
        name, words = words[0], words[1:]
        command = command.commands[name]
    if words != ["--help"]:
        command.make_context(name, words)  # parses and checks; nothing is run


def test_readme_shows_every_verb_of_a_first_day():
    shown = {shlex.split(line)[1] for line in README}
    first = {"init", "demo", "doctor", "up", "ingest", "intents", "consume", "serve", "recommend", "train"}
    assert first <= shown and shown - {"--help"} <= set(VERBS)


def test_readme_names_no_module_to_run_where_there_is_a_verb():
    named = set(re.findall(r"python -m ([\w.]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert named <= {"model.prepare"}
