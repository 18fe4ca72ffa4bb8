"""What never becomes a request: refused heads, slow and half-open connections, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import NamedTuple

import pytest
import uvicorn

from streaming.http import protocol as api_protocol
from streaming.http.board import StoredAnswer
from streaming.http.protocol import MAX_HEAD_BYTES, LimitedProtocol
from streaming.http.routes import Parts, application

GOOD = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
SHORT_SECONDS = 0.2


class Running(NamedTuple):
    parts: Parts
    server: uvicorn.Server


@pytest.fixture
def talk(drive):
    """Runs an async function of a port against the application behind the real protocol."""

    def run(scenario):
        async def serve(setting):
            config = uvicorn.Config(
                application(setting.parts),
                port=0,
                http=LimitedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                server_header=False,
            )
            server = uvicorn.Server(config)
            server.capture_signals = contextlib.nullcontext
            sock = config.bind_socket()
            sock.listen()
            running = asyncio.create_task(server.serve([sock]))
            try:
                return await scenario(sock.getsockname()[1], Running(setting.parts, server))
            finally:
                server.should_exit = True
                await running
                sock.close()

        return drive(serve)

    return run


async def ask(port, data):
    """Send bytes and give everything that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answer = await reader.read()
    writer.close()
    return answer


def parsed(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    return int(status.split(" ")[1]), dict(line.lower().split(": ", 1) for line in headers), json.loads(body)


def head_of(size):
    """A request whose head has exactly so many bytes."""
    start = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\nx: "
    return start + b"y" * (size - len(start) - 4) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"BREW / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", 405, "method_not_allowed"),
        (b"get / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", 405, "method_not_allowed"),
        (b"\r\nBREW / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", 405, "method_not_allowed"),
        (
            b"DELETE /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n",
            405,
            "method_not_allowed",
        ),
        (b"GET / HTTP/1.1\r\nbad name: x\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\n: x\r\n\r\n", 400, "bad_request"),
        (b"POST /v1/clicks HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: many\r\n\r\n", 400, "bad_request"),
        (b"POST /v1/clicks HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: -5\r\n\r\n", 400, "bad_request"),
        (
            (
                b"POST /v1/clicks HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 2\r\ncontent-length: 3\r\n"
                b"\r\n{}"
            ),
            400,
            "bad_request",
        ),
        (
            b"POST /v1/clicks HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            400,
            "bad_request",
        ),
        (b"GET /\xff HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", 400, "bad_request"),
        (b"GET http://[ HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", 400, "bad_request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "bad_request"),
        (b"GET / HTTP/9.9\r\n\r\n", 400, "bad_request"),
        (head_of(MAX_HEAD_BYTES + 1), 431, "head_too_large"),
        (head_of(100_000), 431, "head_too_large"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", 431, "head_too_large"),
        (
            b"GET / HTTP/1.1\r\n" + b"".join(b"h%d: x\r\n" % n for n in range(9_000)) + b"\r\n",
            431,
            "head_too_large",
        ),
    ],
)
def test_what_is_no_request_gets_the_error_body_of_the_page(talk, data, status, code):
    async def scenario(port, setting):
        return await ask(port, data)

    seen, headers, body = parsed(talk(scenario))
    assert (seen, body["error"]["code"], headers["content-type"], headers["connection"]) == (
        status,
        code,
        "application/json",
        "close",
    )
    assert body["error"]["message"]


def test_a_head_of_just_the_limit_is_answered(talk):
    async def scenario(port, setting):
        return await ask(port, head_of(MAX_HEAD_BYTES))

    assert parsed(talk(scenario))[0] == 200


def test_a_header_without_an_end_is_cut_off_with_an_answer(talk):
    async def scenario(port, setting):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nx: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                writer.write(b"y" * 50_000)
                await writer.drain()
        answer = await reader.read()
        writer.close()
        return answer

    assert parsed(talk(scenario))[0] == 431


def test_what_is_sent_behind_a_request_does_not_cut_into_its_answer(talk):
    async def scenario(port, setting):
        return await ask(port, GOOD + b"BREW / HTTP/1.1\r\n\r\n")

    answer = talk(scenario)
    assert answer.startswith(b"HTTP/1.1 200") and answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("first", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: 127.", b"\r\n", GOOD + b"GET"])
def test_a_half_open_connection_is_closed_after_its_time(talk, monkeypatch, first):
    monkeypatch.setattr(api_protocol, "HEAD_SECONDS", SHORT_SECONDS)

    async def scenario(port, setting):
        return await asyncio.wait_for(ask(port, first), 10)

    answer = talk(scenario)
    assert (b"408" in answer) == (b"GET" in first)
    if b"408" in answer:
        assert parsed(answer[answer.index(b"HTTP/1.1 408") :])[2]["error"]["code"] == "request_timeout"


@pytest.mark.parametrize("trickle", [False, True])
def test_a_body_that_does_not_come_is_given_up(talk, monkeypatch, trickle):
    monkeypatch.setattr(api_protocol, "SILENT_SECONDS", 60.0 if trickle else SHORT_SECONDS)
    monkeypatch.setattr(api_protocol, "BODY_SECONDS", SHORT_SECONDS if trickle else 60.0)

    async def scenario(port, setting):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /v1/clicks HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000\r\n\r\n{")
        reading = asyncio.create_task(asyncio.wait_for(reader.read(), 10))
        while trickle and not reading.done():
            writer.write(b" ")
            await asyncio.sleep(0.02)
        answer = await reading
        writer.close()
        return answer

    status, _, body = parsed(talk(scenario))
    assert (status, body["error"]["code"]) == (408, "request_timeout")


def test_time_outs_touch_neither_a_kept_connection_nor_an_event_stream(talk, monkeypatch):
    for name in ("HEAD_SECONDS", "SILENT_SECONDS", "BODY_SECONDS"):
        monkeypatch.setattr(api_protocol, name, SHORT_SECONDS)

    async def scenario(port, setting):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        stream, opened = await asyncio.open_connection("127.0.0.1", port)
        opened.write(b"GET /v1/events?session_id=s HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        await stream.readuntil(b": open\n\n")
        seen = []
        for pause in (SHORT_SECONDS * 3, 0.0):
            writer.write(GOOD)
            seen.append(await reader.readuntil(b'"alive"}'))
            await asyncio.sleep(pause)
        value = (
            b'{"event_id":"e","session_id":"s","items":[],"intents":{"long":{"text":"","items":[]},"short":'
            b'{"text":"","items":[]},"source":"none"},"model_version":"m","source":'
            b'{"topic":"t","partition":0,"offset":1},"click_time":"","scored_at":""}'
        )
        setting.parts.board.put([StoredAnswer(b"s", value, 0, 1)])
        event = await asyncio.wait_for(stream.readuntil(b'scored_at":""}'), 10)
        opened.close()
        writer.close()
        return seen, event

    seen, event = talk(scenario)
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in seen) and b'"event_id":"e"' in event


def test_a_client_that_takes_nothing_is_cut_off(talk, monkeypatch):
    monkeypatch.setattr(api_protocol, "STALLED_SECONDS", SHORT_SECONDS)

    async def scenario(port, setting):
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /openapi.json HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n" * 1_000)
        connections = setting.server.server_state.connections
        while not connections:
            await asyncio.sleep(0.01)
        while connections:
            await asyncio.sleep(0.01)
        writer.close()

    talk(scenario)
