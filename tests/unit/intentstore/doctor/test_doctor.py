"""`intentstore doctor` names each of many broken set-ups, with its remedy, and the other checks go on."""

from __future__ import annotations

import json
import socket
import stat
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from feature_repo.contract.settings import load_settings
from intentstore.__main__ import main
from intentstore.doctor import home, machine, services
from intentstore.doctor.all import LOOKS
from intentstore.doctor.check import run


@pytest.fixture
def settings(tmp_path):
    return lambda **changes: load_settings(
        Path("/dev/null"),
        {},
        {
            "home": str(tmp_path / "home"),
            **{key.replace("__", "."): value for key, value in changes.items()},
        },
    )


def _java(folder, text):
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "java"
    program.write_text(f"#!/bin/sh\necho '{text}' >&2\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    return folder


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_no_java(settings, monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "none"))
    check = machine.java(settings())
    assert check.state == "error" and "install a Java 17" in check.remedy


def test_java_eleven(settings, monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(_java(tmp_path / "j11", 'openjdk version "11.0.2" 2019-01-15')))
    check = machine.java(settings())
    assert check.state == "error" and "11" in check.text and "17" in check.remedy


def test_another_python(settings, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 13, 1))
    check = machine.python(settings())
    assert (check.state, check.text) == ("error", "version 3.13.1") and "3.11" in check.remedy


def test_no_room_on_the_disk(settings, monkeypatch):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: machine.shutil._ntuple_diskusage(10, 9, 1))
    check = machine.disk(settings())
    assert check.state == "error" and "make room" in check.remedy


def test_a_home_that_is_a_file(settings, tmp_path):
    (tmp_path / "home").write_text("")
    check = machine.disk(settings())
    assert check.state == "error" and "INTENTSTORE_HOME" in check.remedy


def test_a_port_that_is_taken(settings):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        check = machine.ports(settings(http__port=other.getsockname()[1]))
    assert check.state == "warning" and "http.port" in check.text


def test_a_driver_larger_than_the_memory(settings):
    assert machine.memory(settings(spark__driver_memory="900g")).state == "warning"


def test_no_services(settings):
    for look in (services.broker, services.online_store):
        check = look(settings())
        assert check.state == "warning" and "intentstore up" in check.remedy


def test_an_online_store_that_does_not_answer_hides_the_password(settings):
    [check] = run(
        [("online", services.online_store)], settings(online__url=f"redis://:hush@127.0.0.1:{_free_port()}/0")
    )
    assert check.state == "error" and "hush" not in check.to_line()


def test_a_dataset_folder_without_clicks(settings, tmp_path):
    (tmp_path / "data").mkdir()
    [check] = run([("dataset", home.dataset)], settings(dataset__path=str(tmp_path / "data")))
    assert check.state == "error" and "holds no clicks" in check.text and "clicks.csv" in check.remedy


def test_a_registry_that_is_none(settings):
    made = settings()
    assert home.registry(made).remedy == "intentstore features apply"
    file = made.home / "feast" / "registry.db"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no registry at all")
    check = home.registry(made)
    assert check.state == "error" and "move it away" in check.remedy


def test_a_table_of_another_version(settings):
    made = settings()
    log = made.table("clicks") / "_delta_log"
    log.mkdir(parents=True)
    schema = {
        "type": "struct",
        "fields": [{"name": "event_id", "type": "string", "nullable": True, "metadata": {}}],
    }
    lines = [
        {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
        {
            "metaData": {
                "id": "x",
                "format": {"provider": "parquet", "options": {}},
                "schemaString": json.dumps(schema),
                "partitionColumns": [],
                "configuration": {},
            }
        },
    ]
    (log / f"{0:020d}.json").write_text("\n".join(json.dumps(line) for line in lines))
    check = home.tables(made)
    assert check.state == "error" and "clicks lacks" in check.text and "session_id" in check.text


def test_a_folder_of_files_in_place_of_a_table(settings):
    made = settings()
    made.table("clicks").mkdir(parents=True)
    (made.table("clicks") / "clicks.csv").write_text("x")
    check = home.tables(made)
    assert check.state == "error" and "no Delta log" in check.text


def test_a_promoted_model_that_is_gone(settings):
    made = settings()
    made.models_dir.mkdir(parents=True)
    (made.models_dir / "promoted").symlink_to("20260101")
    check = home.model(made)
    assert check.state == "error" and "20260101" in check.text and "promote" in check.remedy


def test_an_encoder_folder_without_its_files(settings, tmp_path):
    check = home.encoder(settings(encoder__model=str(tmp_path)))
    assert check.state == "error" and "config.json" in check.text


def test_an_endpoint_that_is_not_set(settings):
    assert services.endpoint(settings(intents__source="endpoint")).state == "error"


def test_an_endpoint_that_refuses_the_key(settings):
    class Refuse(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b'{"error": {"message": "bad key"}}')

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Refuse)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        check = services.endpoint(settings(endpoint__url=url, endpoint__api_key="hush", endpoint__attempts=1))
    finally:
        server.shutdown()
        server.server_close()
    assert check.state == "error" and "401" in check.to_line() and "hush" not in check.to_line()


def test_a_check_that_fails_itself_does_not_end_the_others(settings):
    def broken(_):
        raise RuntimeError("lake is sour; sweeten it")

    def lacking(_):
        raise ModuleNotFoundError("No module named 'feast'", name="feast")

    broken_one, lacking_one, fine = run([("a", broken), ("b", lacking), ("c", machine.python)], settings())
    assert (broken_one.state, broken_one.text, broken_one.remedy) == ("error", "lake is sour", "sweeten it")
    assert lacking_one.state == "warning" and "intentstore[features]" in lacking_one.remedy
    assert fine.name == "python"


def test_doctor_ends_with_one_where_something_is_broken(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert main(["doctor", "--json"]) == 1
    checks = json.loads(capsys.readouterr().out)
    assert [check["name"] for check in checks] == [name for name, _ in LOOKS]
    assert {check["name"] for check in checks if check["state"] == "error"} == {"java"}
