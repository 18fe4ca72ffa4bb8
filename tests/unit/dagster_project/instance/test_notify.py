"""Notices reach the log and a real webhook; a webhook that is down costs no notice."""

from __future__ import annotations

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from dagster_project.instance import notify


@pytest.fixture
def webhook():
    got = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", got
    server.shutdown()
    thread.join()
    server.server_close()


def test_notice_is_posted_and_logged(webhook, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("intentstore"), "propagate", True)
    address, got = webhook
    assert notify.send("run 1 failed", "the broker is down; start it", address)
    assert got == [{"title": "run 1 failed", "text": "the broker is down; start it"}]
    assert "the broker is down" in caplog.text


def test_webhook_that_is_down_is_said_and_the_notice_is_in_the_log(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("intentstore"), "propagate", True)
    assert not notify.send("run 1 failed", "disk full", "http://127.0.0.1:9/hook")
    assert "disk full" in caplog.text and "DAGSTER_WEBHOOK" in caplog.text


def test_without_a_webhook_the_log_is_enough():
    assert notify.send("title", "text", None)
