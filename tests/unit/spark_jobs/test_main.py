"""The command line of the batch jobs: words, flags, exit codes, one line for whatever goes wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest

from feature_repo.contract import cli
from feature_repo.contract.tables import SCHEMAS
from spark_jobs.__main__ import app, main
from spark_jobs.jobs import JOBS


def _fails(capsys, *arguments):
    try:
        code = main(list(arguments))
    except SystemExit as leaving:
        code = leaving.code
    out = capsys.readouterr()
    assert code not in (0, None)
    assert len(out.err.strip().splitlines()) == 1 and "Traceback" not in out.err
    return out.err


@pytest.mark.parametrize("job", JOBS)
def test_every_job_has_help(job, capsys):
    with pytest.raises(SystemExit) as leaving:
        main([job, "--help"])
    assert leaving.value.code == 0
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in ("--config", "--date", "--json"))


def test_unknown_job_is_one_line(capsys):
    assert "frobnicate" in _fails(capsys, "frobnicate")


def test_bad_date_is_one_line(capsys):
    assert "'31-02-2024' is no date" in _fails(capsys, "sessionise", "--date", "31-02-2024")


def test_missing_config_is_one_line(capsys, tmp_path):
    assert "does not exist" in _fails(capsys, "ingest", "--config", str(tmp_path / "none.toml"))


def test_unknown_setting_is_one_line(capsys):
    assert "session.gap" in _fails(capsys, "sessionise", "--set", "session.gap=3")


def test_set_needs_a_value(capsys):
    assert "KEY=VALUE" in _fails(capsys, "sessionise", "--set", "session.gap_minutes")


def test_every_job_that_writes_says_its_table():
    assert {word for word, job in JOBS.items() if job.table is None} == {
        "intents-report",
        "quarantine",
        "replay",
        "parity",
    }
    assert {job.table for job in JOBS.values() if job.table} <= set(SCHEMAS)


def test_pruning_is_a_word_of_the_intents_job_and_a_flag():
    intents = cli.command_of(app).commands["intents"]
    given = intents.make_context("intents", ["prune", "--misread", "--json"]).params
    assert (given["action"], given["misread"], given["prune"]) == ("prune", True, False)
    given = intents.make_context("intents", ["--misread"]).params
    assert (given["action"], given["misread"]) == (None, True)


def test_an_unknown_word_behind_a_job_is_one_line(capsys):
    assert "'purge'" in _fails(capsys, "intents", "purge")


SILENT_GATEWAY = """
import os, signal, socket, sys, threading
from py4j.clientserver import ClientServer, JavaParameters, PythonParameters
from spark_jobs import __main__ as command
from spark_jobs.ingest import quarantine

def terminate(server):
    connection, _ = server.accept()
    connection.recv(64)  # the call has been sent, so its caller waits for the answer
    os.kill(os.getpid(), signal.SIGTERM)
    kept.append(connection)

def run(settings, **given):
    signal.signal(signal.SIGTERM, command._interrupt)
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=terminate, args=(server,), daemon=True).start()
    port = server.getsockname()[1]
    ClientServer(JavaParameters(port=port), PythonParameters(port=0, daemonize=True)).entry_point.toString()

kept = []
quarantine.run = run
sys.exit(command.main(["quarantine"]))
"""


def test_a_call_to_the_jvm_that_is_broken_off_by_a_signal_is_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SILENT_GATEWAY],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
        check=False,
    )
    assert done.returncode == 130
    (line,) = done.stderr.strip().splitlines()
    assert (
        line
        == "spark_jobs quarantine: interrupted; every table is at its last whole version, run the job again"
    )
