"""The one command: the help of every verb and a bad call of each, as printed; nothing heavy is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from feature_repo.contract import cli
from intentstore.__main__ import VERBS, app, main

# one wrong call of each verb, by what a user may mistype
WRONG = {
    "init": ["init", "data", "--ouput", "x"],
    "demo": ["demo", "--max-clicks", "many"],
    "up": ["up", "--jsn"],
    "down": ["down", "now"],
    "ingest": ["ingest", "--date", "31-02-2024"],
    "intents": ["intents", "purge"],
    "job": ["job", "sessionize"],
    "features": ["features", "materialise"],
    "train": ["train", "data/shop"],
    "study": ["study", "--out", "x"],
    "recommend": ["recommend", "--session", "1"],
    "promote": ["promote"],
    "rollback": ["rollback", "--to", "x"],
    "consume": ["consume", "--until-idle", "-1"],
    "answer-intents": ["answer-intents", "--max-calls", "all"],
    "repartition": ["repartition", "--config", "none.toml"],
    "serve": ["serve", "--port", "http"],
    "lag": ["lag", "--set"],
    "dlq": ["dlq", "lst"],
    "replay": ["replay", "--rate", "fast"],
    "parity": ["parity", "--set", "session.gap_minutes"],
    "quality": ["quality", "--set", "session.gap_minutes"],
    "ui": ["ui", "--port", "x"],
    "doctor": ["doctor", "--config", "none.toml"],
}


@pytest.fixture(autouse=True)
def _plain(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("PYTHONPATH", "PYTHONSAFEPATH"):  # main() sets them for its children
        monkeypatch.setenv(name, "")


def _leaves(command, words=()):
    inner = getattr(command, "commands", None)
    if inner is None:
        return [words]
    return [words, *(leaf for name in inner for leaf in _leaves(inner[name], (*words, name)))]


@pytest.mark.parametrize("words", _leaves(cli.command_of(app)), ids=" ".join)
def test_help_fits_a_screen_and_shows_an_example(words, capsys, snapshot):
    with pytest.raises(SystemExit) as leaving:
        main([*words, "--help"])
    shown = capsys.readouterr().out
    assert leaving.value.code == 0 and shown == snapshot
    assert len(shown.splitlines()) <= 50
    group = words in ((), ("job",), ("features",), ("dlq",))
    assert group or "Example: intentstore " in shown


@pytest.mark.parametrize("verb", VERBS)
def test_a_wrong_call_is_one_line_and_code_two(verb, capsys, snapshot):
    try:
        code = main(WRONG[verb])
    except SystemExit as leaving:
        code = leaving.code
    out = capsys.readouterr()
    assert code == 2 and out.out == ""
    assert len(out.err.strip().splitlines()) == 1 and out.err == snapshot


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from intentstore.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'pydantic', 'pyarrow', 'numpy', 'torch', 'pyspark', 'feast', 'dagster', 'kafka', 'rich'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_a_shell_can_complete_verbs(monkeypatch, capsys):
    monkeypatch.setenv("_INTENTSTORE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "intentstore fea")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().out.split() == ["features"]


def test_the_extra_of_a_missing_package_is_named(monkeypatch, capsys):

    def missing(*_, **__):
        raise ModuleNotFoundError("No module named 'dagster'", name="dagster.pipes")

    monkeypatch.setattr("feature_repo.contract.cli.settings_of", missing)
    assert main(["demo"]) == 1
    assert capsys.readouterr().err == (
        "intentstore demo: this needs the package 'dagster', which is not installed; "
        "pip install 'intentstore[dagster]'\n"
    )


@pytest.mark.parametrize(("line", "named"), [("warp = 1", "warp"), ("[http]\nport = 'x'", "http.port")])
def test_a_bad_settings_file_is_one_line(line, named, tmp_path, capsys):
    (tmp_path / "intentstore.toml").write_text(line)
    for verb in (["lag"], ["ingest"], ["features", "plan"], ["ui"], ["doctor"]):
        assert main(verb) == 2
        err = capsys.readouterr().err
        assert named in err and err.startswith(f"intentstore {' '.join(verb)}: ") and err.count("\n") == 1
