"""No command prints a secret of its settings: not in what it says, not at debug level, not in a traceback."""

from __future__ import annotations

import logging
import signal
import traceback

import pytest
from secret_settings import ENCODED, ENDPOINT, KAFKA, REST, SECRETS, hushed, online

from dagster_project.__main__ import main as dagster_main
from feature_repo.__main__ import main as features_main
from feature_repo.contract.assets.fetch import main as assets_main
from model.__main__ import main as model_main
from model.data.prepare import main as prepare_main
from spark_jobs.__main__ import main as jobs_main
from streaming.__main__ import main as streaming_main

NOWHERE = "/nowhere/at/all"
STREAMING = [
    "up",
    "up --json",
    f"consume --until-idle 1 --model {NOWHERE}",
    f"serve --model {NOWHERE} --host 192.0.2.1",
    "dlq list",
    "dlq redrive --dry-run",
    "lag",
    "lag --json",
    "intents --until-idle 1",
    "down",
]
FEATURES = [
    "plan",
    "apply",
    "token shop --services *",
    "catalogue --no-statistics",
    "nearest shoes",
    f"serve --access {NOWHERE}",
]
MODEL = [
    f"benchmark {NOWHERE} --intents endpoint --out",
    f"study {NOWHERE} --intents endpoint --out",
    f"recommend --session 1 --model {NOWHERE}",
]


JOBS = [
    "quarantine",
    "quarantine --json --reason x",
    f"ingest --dataset {NOWHERE}",
    "ingest --date never",
    "intents --set endpoint.url=nonsense",
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "settings.toml"
    with_user = online(1).replace("redis://:", f"redis://{ENCODED['user']}:")
    path.write_text(f'home = "{tmp_path / "home"}"\n{KAFKA}{with_user}{ENDPOINT}{REST}')
    return str(path)


@pytest.fixture
def run(capfd, caplog):
    """Run a command in this process, at debug level, and return all that it let out."""
    caplog.set_level(logging.DEBUG)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def ran(main, words):
        try:
            main(words)
        except SystemExit:
            pass
        except BaseException as error:  # noqa: BLE001 - whatever gets out is what a person would see
            print("".join(traceback.format_exception(error)))
        printed = capfd.readouterr()
        return printed.out + printed.err + caplog.text

    yield ran
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("words", STREAMING)
def test_streaming_says_no_secret(run, file, words, monkeypatch):
    monkeypatch.setattr("streaming.topics.ensure.ensure_patiently.__defaults__", (0.0, lambda: False))
    command = words.split()
    place = 2 if command[0] == "dlq" else 1
    hushed(run(streaming_main, ["--verbose", *command[:place], "--config", file, *command[place:]]))


@pytest.mark.parametrize("words", FEATURES)
def test_the_feature_repo_says_no_secret(run, file, words):
    hushed(run(features_main, ["--config", file, *words.split()]))


@pytest.mark.parametrize("words", MODEL)
def test_the_model_says_no_secret(run, file, words, tmp_path, monkeypatch):
    monkeypatch.setenv("INTENTSTORE_HOME", str(tmp_path / "home"))
    config = [] if words.startswith("recommend") else ["--config", file]
    hushed(
        run(
            model_main,
            [*words.split(), *([str(tmp_path / "out")] if words.endswith("--out") else []), *config],
        )
    )


@pytest.mark.parametrize("words", JOBS)
def test_the_jobs_say_no_secret_before_spark_starts(run, file, words):
    command, *rest = words.split()
    hushed(run(jobs_main, [command, "--config", file, *rest]))


def test_assets_and_prepare_say_no_secret(run, monkeypatch, tmp_path):
    named = {"ENDPOINT__API_KEY": SECRETS["key"], "KAFKA__SASL_PASSWORD": SECRETS["sasl"]}
    environ = {f"INTENTSTORE_{name}": text for name, text in named.items()}
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    hushed(run(lambda words: assets_main(words, environ), ["/dev/null/nowhere"]))
    hushed(run(prepare_main, [NOWHERE, str(tmp_path)]))


@pytest.mark.parametrize(
    ("main", "words"),
    [
        (streaming_main, ["lag"]),
        (features_main, ["plan"]),
        (model_main, ["benchmark", NOWHERE, "--out", NOWHERE]),
        (model_main, ["study", NOWHERE, "--out", NOWHERE]),
        (jobs_main, ["parity"]),
        (dagster_main, ["demo"]),
        (dagster_main, ["ui"]),
    ],
    ids=lambda given: (
        given if isinstance(given, str) else " ".join(given) if isinstance(given, list) else given.__module__
    ),
)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ONLINE__URL", "redis://:hush-/x@host:6379/0"),
        ("ENDPOINT__API_KEY", "hush-a\nhush-b"),
        ("KAFKA__SASL_PASWORD", "hush-typed"),
        ("HTTP__TOKENS", "hush-token"),
    ],
)
def test_a_refused_secret_is_one_line_without_it(run, monkeypatch, main, words, name, text):
    monkeypatch.setenv(f"INTENTSTORE_{name}", text)
    output = run(main, words)
    hushed(output)
    assert f"INTENTSTORE_{name}" in output
    assert "Traceback" not in output
