"""The way to an endpoint: proxies of the environment and secrets of the address are used, named where they
may be, and never shown.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from feature_repo.contract.settings import load_settings
from model.intent.ask.connection import Connection
from model.intent.ask.endpoint import EndpointError, EndpointLlm

HUSH = "hush-1e5"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in (*PROXIES, *map(str.lower, PROXIES)):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server():
    """A real HTTP server that remembers what it was asked and refuses with 502, as a proxy does that does not
    know the host.
    """
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append((self.path, dict(self.headers)))
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(502)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *words):
            """Say nothing."""

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.asked = asked
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def llm(url, **more):
    environ = {
        "INTENTSTORE_ENDPOINT__URL": url,
        "INTENTSTORE_ENDPOINT__ATTEMPTS": "1",
        "INTENTSTORE_ENDPOINT__API_KEY": f"{HUSH}\n",
    }
    return EndpointLlm(
        load_settings(
            Path("/dev/null"),
            environ | {f"INTENTSTORE_ENDPOINT__{name.upper()}": text for name, text in more.items()},
        ),
        wait_scale=0,
    )


def failure(asker):
    ((_, reason),) = asker.answer([["a title"]])
    assert HUSH not in reason
    assert "\n" not in reason
    return reason


def test_a_failure_names_setting_address_and_proxy(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://shop:{HUSH}@127.0.0.1:{server.server_port}")
    reason = failure(llm(f"http://u:{HUSH}@models.invalid/v1?key={HUSH}"))
    assert f"asked through the proxy http://127.0.0.1:{server.server_port} of the environment" in reason
    assert "NO_PROXY" in reason
    assert "http://models.invalid/v1/chat/completions was asked through" in reason
    assert server.asked[0][0] == f"http://models.invalid/v1/chat/completions?key={HUSH}"


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (407, "wants user and password"),
        (403, "does not let this host pass"),
        (502, "which the proxy reaches"),
    ],
)
def test_a_proxy_that_opens_no_way_to_a_server_is_told_by_its_own_status(monkeypatch, status, remedy):
    class Proxy(BaseHTTPRequestHandler):
        def do_CONNECT(self):
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *words):
            """Say nothing."""

    running = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    monkeypatch.setenv("HTTPS_PROXY", f"http://shop:{HUSH}%40@127.0.0.1:{running.server_port}")
    try:
        reason = failure(llm(f"https://models.invalid/v1?key={HUSH}"))
    finally:
        running.shutdown()
        running.server_close()
    assert reason.startswith(f"endpoint.url https://models.invalid/v1/chat/completions: ProxyError: {status}")
    assert remedy in reason and f"through the proxy http://127.0.0.1:{running.server_port}" in reason


@pytest.mark.parametrize(
    "quoted", [f"bad key {HUSH}", f"user u has not {HUSH}@", f"no such key={HUSH}-query", f"?{HUSH}%40"]
)
def test_secrets_that_a_server_quotes_reach_no_message(quoted, monkeypatch):
    class Quoting(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            body = json.dumps({"error": {"message": quoted}}).encode()
            self.send_response(401)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words):
            """Say nothing."""

    running = ThreadingHTTPServer(("127.0.0.1", 0), Quoting)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        address = f"http://u:{HUSH}%40@127.0.0.1:{running.server_port}/v1?key={HUSH}-query"
        assert "***" in failure(llm(address))
    finally:
        running.shutdown()
        running.server_close()


def test_hosts_of_no_proxy_are_asked_directly(server, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert "proxy" not in failure(llm(f"http://127.0.0.1:{server.server_port}"))
    assert server.asked[0][0] == "/v1/chat/completions"


def test_a_server_that_is_away_is_named_with_its_setting():
    reason = failure(llm(f"http://u:{HUSH}@127.0.0.1:1/v1?key={HUSH}"))
    assert reason.startswith("endpoint.url http://127.0.0.1:1/v1/chat/completions: ConnectError: ")


@pytest.mark.parametrize(
    "proxy",
    [
        f"foo://a:{HUSH}@proxy",
        f"http://a:{HUSH}/x@proxy",
        f"socks5://a:{HUSH}@proxy:1",
        f"http://a:{HUSH}@proxy:x",
    ],
)
def test_a_proxy_that_cannot_be_used_is_one_line(proxy, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(EndpointError, match="proxy") as caught:
        llm("http://models.invalid/v1").answer([["a title"]])
    assert HUSH not in str(caught.value)


def test_user_password_query_and_key_are_sent_and_nowhere_logged(server, caplog):
    caplog.set_level(logging.DEBUG)
    assert "502" in failure(llm(f"http://u:{HUSH}%40@127.0.0.1:{server.server_port}/v1?key={HUSH}"))
    path, headers = server.asked[0]
    assert path == f"/v1/chat/completions?key={HUSH}"
    # httpx lets the user of an address go before a key
    assert base64.b64decode(headers["Authorization"].split()[1]).decode() == f"u:{HUSH}@"
    assert "HTTP Request: POST http://127.0.0.1" in caplog.text
    assert HUSH not in caplog.text


def test_a_connection_prints_no_secret():
    settings = load_settings(
        Path("/dev/null"),
        {
            "INTENTSTORE_ENDPOINT__URL": f"http://u:{HUSH}@h/v1?k={HUSH}",
            "INTENTSTORE_ENDPOINT__API_KEY": HUSH,
        },
    )
    assert HUSH not in repr(Connection.of(settings.endpoint))


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://h", "http://h/v1/chat/completions"),
        ("http://h/v1/", "http://h/v1/chat/completions"),
        ("http://h/x", "http://h/x/v1/chat/completions"),
        ("http://h/x/chat/completions?api-version=1", "http://h/x/chat/completions?api-version=1"),
        ("http://h/v1?a=b", "http://h/v1/chat/completions?a=b"),
    ],
)
def test_the_path_of_chat_completions_is_added_before_the_query(url, asked):
    settings = load_settings(Path("/dev/null"), {"INTENTSTORE_ENDPOINT__URL": url})
    assert Connection.of(settings.endpoint).url == asked
