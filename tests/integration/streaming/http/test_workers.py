"""Several worker processes behind one port: shared calls, summed metrics, a lost worker, an orderly stop."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from feature_repo.contract.settings import Settings

ROOT = Path(__file__).parents[4]
CALLS = 40


class Workers:
    """A server process with two workers, and what it says."""

    def __init__(self, settings: Settings) -> None:
        assert settings.online.url is not None
        kafka, values = settings.kafka, {"HOME": str(settings.home)}
        values |= {"KAFKA__BOOTSTRAP_SERVERS": str(kafka.bootstrap_servers)}
        values |= {"KAFKA__CLICKS_TOPIC": kafka.clicks_topic, "KAFKA__PARTITIONS": "2"}
        values |= {"KAFKA__RECOMMENDATIONS_TOPIC": kafka.recommendations_topic}
        values |= {"KAFKA__DEAD_LETTER_TOPIC": kafka.dead_letter_topic}
        values |= {"KAFKA__ITEMS_TOPIC": kafka.items_topic}
        values |= {"ONLINE__URL": settings.online.url.get_secret_value()}
        environ = {name: value for name, value in os.environ.items() if not name.startswith("INTENTSTORE_")}
        environ |= {f"INTENTSTORE_{name}": value for name, value in values.items()}
        settings.home.mkdir(parents=True, exist_ok=True)
        self.log = settings.home / "workers.log"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streaming", "serve", "--port", "0", "--workers", "2"],
            stdout=subprocess.PIPE,
            stderr=self.log.open("w"),
            text=True,
            env={**environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            cwd=settings.home,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().rpartition(":")[2])

    def get(self, path: str) -> httpx.Response:
        """Ask on a connection of its own, so that any worker may take it."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=60)

    def metric(self, name: str) -> float:
        """Read one number of the metrics; 0 where there is none yet."""
        line = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics").text, re.MULTILINE)
        return float(line[1]) if line else 0.0

    def pids(self) -> set[int]:
        """Give the processes that serve: not multiprocessing's own tracker, not one that just died."""
        found = set()
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                found |= {child.pid} if "resource_tracker" not in " ".join(child.cmdline()) else set()
        return found

    def both_answer(self) -> bool:
        """Say whether two workers have started, and count."""
        return self.metric("intentstore_http_workers") == 2.0


@pytest.fixture
def workers(live: Settings, wait: Callable[[Callable[[], Any], str], Any]) -> Iterator[Workers]:
    server = Workers(live)
    try:
        wait(server.both_answer, "two workers")
        yield server
    finally:
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)


def test_calls_are_shared_summed_and_survive_a_worker(workers: Workers, wait: Any) -> None:
    count = 'intentstore_http_requests_total{route="GET /healthz",status="200"}'
    assert all(workers.get("/healthz").status_code == 200 for _ in range(CALLS))
    told = {workers.metric(count) for _ in range(8)}
    assert told == {float(CALLS)}
    before = workers.pids()
    assert len(before) == 2
    lost = min(before)
    os.kill(lost, signal.SIGKILL)
    wait(lambda: len(workers.pids() - before) == 1, "another worker")
    wait(workers.both_answer, "two workers again")
    assert lost not in workers.pids()
    assert f"[{lost}] died" in workers.log.read_text()
    assert workers.metric(count) == CALLS  # what the lost one counted is not lost
    assert workers.get("/healthz").status_code == 200


def test_a_stop_ends_streams_and_answers_what_is_under_way(workers: Workers) -> None:
    click = {"event_id": "e", "session_id": "s", "item_id": "i", "event_time": "2024-01-01T00:00:00Z"}
    body = json.dumps(click).encode()
    head = f"POST /v1/clicks HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n"
    pids = workers.pids()
    with (
        socket.create_connection(("127.0.0.1", workers.port), timeout=60) as stream,
        socket.create_connection(("127.0.0.1", workers.port), timeout=60) as post,
    ):
        stream.sendall(b"GET /v1/events?session_id=s HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        post.sendall(head.encode() + body[:5])
        seen = b""
        while b": open" not in seen:
            seen += stream.recv(65_536)
        workers.process.send_signal(signal.SIGTERM)
        post.sendall(body[5:])
        answer = b"".join(iter(lambda: post.recv(65_536), b""))
        rest = b"".join(iter(lambda: stream.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 202"), answer
    assert rest.endswith(b"0\r\n\r\n")  # a whole answer, not a cut
    assert workers.process.wait(60) == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_workers_do_not_outlive_their_supervisor(workers: Workers, wait: Any) -> None:
    pids = workers.pids()
    workers.process.kill()
    workers.process.wait(60)
    wait(lambda: not any(psutil.pid_exists(pid) for pid in pids), "the end of the workers")


@pytest.mark.parametrize("count", ["0", "-1", "many", "65"])
def test_an_unusable_number_of_workers_is_named(count: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streaming", "serve", "--port", "0", "--workers", count],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "INTENTSTORE_HOME": str(tmp_path)},
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 2
    assert "workers" in done.stderr
