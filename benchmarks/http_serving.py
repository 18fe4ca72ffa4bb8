"""The HTTP side under an open-loop load: real server process, real valkey, the model of a folder; latency
from the intended send time.

The client is a process of its own. Requests leave at fixed times whatever the server does, so a slow answer
delays no later request and is not hidden (no coordinated omission). `/healthz` beside it is the floor of
server and client without any work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import selectors
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httptools

SESSIONS = 20_000
CONNECTIONS = 64
WARM_SECONDS = 2.0


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, pool: deque[Connection]) -> None:
        self.pool, self.parser = pool, httptools.HttpResponseParser(self)
        self.transport: Any = None
        self.intended, self.results = 0.0, []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self, request: bytes, intended: float, results: list[tuple[float, int]]) -> None:
        self.intended, self.results = intended, results
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.results.append((time.perf_counter() - self.intended, self.parser.get_status_code()))
        self.parser = httptools.HttpResponseParser(self)
        self.pool.append(self)


async def _load(
    port: int, requests: list[bytes], rate: float, seconds: float, poisson: bool
) -> dict[str, Any]:
    """Send at the given rate and collect (latency, status) of every request."""
    loop = asyncio.get_running_loop()
    pool: deque[Connection] = deque()
    for _ in range(CONNECTIONS):
        _, connection = await loop.create_connection(lambda: Connection(pool), "127.0.0.1", port)
        pool.append(connection)
    draw, results, total = random.Random(1), [], int(rate * seconds)
    waited, at = 0, time.perf_counter() + 0.05
    for number in range(total):
        at += draw.expovariate(rate) if poisson else 1 / rate
        while (left := at - time.perf_counter()) > 0:
            await asyncio.sleep(left)
        while not pool:  # every connection is busy: the wait counts, as the clock runs from the intended time
            waited += 1
            await asyncio.sleep(0.0005)
        pool.popleft().ask(requests[number % len(requests)], at, results)
    end = time.perf_counter() + 10
    while len(results) < total and time.perf_counter() < end:
        await asyncio.sleep(0.005)
    times = sorted(latency for latency, _ in results)
    at_share = lambda share: round(1000 * times[min(len(times) - 1, int(share * len(times)))], 3)
    return {
        "sent": total,
        "answered": len(results),
        "errors": sum(status != 200 for _, status in results),
        "waits_for_connection": waited,
        "p50_ms": at_share(0.5),
        "p90_ms": at_share(0.9),
        "p99_ms": at_share(0.99),
        "p999_ms": at_share(0.999),
        "max_ms": round(1000 * times[-1], 3),
    }


def client(argument: str) -> None:
    """The client process: reads its orders as JSON, prints its results as JSON."""
    orders = json.loads(argument)
    requests = [text.encode() for text in json.loads(Path(orders["requests"]).read_text())]
    precise = lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())
    with asyncio.Runner(loop_factory=precise) as runner:
        print(
            json.dumps(
                runner.run(
                    _load(orders["port"], requests, orders["rate"], orders["seconds"], orders["poisson"])
                )
            )
        )


def _requests(route: str, item_ids: list[str], seed: int = 7) -> list[str]:
    """Make 2,000 different requests of one route."""
    draw, made = random.Random(seed), []
    for _ in range(2_000):
        session, item = f"bench-{draw.randrange(SESSIONS)}", draw.choice(item_ids)
        if route == "POST /v1/recommend":
            body = json.dumps({"items": draw.sample(item_ids, 8), "k": 20})
            made.append(
                "POST /v1/recommend HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\n\r\n{body}"
            )
            continue
        path = {
            "GET /v1/recommend": f"/v1/recommend?session_id={session}&item_id={item}&k=20",
            "GET /v1/sessions/{id}/features": f"/v1/sessions/{session}/features",
            "GET /healthz (floor)": "/healthz",
        }[route]
        made.append(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
    return made


def _write_sessions(url: str, item_ids: list[str]) -> None:
    """Put sessions of 1 to 50 clicks into the online store, through the writer that the consumer uses."""
    from feature_repo.contract import session
    from feature_repo.stores.packed.live import LiveFeatureWriter, LiveRow

    draw, writer, now = random.Random(3), LiveFeatureWriter(url), time.time_ns() // 1000
    rows = []
    for number in range(SESSIONS):
        state = session.empty()
        for click in range(min(50, 1 + int(draw.expovariate(1 / 8)))):
            at = now - 3_600_000_000 + click * 20_000_000
            state = session.apply(
                state, session.FoldClick(f"e{click}", draw.choice(item_ids), at, at), session.FoldConfig()
            )
        rows.append(
            LiveRow(f"bench-{number}", state.event_timestamp_us, state.created_us, session.features(state))
        )
        if len(rows) == 1000:
            writer.write(rows)
            rows = []
    writer.close()


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _wait_ready(port: int, server: subprocess.Popen[str], seconds: float = 120.0) -> None:
    end, said = time.monotonic() + seconds, ""
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except urllib.error.HTTPError as error:
            said = error.read().decode()
            time.sleep(0.2)
        except OSError as error:
            said = str(error)
            time.sleep(0.2)
    raise SystemExit(f"the server is not ready after {seconds:.0f} s: {said}")


@dataclass(frozen=True)
class Plan:
    """What is run: server command and its environment, folder for the requests, prefix of both commands,
    rates and lengths.
    """

    server: list[str]
    environ: dict[str, str]
    folder: Path
    prefix: list[str]
    rates: list[float]
    seconds: float


def measure(plan: Plan, item_ids: list[str]) -> list[dict[str, Any]]:
    """Start the server, run every route at every rate, stop it."""
    process = subprocess.Popen(
        [*plan.prefix, *plan.server],
        env=plan.environ,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    rows = []
    try:
        port = int(process.stdout.readline().rpartition(":")[2]) if process.stdout else 0
        _wait_ready(port, process)
        for route in (
            "GET /healthz (floor)",
            "GET /v1/sessions/{id}/features",
            "POST /v1/recommend",
            "GET /v1/recommend",
        ):
            file = plan.folder / "requests.json"
            file.write_text(json.dumps(_requests(route, item_ids)))
            even = [(rate, plan.seconds, False) for rate in plan.rates]
            loads = [(plan.rates[0], WARM_SECONDS, False), *even, (plan.rates[-1], plan.seconds, True)]
            for number, (rate, length, poisson) in enumerate(loads):
                orders = {
                    "port": port,
                    "requests": str(file),
                    "rate": rate,
                    "seconds": length,
                    "poisson": poisson,
                }
                before = _cpu_seconds(process.pid)
                command = [*plan.prefix, sys.executable, __file__, "--client", json.dumps(orders)]
                done = subprocess.run(command, capture_output=True, text=True, check=True, env=plan.environ)
                result = json.loads(done.stdout)
                cpu = (_cpu_seconds(process.pid) - before) / max(result["answered"], 1)
                row = {
                    "route": route,
                    "rate": rate,
                    "arrivals": "poisson" if poisson else "even",
                    **result,
                    "cpu_us_a_request": round(1e6 * cpu),
                }
                rows += [row] if number else []  # the first is for warming up
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
    return rows


def main() -> None:
    """Measure with the model and the services of a home."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument(
        "--model", type=Path, nargs="+", help="model folders; default: the promoted one of the home"
    )
    parser.add_argument("--rates", type=float, nargs="+", default=[200.0, 1000.0], help="requests a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each row")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="server, client and valkey at real-time priority, for machines that others use too (root)",
    )
    options = parser.parse_args()
    if options.client:
        client(options.client)
        return
    from benchmarks._report import write_result
    from feature_repo.contract.settings import load_settings
    from model.recommender import artifact
    from streaming.services import services as broker

    settings = load_settings(None, os.environ)
    models = options.model or [artifact.promoted_dir(settings.models_dir)]
    if models[0] is None:
        raise SystemExit(
            f"no model is promoted under '{settings.models_dir}'; run `make demo`, or name a folder with "
            "--model"
        )
    ours = broker.running(settings) is None
    services = broker.up(settings)
    environ = {**os.environ, "INTENTSTORE_HOME": str(settings.home), "OMP_NUM_THREADS": "1"}
    prefix = ["chrt", "--rr", "1"] if options.realtime else []
    rows: list[dict[str, Any]] = []
    try:
        if options.realtime and services.pids["valkey"]:
            subprocess.run(
                ["chrt", "--all-tasks", "--rr", "--pid", "1", str(services.pids["valkey"])], check=True
            )
        for model in models:
            scorer = artifact.load(model)
            _write_sessions(services.online_store_url, list(scorer.item_ids))
            command = [sys.executable, "-m", "streaming", "serve", "--port", "0", "--model", str(model)]
            about = {
                "model": scorer.version,
                "parts": "hybrid" if scorer.hybrid else "network",
                "items": len(scorer.item_ids),
            }
            plan = Plan(command, environ, settings.home, prefix, options.rates, options.seconds)
            rows += [{**about, **row} for row in measure(plan, list(scorer.item_ids))]
    finally:
        if options.realtime and services.pids["valkey"]:
            subprocess.run(
                ["chrt", "--all-tasks", "--other", "--pid", "0", str(services.pids["valkey"])], check=False
            )
        if ours:
            broker.down(settings)
    write_result(
        "http", rows, {"sessions": SESSIONS, "connections": CONNECTIONS, "realtime": options.realtime}
    )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    main()
